"""Attempts that are overtaken, fail or die around their commit: the committed one's files are there, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lake_pipeline.discovery.listing import discover
from lake_pipeline.engines.run import run_task
from lake_pipeline.engines.task import Task, read_results
from lake_pipeline.errors import LeaseLost, ObjectMissing
from lake_pipeline.kernel.results import RECORDS, Results
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.models import FileOutcome
from lake_pipeline.planning import current_manifest, plan
from lake_pipeline.progress import finish_interrupted
from lake_pipeline.publishing import clean, publish
from lake_pipeline.quarantine import records, set_aside
from lake_pipeline.store import Store
from lake_pipeline.workers import worker_name
from lake_pipeline_tests.faults import FaultyProxy, faulty_proxy
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, run, stored
from lake_pipeline_tests.waiting import until

MANIFEST = "historical.0001"
DOCUMENTS = "quarantine/events/records/"
DOCUMENT = {**EVENTS, "source": EVENTS["source"] | {"format": "json", "records": "sent"}}


@pytest.fixture
def proxy(aws_url: str, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:  # noqa: ARG001
    """The way to S3, where a worker can be held."""
    with faulty_proxy(aws_url) as opened:
        monkeypatch.setenv("AWS_ENDPOINT_URL", opened.url)
        yield opened


@pytest.fixture
def lake_on_s3(
    proxy: FaultyProxy,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    database_url: str,
    s3_url: str,
) -> Iterator[Lake]:
    with lake_of(monkeypatch, tmp_path, database_url, EVENTS, store=s3_url) as opened:
        yield opened


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[Lake]:
    """A lake whose only manifest set a record of the array `sent` aside, and is to be done again."""
    with lake_of(monkeypatch, tmp_path, database_url, DOCUMENT) as opened:
        arrays = [event(9), "12:30"], [event(1), "1 o'clock"], [event(2)]
        land(opened, "raw/a.json", dict(zip(("sent", "rows", "all"), arrays, strict=True)))
        run(opened)
        opened.ledger.requeue("events", manifest=MANIFEST)
        yield opened


def planned(lake: Lake) -> None:
    dataset = lake.datasets["events"]
    discover(dataset, lake.store, lake.ledger)
    plan(dataset, lake.ledger, lake.store, now=datetime.now(UTC), flush=True, max_manifests=1)


def converted(lake: Lake, worker: str, declaration: dict[str, Any] = EVENTS) -> tuple[Task, Results]:
    """An attempt that has staged its files when its lease runs out."""
    task = Task(
        declaration=declaration,
        manifest_id=MANIFEST,
        attempt=lake.ledger.begin_attempt("events", MANIFEST, worker, timedelta(0)),
        schema=lake.schema("events").to_json(),
        store_url=lake.settings.store_url,
        threads=1,
        memory="256MiB",
    )
    current_manifest(lake.ledger, lake.store, lake.datasets["events"], MANIFEST)
    run_task(task, lambda _: None)
    return task, read_results(lake.store, task)


def records_of(array: str) -> dict[str, Any]:
    """The declaration that takes the records from another array."""
    return {**DOCUMENT, "source": DOCUMENT["source"] | {"records": array}}


def aside(lake: Lake) -> list[bytes]:
    """What quarantine holds of records, as they landed."""
    listed = lake.ledger.records_aside("events")
    return [record.raw for _, document, _ in listed for record in records(lake.store, document)]


def test_a_worker_overtaken_while_it_copies_stops_and_leaves_no_file_behind(
    lake_on_s3: Lake, proxy: FaultyProxy, aws_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = lake_on_s3
    land(lake, "raw/a.json", *(event(number, mode=f"m{number:02d}") for number in range(70)), "ERROR 503")
    planned(lake)
    first, results = converted(lake, "held")
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_url)
    unhindered = Store(lake.settings.store_url)

    def overtake() -> None:
        second, found = converted(lake, "second")
        clean("events", publish(second, found, unhindered, lake.ledger), unhindered, lake.ledger)

    with proxy.before("COPY", overtake), pytest.raises(LeaseLost):
        publish(first, results, lake.store, lake.ledger)

    assert proxy.calls["COPY"] == 64, "the lease is looked at between batches"
    committed = {output.path for output in lake.ledger.committed_outputs("events")}
    assert len(committed) == 70
    assert set(stored(lake, "curated/")) == committed
    assert stored(lake, DOCUMENTS) == [f"{DOCUMENTS}{MANIFEST}-a2.ndjson"]


def test_an_attempt_that_cannot_copy_all_leaves_no_file_behind(replayed: Lake) -> None:
    before = rows(replayed, "select id from events"), stored(replayed, "curated/")
    task, results = converted(replayed, "second", records_of("rows"))
    # So it goes when a pass clears what an overtaken attempt had staged.
    replayed.store.delete([task.staging + RECORDS])

    with pytest.raises(ObjectMissing):
        publish(task, results, replayed.store, replayed.ledger)

    assert (rows(replayed, "select id from events"), stored(replayed, "curated/")) == before


def test_what_a_commit_under_way_is_about_to_list_is_not_taken_for_a_leftover(
    replayed: Lake, database_url: str
) -> None:
    with ThreadPoolExecutor() as pool, psycopg.connect(database_url) as committing:
        committing.execute("UPDATE lake.manifests SET quarantined_records = 'theirs'")
        asked = pool.submit(replayed.ledger.uncommitted_keys, "events", MANIFEST, ["theirs", "nobody's"])
        with psycopg.connect(database_url, autocommit=True) as watching:
            waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            until(lambda: bool(watching.execute(waiting).fetchall()))
        committing.commit()

        assert asked.result() == ["nobody's"]


def test_a_replay_that_does_not_commit_leaves_the_records_that_were_set_aside(replayed: Lake) -> None:
    overtaken, results = converted(replayed, "second", records_of("rows"))
    replayed.ledger.begin_attempt("events", MANIFEST, "third", timedelta(minutes=1))
    with pytest.raises(LeaseLost):
        publish(overtaken, results, replayed.store, replayed.ledger)

    assert aside(replayed) == [b'"12:30"']
    assert stored(replayed, DOCUMENTS) == [f"{DOCUMENTS}{MANIFEST}-a1.ndjson"]


def test_an_attempt_killed_before_its_commit_changes_no_record_set_aside(replayed: Lake) -> None:
    killed, _ = converted(replayed, "second", records_of("rows"))
    document = f"{DOCUMENTS}{MANIFEST}-a2.ndjson"
    replayed.store.publish(killed.staging + RECORDS, document)
    finish_interrupted(replayed, replayed.datasets["events"])

    assert aside(replayed) == [b'"12:30"']
    assert stored(replayed, DOCUMENTS) == [f"{DOCUMENTS}{MANIFEST}-a1.ndjson"]


def test_records_that_became_rows_are_not_listed_even_if_killed_right_after_the_commit(replayed: Lake) -> None:
    attempt = replayed.ledger.begin_attempt("events", MANIFEST, "second", timedelta(minutes=1))
    (file,) = replayed.ledger.manifest_files("events", MANIFEST)
    outcome = FileOutcome(file.id, "SUCCEEDED", rows_read=1, rows_written=1)
    replayed.ledger.commit_manifest("events", MANIFEST, attempt, files=[outcome], outputs=[])

    assert stored(replayed, DOCUMENTS) != []
    assert list(set_aside(replayed.store, replayed.ledger, "events")) == []
    finish_interrupted(replayed, replayed.datasets["events"])
    assert stored(replayed, DOCUMENTS) == []


def test_a_pass_leaves_the_document_of_an_attempt_under_way_and_what_is_not_the_lakes(replayed: Lake) -> None:
    replayed.ledger.begin_attempt("events", MANIFEST, worker_name(), timedelta(minutes=1))
    kept = [f"{DOCUMENTS}{name}.ndjson" for name in (f"{MANIFEST}-a1", f"{MANIFEST}-a2", "notes")]
    for key in kept[1:]:
        replayed.store.put(key, b"")
    replayed.store.put(f"{DOCUMENTS}{MANIFEST}.ndjson", b"")  # as it was called before keys named attempts

    finish_interrupted(replayed, replayed.datasets["events"])

    assert stored(replayed, DOCUMENTS) == kept


def test_a_replay_replaces_the_document_of_the_commit_before(replayed: Lake) -> None:
    task, results = converted(replayed, "second", records_of("rows"))
    publish(task, results, replayed.store, replayed.ledger)

    assert aside(replayed) == [b'"1 o\'clock"']
    assert stored(replayed, DOCUMENTS) == [f"{DOCUMENTS}{MANIFEST}-a2.ndjson"]
