"""Registering what was listed: every version once, and which version counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from lake_pipeline.errors import LedgerError
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.models import FileOutcome, Registered
from lake_pipeline_tests.ledger_samples import (
    DATASET,
    begin,
    claim,
    commit,
    convert,
    land,
    listed,
    state_of,
    states,
)

FAILED = FileOutcome(0, "FAILED", error_message="gone")
QUARANTINED = FileOutcome(0, "QUARANTINED", error_message="not JSON")


def test_an_object_is_registered_once(ledger: Ledger) -> None:
    first = land(ledger, "a", "b")
    again = land(ledger, "b", "c")
    assert (first.new, first.known, again.new, again.known) == (2, 0, 1, 1)
    assert sorted(states(ledger)) == [("a", "v1"), ("b", "v1"), ("c", "v1")]


def test_no_objects_is_no_work(ledger: Ledger) -> None:
    assert land(ledger).new == 0


def test_datasets_do_not_share_keys(ledger: Ledger) -> None:
    ledger.register("one", [listed("a")])
    assert ledger.register("two", [listed("a")]).new == 1
    assert ledger.status()["one"]["PENDING"] == ledger.status()["two"]["PENDING"] == 1


def test_keys_may_hold_anything_postgres_text_can(ledger: Ledger) -> None:
    keys = ["tab\there", "line\nbreak", "back\\slash\\N", "\\.", "quo'te\"", "naïve/ключ/鍵/🗝", "per%cent", " "]
    land(ledger, *keys)
    assert sorted(row.s3_key for row in ledger.files(DATASET)) == sorted(keys)
    assert sorted(file.key for file in claim(ledger).files) == sorted(keys)


def test_a_new_version_supersedes_one_that_waits(ledger: Ledger) -> None:
    land(ledger, "a")
    assert land(ledger, listed("a", "v2")).new == 1
    assert states(ledger) == {("a", "v1"): "SUPERSEDED", ("a", "v2"): "PENDING"}
    assert [file.etag for file in claim(ledger).files] == ["v2"]


def test_of_two_versions_in_one_batch_the_last_counts(ledger: Ledger) -> None:
    assert land(ledger, listed("a", "v1"), listed("a", "v2")).new == 1
    assert states(ledger) == {("a", "v2"): "PENDING"}


def test_a_new_version_supersedes_failed_and_quarantined_ones(ledger: Ledger) -> None:
    land(ledger, "a", "b", "c")
    convert(ledger, claim(ledger).manifest_id, ["p"], a=FAILED, b=QUARANTINED)
    land(ledger, listed("a", "v2"), listed("b", "v2"))
    assert states(ledger) == {
        ("a", "v1"): "SUPERSEDED",
        ("a", "v2"): "PENDING",
        ("b", "v1"): "SUPERSEDED",
        ("b", "v2"): "PENDING",
        ("c", "v1"): "SUCCEEDED",
    }
    assert {file.key for file in claim(ledger).files} == {"a", "b"}


def test_a_new_version_takes_the_old_ones_place_in_its_manifest(ledger: Ledger) -> None:
    land(ledger, "a", "b")
    done = claim(ledger).manifest_id
    convert(ledger, done, ["p1"])
    land(ledger, listed("a", "v2"))
    assert state_of(ledger, done) == "PLANNED"
    assert ledger.backlog(DATASET) == []
    assert states(ledger)["a", "v1"] == "SUCCEEDED"  # its rows are still what a query finds
    assert [(file.key, file.etag) for file in ledger.manifest_files(DATASET, done)] == [("a", "v2"), ("b", "v1")]
    assert convert(ledger, done, ["p2"]) == ["p1"]
    assert states(ledger) == {("a", "v1"): "SUPERSEDED", ("a", "v2"): "SUCCEEDED", ("b", "v1"): "SUCCEEDED"}
    assert [output.path for output in ledger.committed_outputs(DATASET)] == ["p2"]


def test_a_third_version_takes_the_place_of_a_second_that_was_not_yet_converted(ledger: Ledger) -> None:
    land(ledger, "a")
    done = claim(ledger).manifest_id
    convert(ledger, done)
    land(ledger, listed("a", "v2"))
    land(ledger, listed("a", "v3"))
    assert [file.etag for file in ledger.manifest_files(DATASET, done)] == ["v3"]
    convert(ledger, done)
    assert states(ledger) == {("a", "v1"): "SUPERSEDED", ("a", "v2"): "SUPERSEDED", ("a", "v3"): "SUCCEEDED"}


def test_a_version_that_comes_during_conversion_waits_and_then_replaces_the_rows(ledger: Ledger) -> None:
    land(ledger, "a", "b")
    running = claim(ledger).manifest_id
    attempt = begin(ledger, running)
    land(ledger, listed("a", "v2"), "c")
    assert [file.key for file in claim(ledger).files] == ["c"]
    assert ledger.claim_manifest(DATASET, "2026/week07", 10, 10**9) is None
    commit(ledger, running, attempt)
    assert state_of(ledger, running) == "PLANNED"
    assert [(file.key, file.etag) for file in ledger.manifest_files(DATASET, running)] == [("a", "v2"), ("b", "v1")]
    assert [file.key for file in ledger.files_to_archive(DATASET, running)] == ["b"]  # a's key holds v2 by now
    convert(ledger, running)
    assert states(ledger)["a", "v1"] == "SUPERSEDED"
    assert state_of(ledger, running) == "COMMITTED"


def test_a_version_that_waited_for_a_file_that_failed_is_claimable(ledger: Ledger) -> None:
    land(ledger, "a")
    running = claim(ledger).manifest_id
    attempt = begin(ledger, running)
    land(ledger, listed("a", "v2"))
    commit(ledger, running, attempt, a=FAILED)
    assert states(ledger) == {("a", "v1"): "SUPERSEDED", ("a", "v2"): "PENDING"}
    assert [file.etag for file in claim(ledger).files] == ["v2"]


def test_a_version_that_waited_for_an_attempt_that_failed_is_claimable(ledger: Ledger) -> None:
    land(ledger, "a", "b")
    running = claim(ledger).manifest_id
    attempt = begin(ledger, running)
    land(ledger, listed("a", "v2"))
    ledger.fail_attempt(DATASET, running, attempt, "out of memory")
    assert states(ledger) == {("a", "v1"): "SUPERSEDED", ("a", "v2"): "PENDING", ("b", "v1"): "FAILED"}
    assert [file.key for file in ledger.manifest_files(DATASET, running)] == ["b"]
    assert [file.etag for file in claim(ledger).files] == ["v2"]


def test_a_version_that_waited_for_a_replay_that_failed_stays_in_that_manifest(ledger: Ledger) -> None:
    land(ledger, "a")
    done = claim(ledger).manifest_id
    convert(ledger, done, ["p1"])
    attempt = begin(ledger, done)
    land(ledger, listed("a", "v2"))
    ledger.fail_attempt(DATASET, done, attempt, "out of memory")
    assert ledger.backlog(DATASET) == []  # else v1's rows would stay beside v2's
    assert state_of(ledger, done) == "PLANNED"
    convert(ledger, done, ["p2"])
    assert states(ledger) == {("a", "v1"): "SUPERSEDED", ("a", "v2"): "SUCCEEDED"}
    assert [output.path for output in ledger.committed_outputs(DATASET)] == ["p2"]


def test_a_superseded_version_that_comes_back_is_converted_again(ledger: Ledger) -> None:
    land(ledger, "a")
    done = claim(ledger).manifest_id
    convert(ledger, done)
    land(ledger, listed("a", "v2", minute=1))
    convert(ledger, done)
    assert land(ledger, listed("a", "v1", minute=2)).new == 1
    assert [file.etag for file in ledger.manifest_files(DATASET, done)] == ["v1"]
    convert(ledger, done)
    assert states(ledger) == {("a", "v1"): "SUCCEEDED", ("a", "v2"): "SUPERSEDED"}


def test_a_late_notice_of_a_superseded_version_changes_nothing(ledger: Ledger) -> None:
    land(ledger, "a")
    land(ledger, listed("a", "v2", minute=1))
    assert land(ledger, "a").new == 0
    assert states(ledger) == {("a", "v1"): "SUPERSEDED", ("a", "v2"): "PENDING"}


def test_what_is_older_than_a_known_version_is_registered_only_if_it_lies_there_now(ledger: Ledger) -> None:
    moment = listed("a", "v2", minute=1)
    land(ledger, moment, listed("b", minute=1), listed("c", "v2", minute=1))
    within = replace(listed("b", "v2", minute=1), last_modified=moment.last_modified + timedelta(milliseconds=900))
    late = [listed("a", "v1"), within, listed("c", "v1")]
    lies_there = {"a": "v2", "c": "v1"}  # c/v1 was an upload in parts, begun first and ended last
    asked = []

    def etag_now(key: str) -> str | None:
        asked.append(key)
        return lies_there.get(key)

    assert ledger.register(DATASET, late, etag_now=etag_now) == Registered(new=2, known=1)
    assert sorted(asked) == ["a", "c"]
    # A HEAD tells whole seconds, so this may be the later one.
    again = ledger.register(DATASET, [listed("b", "v3", minute=1)], etag_now=etag_now)
    assert again == Registered(new=1, known=0)
    assert states(ledger) == {
        ("a", "v2"): "PENDING",
        ("b", "v1"): "SUPERSEDED",
        ("b", "v2"): "SUPERSEDED",
        ("b", "v3"): "PENDING",
        ("c", "v1"): "PENDING",
        ("c", "v2"): "SUPERSEDED",
    }


def test_where_times_may_go_back_an_older_file_is_a_new_version(ledger: Ledger) -> None:
    land(ledger, listed("a", "v2", minute=1))
    assert land(ledger, listed("a", "v1")).new == 1
    assert states(ledger) == {("a", "v2"): "SUPERSEDED", ("a", "v1"): "PENDING"}


def test_a_failed_file_is_claimable_after_its_backoff_and_not_for_ever(ledger: Ledger) -> None:
    land(ledger, "a")
    convert(ledger, claim(ledger).manifest_id, a=FAILED)
    assert ledger.revive_failed(DATASET, 2, timedelta(hours=1)) == 0
    for _ in range(2):
        assert ledger.pending_work(DATASET, 2).retryable == 1
        assert ledger.revive_failed(DATASET, 2, timedelta(0)) == 1
        convert(ledger, claim(ledger).manifest_id, a=FAILED)
    assert ledger.pending_work(DATASET, 2).done
    assert ledger.revive_failed(DATASET, 2, timedelta(0)) == 0
    (row,) = ledger.files(DATASET)
    assert (row.status, row.retry_count, row.error_message, row.manifest_id) == ("FAILED", 3, "gone", None)


def test_a_file_that_has_failed_ever_so_often_does_not_stop_the_planning_of_others(
    ledger: Ledger, database_url: str
) -> None:
    land(ledger, "a", "b")
    convert(ledger, claim(ledger).manifest_id, a=FAILED, b=FAILED)
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE lake.live_files SET retry_count = 2000 WHERE s3_key = 'a'")
    assert ledger.revive_failed(DATASET, 10_000, timedelta(0)) == 2


def test_the_cursor_is_saved_with_its_batch_or_not_at_all(ledger: Ledger, database_url: str) -> None:
    ledger.register(DATASET, [listed("a")], cursor="a")
    assert ledger.cursor(DATASET) == "a"
    with psycopg.connect(database_url) as connection:  # a batch that fails at its last statement
        connection.execute("ALTER TABLE lake.discovery_cursors ADD CHECK (last_key < 'b')")
    with pytest.raises(LedgerError, match="last_key"):
        ledger.register(DATASET, [listed("b")], cursor="b")
    assert ledger.cursor(DATASET) == "a"
    assert sorted(states(ledger)) == [("a", "v1")]
    ledger.clear_cursor(DATASET)
    assert ledger.cursor(DATASET) is None
