"""Withdrawing a new version: what the ledger makes of it beside what others do."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import psycopg
import pytest

from lake_pipeline.errors import LeaseLost
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.models import FileOutcome, Registered, Replacement, Withdrawal
from lake_pipeline_tests.ledger_samples import DATASET, begin, claim, convert, land, listed, state_of, states
from lake_pipeline_tests.waiting import until


@pytest.fixture
def done(ledger: Ledger) -> str:
    """A committed manifest of a and b."""
    land(ledger, "a", "b")
    manifest_id = claim(ledger).manifest_id
    convert(ledger, manifest_id, ["p1"])
    return manifest_id


def gone(*keys: str) -> Callable[[Replacement], Withdrawal | None]:
    def judge(version: Replacement) -> Withdrawal | None:
        return Withdrawal(version.id, "SUPERSEDED", "ObjectDeleted", "gone\0") if version.key in keys else None

    return judge


def test_without_its_only_new_version_a_manifest_is_as_it_was_committed(ledger: Ledger, done: str) -> None:
    before = ledger.manifest(DATASET, done), ledger.commit_mark(DATASET), ledger.committed_outputs(DATASET)
    land(ledger, listed("a", "v2"))
    assert [version.etag for version in ledger.replacements(DATASET, [done])] == ["v2"]

    assert len(ledger.withdraw(DATASET, done, gone("a"))) == 1

    manifest = ledger.manifest(DATASET, done)
    assert (manifest.state, manifest.attempt, manifest.committed_at) == ("COMMITTED", 1, before[0].committed_at)
    assert (ledger.commit_mark(DATASET), ledger.committed_outputs(DATASET)) == before[1:]
    assert states(ledger) == {("a", "v1"): "SUCCEEDED", ("a", "v2"): "SUPERSEDED", ("b", "v1"): "SUCCEEDED"}
    assert ledger.pending_work(DATASET, 3).done
    assert ledger.withdraw(DATASET, done, gone("a")) == []


@pytest.mark.parametrize("more", ["another version", "a requeue"])
def test_a_manifest_with_more_to_do_is_planned_without_the_version_withdrawn(
    ledger: Ledger, done: str, more: str
) -> None:
    land(ledger, listed("a", "v2"))
    if more == "a requeue":
        ledger.requeue(DATASET, manifest=done)
    else:
        land(ledger, listed("b", "v2"))
    attempt = begin(ledger, done)

    ledger.withdraw(DATASET, done, gone("a"), attempt=attempt)

    assert state_of(ledger, done) == "PLANNED"
    files = [("a", "v1"), ("b", "v1" if more == "a requeue" else "v2")]
    assert [(file.key, file.etag) for file in ledger.manifest_files(DATASET, done)] == files
    assert convert(ledger, done, ["p2"]) == ["p1"]
    assert {key for key, status in states(ledger).items() if status == "SUCCEEDED"} == set(files)
    # What was asked for was done, so the next new version is all that the manifest waits for.
    land(ledger, listed("a", "v3"))
    ledger.withdraw(DATASET, done, gone("a"))
    assert state_of(ledger, done) == "COMMITTED"


def test_a_replay_under_way_is_left_alone_and_only_who_holds_it_may_end_it(ledger: Ledger, done: str) -> None:
    land(ledger, listed("a", "v2"))
    attempt = begin(ledger, done)
    assert ledger.withdraw(DATASET, done, gone("a")) == []
    with pytest.raises(LeaseLost):
        ledger.withdraw(DATASET, done, gone("a"), attempt=attempt - 1)
    assert states(ledger)["a", "v2"] == "PROCESSING"


def test_a_third_version_that_waited_takes_the_place_of_the_one_withdrawn(ledger: Ledger, done: str) -> None:
    land(ledger, listed("a", "v2"))
    attempt = begin(ledger, done)
    land(ledger, listed("a", "v3"))

    ledger.withdraw(DATASET, done, gone("a"), attempt=attempt)

    assert [(file.key, file.etag) for file in ledger.manifest_files(DATASET, done)] == [("a", "v3"), ("b", "v1")]
    assert state_of(ledger, done) == "PLANNED"


def test_only_versions_that_are_to_replace_rows_can_be_withdrawn(ledger: Ledger, done: str) -> None:
    asked: list[str] = []

    def judge(version: Replacement) -> Withdrawal | None:
        asked.append(version.etag)
        return gone("a", "b")(version)

    ledger.requeue(DATASET, manifest=done)
    assert ledger.withdraw(DATASET, done, judge) == []
    land(ledger, listed("a", "v2"))
    ledger.withdraw(DATASET, done, judge)
    assert asked == ["v2"]
    assert ledger.status()[DATASET]["SUPERSEDED"] == 1


def test_rows_that_wait_for_a_replay_are_not_given_up_before_the_new_versions_are_there(
    ledger: Ledger, done: str
) -> None:
    ledger.requeue(DATASET, key="a")
    land(ledger, listed("a", "v2"))
    assert states(ledger)["a", "v1"] == "PENDING"
    assert [file.etag for file in ledger.manifest_files(DATASET, done) if file.key == "a"] == ["v2"]
    convert(ledger, done, ["p2"])
    assert states(ledger) == {("a", "v1"): "SUPERSEDED", ("a", "v2"): "SUCCEEDED", ("b", "v1"): "SUCCEEDED"}


def test_what_lands_again_while_its_version_is_withdrawn_is_a_version_anew(
    ledger: Ledger, done: str, database_url: str
) -> None:
    land(ledger, listed("a", "v2", minute=1))
    landing: list[Future[Registered]] = []
    waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
    with ThreadPoolExecutor() as pool, psycopg.connect(database_url, autocommit=True) as watching:

        def judge(version: Replacement) -> Withdrawal | None:
            landing.append(pool.submit(land, ledger, listed("a", "v2", minute=2)))
            until(lambda: bool(watching.execute(waiting).fetchall()))
            return gone("a")(version)

        assert len(ledger.withdraw(DATASET, done, judge)) == 1
        assert landing[0].result() == Registered(new=1, known=0)

    assert [version.etag for version in ledger.replacements(DATASET, [done])] == ["v2"]
    assert state_of(ledger, done) == "PLANNED"


def test_a_version_seen_again_after_it_was_archived_is_to_be_moved_again_and_nothing_else(
    ledger: Ledger, done: str
) -> None:
    assert land(ledger, "a").new == 0
    assert ledger.relanded_files(DATASET) == [], "it has not left yet"
    ledger.record_archived(DATASET, [(file.id, f"archive/{file.key}") for file in ledger.files_to_archive(DATASET)])
    assert ledger.archived_versions(DATASET, [("a", "v1"), ("b", "v2"), ("c", "v1")]) == {"a"}

    assert land(ledger, "a").new == 0

    (again,) = ledger.relanded_files(DATASET)
    assert (again.key, again.location) == ("a", "archive/a")
    assert ledger.archived_versions(DATASET, [("a", "v1")]) == set()
    assert state_of(ledger, done) == "COMMITTED"
    land(ledger, listed("a", "v2"))
    assert ledger.relanded_files(DATASET) == [], "the new version is looked for under its key first"
    ledger.withdraw(DATASET, done, gone("a"))
    ledger.record_archived(DATASET, [(again.id, again.location)])
    assert ledger.relanded_files(DATASET) == []


@pytest.mark.parametrize("archived", [False, True])
def test_bytes_uploaded_again_end_the_unreadable_version_that_had_come_in_their_place(
    ledger: Ledger, done: str, archived: bool
) -> None:
    if archived:
        ledger.record_archived(DATASET, [(file.id, f"archive/{file.key}") for file in ledger.files_to_archive(DATASET)])
    land(ledger, listed("a", "v2", minute=1))
    ledger.withdraw(DATASET, done, unreadable)
    assert states(ledger)["a", "v2"] == "QUARANTINED"

    assert land(ledger, listed("a", "v1", minute=2)) == Registered(new=0, known=1)

    assert states(ledger) == {("a", "v1"): "SUCCEEDED", ("a", "v2"): "SUPERSEDED", ("b", "v1"): "SUCCEEDED"}
    to_move = ledger.relanded_files(DATASET) if archived else ledger.files_to_archive(DATASET)
    assert "a" in {file.key for file in to_move}
    # Who saw the unreadable one before, and says so late, changes nothing.
    assert ledger.register(DATASET, [listed("a", "v2", minute=1)], etag_now=lambda _: "v1").new == 0
    assert states(ledger)["a", "v2"] == "SUPERSEDED"
    assert ledger.pending_work(DATASET, 3).done


def unreadable(version: Replacement) -> Withdrawal:
    return Withdrawal(version.id, "QUARANTINED", "Unreadable", "bad")


def test_a_late_word_of_a_file_that_was_moved_to_quarantine_does_not_end_its_replay(ledger: Ledger) -> None:
    land(ledger, "a")
    convert(ledger, claim(ledger).manifest_id, a=FileOutcome(0, "QUARANTINED", error_class="Unreadable"))
    (file,) = ledger.files_to_archive(DATASET)
    ledger.record_archived(DATASET, [(file.id, "quarantine/a")])
    ledger.requeue(DATASET, key="a")

    assert ledger.unconverted(DATASET, ["a"]) == {}, "it is gone from its key because it was moved"
    assert ledger.supersede_deleted(DATASET, [file.id], "deleted") == 0

    assert states(ledger) == {("a", "v1"): "PENDING"}
