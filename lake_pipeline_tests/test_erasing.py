"""Erasing rows: those that match are gone, all others are there once, and no replay brings the erased ones back."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lake_pipeline.attempts import LEASE, run_attempt
from lake_pipeline.discovery.listing import discover
from lake_pipeline.engines.run import run_task
from lake_pipeline.engines.task import Task
from lake_pipeline.erasing import begin, find, finish
from lake_pipeline.errors import ErasureUnfinished, LedgerError, PredicateInvalid, StoreError
from lake_pipeline.failpoints import _armed, _reached
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.erasure_models import ErasureRow
from lake_pipeline.progress import finish_erasures, finish_interrupted
from lake_pipeline.published import open_parquet
from lake_pipeline.workers import worker_name
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, stored
from lake_pipeline_tests.passes import convert

HIS = "user_id = 'x'"
GROUPS = ("week06", "week07")


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, store_url: str) -> Iterator[Lake]:
    """Two manifests of two files, on each kind of store; the rows of user x are of the first day of each."""
    with lake_of(monkeypatch, tmp_path, database_url, EVENTS, store=store_url, catalog="duckdb") as opened:
        fill(opened)
        yield opened


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[Lake]:
    """The same in a directory."""
    with lake_of(monkeypatch, tmp_path, database_url, EVENTS) as opened:
        fill(opened)
        yield opened


def fill(lake: Lake) -> None:
    for number, group in enumerate(GROUPS):
        for file in range(2):
            first = number * 20 + file * 10
            land(
                lake,
                f"raw/2026/{group}/{file}.ndjson",
                *(
                    event(n, day=1 + n % 2, n=n, user_id="x" if n % 4 == 0 else None if n % 5 == 0 else "y")
                    for n in range(first, first + 10)
                ),
            )
    convert(lake)


def erase(lake: Lake, predicate: str = HIS, *, raw: bool = False) -> ErasureRow:
    dataset = lake.datasets["events"]
    return finish(lake, dataset, begin(lake, dataset, predicate, raw=raw))


def table(lake: Lake) -> Counter[tuple[Any, ...]]:
    return Counter(rows(lake, 'select id, n, user_id, "date", mode, _source_file from events'))


def without_x(before: Counter[tuple[Any, ...]]) -> Counter[tuple[Any, ...]]:
    return Counter({row: count for row, count in before.items() if row[2] != "x"})


def is_accounted_for(lake: Lake) -> bool:
    """Whether the ledger's counts add up, and are those of the outputs that lie in the store."""
    files = [file for file in lake.ledger.files("events") if file.status == "SUCCEEDED"]
    for file in files:
        left_out = (file.rows_quarantined or 0) + (file.rows_dropped or 0) + (file.rows_erased or 0)
        assert (file.rows_read or 0) + (file.rows_exploded or 0) == (file.rows_written or 0) + left_out, file
    outputs = lake.ledger.committed_outputs("events")
    assert sorted(output.path for output in outputs) == sorted(stored(lake, "curated/"))
    for output in outputs:
        assert lake.store.head(output.path).size == output.bytes
        with open_parquet(lake.store, output.path) as file:
            assert file.metadata.num_rows == output.rows
    return sum(output.rows for output in outputs) == sum(file.rows_written or 0 for file in files)


def test_just_the_matching_rows_go_and_outputs_without_any_stay_byte_by_byte(lake: Lake) -> None:
    before = table(lake)
    outputs = {output.path: lake.store.head(output.path) for output in lake.ledger.committed_outputs("events")}
    matching = {found.output.path: sum(found.rows.values()) for found in find(lake, lake.datasets["events"], HIS)}
    example = next(iter(matching))
    with open_parquet(lake.store, example) as file:
        schema = file.schema

    ended = erase(lake)

    assert table(lake) == without_x(before)
    assert sum(matching.values()) == ended.rows_erased == sum((before - table(lake)).values()) == 10
    now = {output.path for output in lake.ledger.committed_outputs("events")}
    assert set(outputs) - now == set(matching)
    for path in set(outputs) & now:
        assert lake.store.head(path) == outputs[path]
    (renewed, *_) = sorted(now - set(outputs))
    with open_parquet(lake.store, renewed) as file:
        assert file.schema.equals(schema)
        assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    assert renewed.rpartition("/")[0] == example.rpartition("/")[0]
    assert is_accounted_for(lake)


def test_a_replay_does_not_bring_erased_rows_back_and_nothing_is_ingested_again(lake: Lake) -> None:
    left = without_x(table(lake))
    erase(lake)
    counts = {
        file.s3_key: (file.rows_read, file.rows_written, file.rows_erased) for file in lake.ledger.files("events")
    }
    found = discover(lake.datasets["events"], lake.store, lake.ledger)
    assert (found.new, convert(lake)) == (0, [])

    lake.ledger.requeue("events", status="SUCCEEDED")
    replayed = convert(lake)

    assert len(replayed) == len(GROUPS)
    assert table(lake) == left
    assert is_accounted_for(lake)
    assert counts == {
        file.s3_key: (file.rows_read, file.rows_written, file.rows_erased) for file in lake.ledger.files("events")
    }
    assert sum(file.rows_erased for outcome in replayed for file in outcome.results.files) == 10


def test_a_report_says_what_was_done_and_the_ledger_signs_it(here: Lake) -> None:
    land(here, "raw/2026/week08/bad.ndjson", '{"id": "e1"', "{")
    land(here, "raw/2026/week08/partly.ndjson", event(99, user_id="y"), "{")
    convert(here)

    ended = erase(here)

    assert ended.report_key == f"_lake/erasures/events/{ended.id}.json"
    text = here.store.get(ended.report_key)
    assert hashlib.sha256(text).hexdigest() == ended.report_sha256
    report = json.loads(text)
    assert report["predicate_sha256"] == hashlib.sha256(HIS.encode()).hexdigest() == ended.predicate_sha256
    assert HIS.encode() not in text
    assert report["rows_erased"] == sum(report["rows_erased_by_file"].values()) == 10
    assert len(report["outputs_rewritten"]) == 2
    for output in report["outputs_rewritten"]:
        assert output["rows_before"] > output["rows_after"] > 0
        assert here.store.exists(output["replaced_by"])
        assert not here.store.exists(output["path"])
    assert report["outputs_removed"] == []
    assert (report["not_searched"]["files_in_quarantine"], report["not_searched"]["records_in_quarantine"]) == (1, 1)
    assert here.ledger.erasures("events") == [ended]


def test_an_output_of_which_every_row_matches_is_removed(here: Lake) -> None:
    before = table(here)
    ended = erase(here, "day = 1 AND month = 2")
    assert table(here) == Counter({row: count for row, count in before.items() if row[1] % 2})
    report = json.loads(here.store.get(ended.report_key or ""))
    assert (len(report["outputs_removed"]), report["outputs_rewritten"]) == (2, [])
    assert not [key for key in stored(here, "curated/") if "/day=1/" in key]
    assert is_accounted_for(here)


def test_what_lands_later_is_not_erased_and_what_waits_is(here: Lake) -> None:
    land(here, "raw/2026/week09/waits.ndjson", event(70, user_id="x"), event(71, user_id="y"))
    discover(here.datasets["events"], here.store, here.ledger)
    erase(here)
    land(here, "raw/2026/week09/later.ndjson", event(80, user_id="x"))
    convert(here)
    assert [row[0] for row in rows(here, f"select id from events where {HIS}")] == ["e80"]

    again = erase(here, "user_id = 'nobody'")

    assert again.rows_erased == 0
    assert is_accounted_for(here)
    # A new version of an erased file is new, too.
    land(here, "raw/2026/week06/0.ndjson", event(90, user_id="x"))
    convert(here)
    here.ledger.requeue("events", status="SUCCEEDED")
    convert(here)
    assert sorted(row[0] for row in rows(here, f"select id from events where {HIS}")) == ["e80", "e90"]


def test_an_attempt_that_began_before_the_request_converts_again(here: Lake) -> None:
    land(here, "raw/2026/week09/a.ndjson", event(70, user_id="x"), event(71, user_id="y"))
    dataset = here.datasets["events"]
    conversions = []

    def engine(task: Task) -> None:
        run_task(task, lambda _: None)
        conversions.append(task.erasures)
        if len(conversions) == 1:
            begin(here, dataset, HIS)

    discover(dataset, here.store, here.ledger)
    manifest = here.ledger.claim_manifest("events", "2026/week09", 10, 10**6)
    assert manifest is not None
    run_attempt(here, dataset, manifest.manifest_id, engine)

    assert [len(erasures) for erasures in conversions] == [0, 1]
    assert rows(here, "select id from events where _source_file like '%week09%'") == [("e71",)]
    finish_erasures(here, dataset)
    assert rows(here, f"select id from events where {HIS}") == []


def test_a_manifest_under_conversion_is_waited_for_and_the_others_are_done(here: Lake) -> None:
    left = without_x(table(here))
    here.ledger.requeue("events", manifest="2026-week06.0001")
    attempt = here.ledger.begin_attempt("events", "2026-week06.0001", "elsewhere/1/1", LEASE)
    with pytest.raises(ErasureUnfinished, match=r"2026-week06\.0001: being converted"):
        erase(here)
    assert {row[0] for row in rows(here, f"select _source_file from events where {HIS}")} == {
        "raw/2026/week06/0.ndjson",
        "raw/2026/week06/1.ndjson",
    }
    assert here.ledger.erasures("events")[0].ended_at is None

    here.ledger.fail_attempt("events", "2026-week06.0001", attempt, "it failed")
    ended = erase(here)

    assert (len(here.ledger.erasures("events")), ended.rows_erased) == (1, 10)
    assert table(here) == left
    # The failed manifest is still to be replayed, as it was.
    assert [outcome.manifest.manifest_id for outcome in convert(here)] == ["2026-week06.0001"]
    assert table(here) == left
    assert is_accounted_for(here)


def test_who_erases_holds_the_manifest_and_a_dead_one_leaves_it_as_it_was(here: Lake) -> None:
    ledger, manifest = here.ledger, "2026-week06.0001"
    ledger.hold_manifest("events", manifest, "elsewhere/1/1", LEASE)
    with pytest.raises(LedgerError, match="under way"):
        ledger.begin_attempt("events", manifest, worker_name(), LEASE)
    with pytest.raises(LedgerError, match="being converted"):
        ledger.requeue("events", manifest=manifest)
    # A version that lands meanwhile replaces the old one's rows, in the same manifest.
    land(here, "raw/2026/week06/0.ndjson", event(1, user_id="z"))
    discover(here.datasets["events"], here.store, here.ledger)
    assert ledger.reap("events", lambda _: True) == 1
    assert (ledger.manifest("events", manifest).state, ledger.manifest("events", manifest).failures) == ("PLANNED", 0)

    convert(here)

    found = rows(here, "select id from events where _source_file = 'raw/2026/week06/0.ndjson'")
    assert found == [("e1",)]
    assert {file.status for file in ledger.files("events")} == {"SUCCEEDED", "SUPERSEDED"}


@pytest.mark.parametrize("action", ["store", "ledger"])
def test_a_store_or_ledger_that_fails_at_any_step_leaves_all_or_nothing(
    here: Lake, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    before, dataset = table(here), here.datasets["events"]
    for point in ("recorded", "staged", "copied", "committing", "committed", "cleaned", "reported"):
        monkeypatch.setenv("LAKE_FAILPOINTS", f"erase.{point}={action}")
        _armed.cache_clear()
        _reached.clear()
        with pytest.raises((StoreError, LedgerError), match=point):
            erase(here)
        finish_interrupted(here, dataset)
        # Each manifest's rows are as they were, or all of those that match are gone.
        now = table(here)
        for group in GROUPS:
            of_group = {row: count for row, count in now.items() if group in row[5]}
            whole = Counter({row: count for row, count in before.items() if group in row[5]})
            assert of_group in (whole, without_x(whole))
        assert is_accounted_for(here)
    monkeypatch.delenv("LAKE_FAILPOINTS")
    _armed.cache_clear()
    finish_erasures(here, dataset)
    assert table(here) == without_x(before)
    (ended,) = here.ledger.erasures("events")
    assert ended.rows_erased == 10
    assert stored(here, "_staging/") == []


def test_a_predicate_that_fails_on_some_row_touches_nothing(here: Lake) -> None:
    outputs = here.ledger.committed_outputs("events")
    with pytest.raises(PredicateInvalid, match="Could not convert string"):
        find(here, here.datasets["events"], "user_id = 5")
    with pytest.raises(PredicateInvalid):
        begin(here, here.datasets["events"], "user_id = 'x' OR EXISTS (SELECT 1)")
    assert here.ledger.erasures("events") == []
    assert here.ledger.committed_outputs("events") == outputs
