"""Alerts, events and metrics: what a commit or a failure tells, once, and that telling never fails a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from lake_pipeline.attempts import run_attempt
from lake_pipeline.aws import client
from lake_pipeline.defs.factory import lake_definitions
from lake_pipeline.defs.instance import open_instance
from lake_pipeline.defs.resources import LakeResource
from lake_pipeline.discovery.listing import discover
from lake_pipeline.engines.task import Task
from lake_pipeline.errors import EngineError, ExtractFailed
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.news import ManifestNews
from lake_pipeline.notices.alerts import Links, alerts_of
from lake_pipeline.notices.events import ManifestCompleted, ManifestReady, entry
from lake_pipeline.notices.telling import put_gauges, tell
from lake_pipeline.progress import due_work
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, run

CHECKED = EVENTS | {"checks": {"required": ["id"], "row_count": {"min": 3}}}
MANIFEST = "2026-week07.0001"


@dataclass(frozen=True)
class Listener:
    """A queue that hears what a topic publishes, or what a bus is put."""

    url: str

    def heard(self) -> list[dict[str, Any]]:
        """What was said since the last time."""
        sqs, said = client("sqs"), []
        while found := sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                said.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return said


def queue(name: str) -> tuple[str, str]:
    """A new queue's URL and ARN."""
    sqs = client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


@pytest.fixture
def alerts(aws: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Listener:
    monkeypatch.setenv("LAKE_ALERTS_TOPIC", aws["LAKE_ALERTS_TOPIC"])
    monkeypatch.setenv("LAKE_UI_URL", "https://dagster.example")
    url, arn = queue(f"{aws['LAKE_EVENT_BUS']}-heard-alerts")
    client("sns").subscribe(TopicArn=aws["LAKE_ALERTS_TOPIC"], Protocol="sqs", Endpoint=arn)
    return Listener(url)


@pytest.fixture
def bus(aws: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Listener:
    name = aws["LAKE_EVENT_BUS"]
    monkeypatch.setenv("LAKE_EVENT_BUS", name)
    url, arn = queue(f"{name}-heard-events")
    events = client("events")
    events.put_rule(Name=name, EventBusName=name, EventPattern=json.dumps({"source": ["lake_pipeline"]}))
    events.put_targets(Rule=name, EventBusName=name, Targets=[{"Id": "1", "Arn": arn}])
    return Listener(url)


@pytest.fixture
def namespace(aws: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("LAKE_METRICS_NAMESPACE", aws["LAKE_EVENT_BUS"])
    monkeypatch.setenv("LAKE_EVENTS_DLQ", aws["LAKE_EVENTS_DLQ"])
    return aws["LAKE_EVENT_BUS"]


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[Lake]:
    with lake_of(monkeypatch, tmp_path, database_url, CHECKED) as opened:
        yield opened


def failing(_: Task) -> None:
    raise EngineError("the disk is full")


def metric(namespace: str, name: str, **dimensions: str) -> float:
    """The sum of what was put."""
    now = datetime.now(UTC)
    wanted = [{"Name": key, "Value": value} for key, value in sorted(dimensions.items())]
    answer = client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName=name,
        Dimensions=wanted,
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(hours=1),
        Period=7200,
        Statistics=["Sum"],
    )
    return float(sum(point["Sum"] for point in answer["Datapoints"]))


def test_a_commit_is_told_on_the_bus_once_and_what_it_set_aside_is_alerted(
    bus: Listener, alerts: Listener, namespace: str, lake: Lake
) -> None:
    land(lake, "raw/2026/week07/a.json", event(1), '{"id": "e2", ')
    lake.store.put("raw/2026/week07/b.json", b"\x89PNG\r\n\x1a\n\x00\x00")
    run(lake)
    run(lake)

    said = {item["detail-type"]: item["detail"] for item in bus.heard()}
    ready = ManifestReady.model_validate(said["ManifestReady"])
    done = ManifestCompleted.model_validate(said["ManifestCompleted"])
    assert (ready.manifest_id, ready.files, ready.landing_group) == (MANIFEST, 2, "2026/week07")
    assert lake.store.get_json(ready.manifest.removeprefix(f"{lake.settings.store_url}/"))["manifest_id"] == MANIFEST
    assert (done.attempt, done.engine, done.files_succeeded, done.files_quarantined) == (1, "local", 1, 1)
    assert (done.rows_written, done.rows_quarantined, done.outputs) == (1, 1, 1)
    assert done.failed_checks == {"row_count": 1}

    told = {item["MessageAttributes"]["kind"]["Value"]: item for item in alerts.heard()}
    assert set(told) == {"Quarantined", "CheckFailed"}
    assert told["Quarantined"]["Subject"] == f"events {MANIFEST}: quarantine"
    assert "1 files and 1 records were set aside" in told["Quarantined"]["Message"]
    assert "reason: raw/2026/week07/b.json: " in told["Quarantined"]["Message"]
    assert (
        f"manifest: https://dagster.example/assets/events/curated?view=partitions&partition={MANIFEST}"
        in told["Quarantined"]["Message"]
    )
    assert "checks.row_count: 1 rows offend" in told["CheckFailed"]["Message"]
    assert metric(namespace, "RowsWritten", dataset="events", engine="local") == 1
    assert metric(namespace, "ManifestsCompleted", dataset="events", engine="local") == 1


def test_a_failed_attempt_is_alerted_once_with_its_reason_and_what_comes_next(
    alerts: Listener, namespace: str, lake: Lake
) -> None:
    land(lake, "raw/2026/week07/a.json", event(1))
    dataset = lake.dataset("events")
    discover(dataset, lake.store, lake.ledger)
    due_work(lake, dataset, flush=True, limit=1)
    for _ in range(2):
        with pytest.raises(EngineError):
            run_attempt(lake, dataset, MANIFEST, failing)
        tell(lake, dataset)

    first, second = (item["Message"] for item in alerts.heard())
    assert f"events {MANIFEST} failed" in first
    assert "attempt 1: it is tried again, 3 more" in first
    assert "the disk is full" in first
    assert "attempt 2: it is tried again, 2 more" in second
    assert metric(namespace, "ManifestsFailed", dataset="events", engine="local") == 2
    assert metric(namespace, "Retries", dataset="events", engine="local") == 2


def test_services_that_are_away_fail_no_run_and_are_told_later(
    bus: Listener, aws: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    monkeypatch.setenv("LAKE_EVENT_BUS", f"{aws['LAKE_EVENT_BUS']}/nonesuch/{'x' * 300}")
    monkeypatch.setenv("LAKE_ALERTS_TOPIC", f"{aws['LAKE_ALERTS_TOPIC']}-nonesuch")
    monkeypatch.setenv("LAKE_METRICS_NAMESPACE", "AWS/Reserved")
    with lake_of(monkeypatch, tmp_path, database_url, EVENTS) as lake:
        land(lake, "raw/2026/week07/a.json", event(1))
        run(lake)
        assert rows(lake, "select id from events") == [("e1",)]
    assert bus.heard() == []

    for name in ("LAKE_ALERTS_TOPIC", "LAKE_METRICS_NAMESPACE"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("LAKE_EVENT_BUS", aws["LAKE_EVENT_BUS"])
    with lake_of(monkeypatch, tmp_path, database_url, EVENTS) as lake:
        tell(lake, lake.dataset("events"))
    assert [item["detail-type"] for item in bus.heard()] == ["ManifestReady", "ManifestCompleted"]


def test_what_happened_while_nobody_listened_is_not_told_afterwards(
    lake: Lake, bus: Listener, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    with lake_of(monkeypatch, tmp_path, database_url, EVENTS) as listening:
        assert listening.settings.event_bus
    land(lake, "raw/2026/week07/a.json", event(1))
    monkeypatch.delenv("LAKE_EVENT_BUS")
    with lake_of(monkeypatch, tmp_path, database_url, EVENTS) as silent:
        run(silent)
    assert lake.ledger.untold("events", 10) == []
    tell(lake, lake.dataset("events"))
    assert bus.heard() == []


def test_a_run_that_fails_outside_of_an_attempt_is_alerted_once_an_hour(
    alerts: Listener, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    broken = EVENTS | {"extracts": [{"name": "odd", "sql": "select nonesuch from events"}]}
    with lake_of(monkeypatch, tmp_path, database_url, broken) as lake:
        land(lake, "raw/2026/week07/a.json", event(1))
        with pytest.raises(ExtractFailed):
            run(lake)
        definitions = lake_definitions(list(lake.datasets.values()), alerts=True)
        with open_instance(lake.settings) as instance:
            (failed,) = instance.get_runs(dg.RunsFilter(job_name="events_extracts_job"))
            for _ in range(2):
                evaluate(definitions, instance, failed)

    (told,) = alerts.heard()
    assert told["Subject"] == "events_extracts_job failed"
    assert "nonesuch" in told["Message"]
    assert f"run: https://dagster.example/runs/{failed.run_id}" in told["Message"]


def test_a_failed_attempts_run_is_not_alerted_a_second_time(
    alerts: Listener, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    checks = {"row_count": {"min": 3}, "blocking": ["row_count"]}
    strict = EVENTS | {"checks": checks, "batch": {"max_retries": 1}}
    with lake_of(monkeypatch, tmp_path, database_url, strict) as lake:
        land(lake, "raw/2026/week07/a.json", event(1))
        run(lake)
        definitions = lake_definitions(list(lake.datasets.values()), alerts=True)
        with open_instance(lake.settings) as instance:
            failures = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
            for failed in failures:
                evaluate(definitions, instance, failed)

    assert len(failures) == 2
    first, second = (item["Message"] for item in alerts.heard())
    assert "attempt 1: it is tried again, 1 more" in first
    assert "attempt 2: it is not tried again" in second
    assert "row_count: 1 rows offend" in second


def evaluate(definitions: dg.Definitions, instance: dg.DagsterInstance, failed: dg.DagsterRun) -> None:
    """What the daemon does for a run that failed."""
    (record, *_) = instance.get_records_for_run(failed.run_id, of_type=dg.DagsterEventType.RUN_FAILURE).records
    happened = record.event_log_entry.dagster_event
    assert happened is not None
    context = dg.build_run_status_sensor_context(
        "lake_alerts", happened, instance, failed, resources={"lake": LakeResource()}
    ).for_run_failure()
    with context:
        definitions.resolve_sensor_def("lake_alerts")(context)


def test_each_minute_the_state_of_every_dataset_is_put(namespace: str, lake: Lake) -> None:
    land(lake, "raw/2026/week07/a.json", event(1), event(2), event(3))
    run(lake)
    size = next(iter(lake.ledger.files("events"))).size
    client("sqs").send_message(QueueUrl=lake.settings.events_dlq, MessageBody="poison")

    assert put_gauges(lake) == 14
    here = {"dataset": "events", "engine": "local"}
    assert metric(namespace, "FilesSucceeded", **here) == 1
    assert metric(namespace, "BytesSucceeded", **here) == size
    assert metric(namespace, "FilesPending", **here) == 0
    assert metric(namespace, "BacklogAge", **here) == 0
    assert metric(namespace, "DeadLetters", engine="local") == 1


def test_the_sensors_are_there_only_where_someone_listens(lake: Lake) -> None:
    datasets = list(lake.datasets.values())
    names = {"lake_alerts", "lake_metrics"}
    assert not names & {sensor.name for sensor in lake_definitions(datasets).sensors or ()}
    with_both = lake_definitions(datasets, alerts=True, metrics=True)
    dg.Definitions.validate_loadable(with_both)
    assert names <= {sensor.name for sensor in with_both.sensors or ()}


def news(**more: Any) -> ManifestNews:
    now = datetime(2026, 2, 1, tzinfo=UTC)
    fields: dict[str, Any] = {
        "dataset": "events",
        "manifest_id": MANIFEST,
        "landing_group": "2026/week07",
        "state": "FAILED",
        "attempt": 4,
        "failures": 4,
        "files": 1,
        "bytes": 10,
        "engine_run_id": "jr_1",
        "error_message": "x" * 5000,
        "planned_at": now,
        "started_at": now,
        "committed_at": None,
        "metrics": None,
        "planned": False,
        "ended": True,
    }
    return ManifestNews(**fields | more)


def test_the_last_failure_says_so_and_leads_to_the_jobs_logs() -> None:
    (alert,) = alerts_of(news(), 3, Links("https://dagster.example/", "eu-central-1"))
    text = "\n".join(alert.lines)
    assert "attempt 4: it is not tried again; lake requeue does" in text
    assert "x" * 2000 in text
    assert "x" * 2001 not in text
    assert (
        "logs: https://eu-central-1.console.aws.amazon.com/cloudwatch/home?region=eu-central-1"
        "#logsV2:log-groups/log-group/$252Faws-glue$252Fjobs$252Ferror/log-events/jr_1"
    ) in text
    assert list(Links(None, None).attempt(news())) == []


def test_an_event_is_what_eventbridge_takes() -> None:
    detail = ManifestReady(
        version=1,
        dataset="events",
        manifest_id=MANIFEST,
        landing_group="g",
        manifest="s3://b/m.json",
        files=1,
        bytes=2,
        planned_at=datetime(2026, 2, 1, tzinfo=UTC),
    )
    made = entry("bus", detail)
    assert (made["EventBusName"], made["Source"], made["DetailType"]) == ("bus", "lake_pipeline", "ManifestReady")
    assert json.loads(made["Detail"])["planned_at"] == "2026-02-01T00:00:00Z"
