"""A lake in S3 as Dagster runs it: the sensor of the events queue, and the job that finds what no event told of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from lake_pipeline.circuit import THRESHOLD
from lake_pipeline.definitions import defs
from lake_pipeline.defs.instance import open_instance
from lake_pipeline.errors import QueueError
from lake_pipeline.lake import Lake
from lake_pipeline_tests.aws import Arrivals, arrivals
from lake_pipeline_tests.command_line import LakeCommand
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, rows, run, states
from lake_pipeline_tests.test_definitions import requests, tick
from lake_pipeline_tests.test_inventory import Inventory, Row

QUICK = EVENTS | {"batch": {"max_wait": 0}}
TRIPS = {"name": "trips", "source": {"prefix": "trips/"}, "output": {"prefix": "trips-table/"}}


@pytest.fixture
def at(aws: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Arrivals:
    for name, value in aws.items():
        monkeypatch.setenv(name, value)
    return arrivals(aws)


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, at: Arrivals) -> Iterator[Lake]:
    with lake_of(monkeypatch, tmp_path, database_url, QUICK, TRIPS, store=at.store) as opened:
        yield opened


def land(at: Arrivals, *keys: str) -> None:
    for number, key in enumerate(keys):
        at.put(key, json.dumps(event(number)).encode())


def skipped(answer: object) -> str:
    assert isinstance(answer, dg.SkipReason)
    return answer.skip_message or ""


def discovering(definitions: dg.Definitions) -> set[str]:
    """The sensors that bring news into the ledger."""
    names = {sensor.name for sensor in definitions.sensors or ()}
    return {name for name in names if name == "s3_events" or name.endswith("_arrivals")}


def test_with_a_queue_its_sensor_stands_in_place_of_the_listing_ones(lake: Lake) -> None:
    definitions = defs()
    dg.Definitions.validate_loadable(definitions)
    assert discovering(definitions) == {"s3_events"}
    assert definitions.resolve_schedule_def("events_reconcile_hourly").cron_schedule == "17 * * * *"
    assert set(lake.datasets) == {"events", "trips"}


@pytest.mark.usefixtures("lake")
def test_without_a_queue_datasets_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKE_EVENTS_QUEUE", "")
    assert discovering(defs()) == {"events_arrivals", "trips_arrivals"}


def test_events_become_runs_and_rows_without_a_listing(lake: Lake, at: Arrivals) -> None:
    land(at, "raw/2026/week07/a.json", "trips/b.json", "curated/c.parquet")
    at.send("poison")
    definitions = defs()
    with open_instance(lake.settings) as instance:
        told = skipped(tick(definitions, instance, "s3_events"))
        (request,) = requests(tick(definitions, instance, "events_work"))

    # The lake's own document in the bucket is told of as well.
    assert told == "2 new of 5 messages; 1 that are no events, left in the queue"
    assert request.partition_key == "2026-week07.0001"
    run(lake)
    assert rows(lake, "select id from events") == [("e0",)]
    assert states(lake) == {"raw/2026/week07/a.json": "SUCCEEDED"}
    with open_instance(lake.settings) as instance:  # the archive's move told of itself
        assert skipped(tick(definitions, instance, "s3_events")).startswith("0 new of ")
    assert states(lake) == {"raw/2026/week07/a.json": "SUCCEEDED"}


def test_a_queue_that_keeps_failing_is_named_in_the_skip_reason_and_in_the_status(
    lake: Lake, at: Arrivals, database_url: str
) -> None:
    at.sqs.delete_queue(QueueUrl=at.queue)
    definitions = defs()
    with open_instance(lake.settings) as instance:
        for _ in range(THRESHOLD):
            with pytest.raises(QueueError):
                tick(definitions, instance, "s3_events")
        told = skipped(tick(definitions, instance, "s3_events"))

    assert "events, after 5 failures in a row, until" in told
    assert "NonExistentQueue" in told
    shown = command(lake, at, database_url)("status").stderr
    assert "events is left alone until" in shown
    assert "NonExistentQueue" in shown


def command(lake: Lake, at: Arrivals, database_url: str) -> LakeCommand:
    settings = {"LAKE_DATASETS": str(lake.settings.datasets), "LAKE_DATABASE_URL": database_url}
    return LakeCommand(lake.settings.home_dir, {**at.variables, **settings})


def test_reconcile_finds_what_no_event_told_of(lake: Lake, at: Arrivals, database_url: str) -> None:
    land(at, "raw/a.json", "raw/b.json", "trips/c.json")
    at.take()
    lake_ = command(lake, at, database_url)

    nothing = {"known": 0, "skipped": 0, "complete": True}
    assert lake_.json("reconcile") == {
        "events": {"listed": 2, "new": 2} | nothing,
        "trips": {"listed": 1, "new": 1} | nothing,
    }
    lines = lake_("reconcile", "events").stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["dataset", "listed", "new", "known", "skipped", "complete"],
        ["events", "2", "0", "2", "0", "true"],
    ]
    assert states(lake) == {"raw/a.json": "PENDING", "raw/b.json": "PENDING"}


def test_reconcile_reads_an_inventory_in_place_of_listing(lake: Lake, at: Arrivals, database_url: str) -> None:
    reports = Inventory(at.store, at.bucket.name)
    url = reports.write("Parquet", [Row("raw/a.json"), Row("raw/b.json"), Row("trips/c.json")])
    lake_ = command(lake, at, database_url)

    assert lake_.json("reconcile", "events", "--inventory", url)["events"]["new"] == 2
    set_up = LakeCommand(lake_.home, {**lake_.variables, "LAKE_INVENTORY": reports.folder})
    assert set_up.json("reconcile")["trips"]["new"] == 1
    assert "The inventory report cannot be used" in lake_("reconcile", "--inventory", "x", expect=1).stderr


def test_until_the_first_report_is_written_the_store_is_listed_and_a_line_says_so(
    lake: Lake, at: Arrivals, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(at, "raw/a.json", "trips/b.json")
    at.take()
    reports = Inventory(at.store, at.bucket.name)
    command_ = command(lake, at, database_url)
    lake_ = LakeCommand(command_.home, {**command_.variables, "LAKE_INVENTORY": reports.folder})
    awaited = (
        f"There is no S3 Inventory report yet: {reports.folder} has no folder such as 2026-02-01T01-00Z with a"
        " manifest.json. S3 takes up to 48 hours to write the first one."
    )
    told = f"{awaited} Until it is there, the store is listed."

    asked = lake_("reconcile", "--json")
    assert {name: each["new"] for name, each in json.loads(asked.stdout).items()} == {"events": 1, "trips": 1}
    assert asked.stderr.splitlines().count(told) == 1
    land(at, "raw/c.json")
    audited = lake_("audit", "events", "--json", expect=1)
    assert [json.loads(line)["subject"] for line in audited.stdout.splitlines()] == ["raw/c.json"]
    assert audited.stderr.splitlines().count(told) == 1

    monkeypatch.setenv("LAKE_INVENTORY", reports.folder)
    with open_instance(lake.settings) as instance:
        result = defs().resolve_job_def("events_reconcile").execute_in_process(instance=instance)
        lines = [record.event_log_entry.user_message for record in instance.get_records_for_run(result.run_id).records]
    assert result.success
    assert lines.count(told) == 1
    assert set(states(lake)) == {"raw/a.json", "raw/c.json"}

    # Who names a folder means a report; and a report that is there and broken is no report to come.
    assert awaited in lake_("reconcile", "--inventory", reports.folder, expect=1).stderr
    reports.put(reports.write("CSV", [Row("raw/d.json")]).split("/", 3)[3], b"{}")
    for words in (["reconcile"], ["audit"]):
        assert "The inventory report cannot be used" in lake_(*words, expect=1).stderr


def test_the_scheduled_job_spends_no_more_than_its_budget_and_goes_on_from_there(lake: Lake, at: Arrivals) -> None:
    reports = Inventory(at.store, at.bucket.name)
    reports.write("CSV", [Row(f"raw/{number:05}.json") for number in range(12_000)])
    job = defs().resolve_job_def("events_reconcile")
    budget = {"ops": {"reconcile_events": {"config": {"requests": 1}}}}
    found = []
    with pytest.MonkeyPatch.context() as patch, open_instance(lake.settings) as instance:
        patch.setenv("LAKE_INVENTORY", reports.folder)
        for _ in range(6):
            assert job.execute_in_process(instance=instance, run_config=budget).success
            found.append(lake.ledger.status()["events"]["PENDING"])

    assert 0 < found[0] < 12_000
    assert found[-1] == 12_000
