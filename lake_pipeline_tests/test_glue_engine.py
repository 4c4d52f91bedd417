"""The engine `glue` where workers, Glue and other manifests get in its way; no Dagster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from lake_pipeline.attempts import run_attempt
from lake_pipeline.defs.factory import lake_definitions
from lake_pipeline.defs.resources import LakeResource
from lake_pipeline.discovery.listing import discover
from lake_pipeline.engines.glue import GlueEngine
from lake_pipeline.engines.glue_job import GlueJob, GlueRun
from lake_pipeline.engines.run import run_task
from lake_pipeline.engines.task import Task
from lake_pipeline.errors import CircuitOpen, EngineError, EngineUnreachable, LeaseLost
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.models import ManifestRow
from lake_pipeline.planning import plan
from lake_pipeline_tests.glue import CONVERTS, DOWN, WAITS, Glue, glue_lake_of, glue_of, held, let_go
from lake_pipeline_tests.lakes import EVENTS, event, land, rows, run
from lake_pipeline_tests.waiting import until

WEEK07 = "2026-week07.0001"


@pytest.fixture
def glue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Glue]:
    with glue_of(monkeypatch, grace=0.2) as started:
        yield started


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, glue: Glue) -> Iterator[Lake]:
    with glue_lake_of(monkeypatch, tmp_path, database_url, glue, EVENTS) as opened:
        land(opened, "raw/2026/week07/a.json", event(1), event(2))
        yield opened


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def engine(lake: Lake, glue: Glue, told: list[str]) -> GlueEngine:
    """Without messages between the job and its worker, for a job that needs none."""

    def quiet(_: object) -> None:
        return None

    def no_log(_: GlueRun) -> str:
        return "no log"

    job = GlueJob(glue.name, told.append, poll=0.05, retry=0.01, patience=0.05)
    return GlueEngine(job, lake.store, lake.ledger, lambda _: nullcontext({}), told.append, quiet, no_log)


def planned(lake: Lake) -> None:
    dataset = lake.dataset("events")
    discover(dataset, lake.store, lake.ledger)
    plan(dataset, lake.ledger, lake.store, now=datetime.now(UTC), flush=True, max_manifests=10)


def attempt(lake: Lake, engine: Callable[[Task], float | None], manifest_id: str = WEEK07) -> None:
    run_attempt(lake, lake.dataset("events"), manifest_id, engine)


def row(lake: Lake) -> ManifestRow:
    return lake.ledger.manifest("events", WEEK07)


def test_a_worker_that_was_taken_over_leaves_its_job_to_who_took_over(
    lake: Lake, glue: Glue, engine: GlueEngine, told: list[str]
) -> None:
    glue.job(WAITS)
    planned(lake)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            attempt(lake, engine.run)
        except EngineUnreachable as error:
            failures.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    until(lambda: row(lake).engine_run_id is not None and glue.states() == ["RUNNING"])
    lake.ledger.begin_attempt("events", WEEK07, row(lake).worker or "", timedelta(minutes=1))
    glue.faults.answers["GetJobRun"] = ["AccessDeniedException"]
    worker.join()

    assert len(failures) == 1
    assert glue.states() == ["RUNNING"]
    assert (row(lake).attempt, row(lake).engine_attempt, row(lake).engine_run_id) == (2, 1, glue.runs()[0]["Id"])
    assert not any("stopping" in line for line in told)


def test_a_worker_that_was_taken_over_before_its_job_began_begins_none(
    lake: Lake, glue: Glue, engine: GlueEngine
) -> None:
    glue.job(WAITS)
    planned(lake)

    def taken_over(task: Task) -> None:
        lake.ledger.begin_attempt("events", WEEK07, row(lake).worker or "", timedelta(minutes=1))
        engine.run(task)

    with pytest.raises(LeaseLost):
        attempt(lake, taken_over)
    assert glue.states() == []


def test_a_job_that_can_be_neither_asked_nor_stopped_is_taken_over_by_the_next_attempt(lake: Lake, glue: Glue) -> None:
    glue.job(held(glue))
    glue.faults.answers["GetJobRun"] = ["AccessDeniedException"]
    glue.faults.answers["BatchStopJobRun"] = ["AccessDeniedException"]

    def go() -> None:
        until(lambda: row(lake).attempt == 2)
        let_go(glue)

    planned(lake)
    thread = threading.Thread(target=go)
    thread.start()
    run(lake)
    thread.join()

    assert glue.states() == ["SUCCEEDED"]
    assert row(lake).attempt == 2
    assert rows(lake, "select id from events order by id") == [("e1",), ("e2",)]


@pytest.mark.slow
def test_a_run_whose_schema_was_changed_meanwhile_is_followed_by_another(lake: Lake, glue: Glue) -> None:
    glue.job(held(glue), ExecutionProperty={"MaxConcurrentRuns": 2})
    land(lake, "raw/2026/week08/b.json", event(3, weather="rain"))

    def here(task: Task) -> None:
        run_task(task, lambda _: None)

    def overtake() -> None:
        until(lambda: glue.states() == ["RUNNING"])
        attempt(lake, here, "2026-week08.0001")
        let_go(glue)

    thread = threading.Thread(target=overtake)
    thread.start()
    run(lake)
    thread.join()

    tokens = [found["Arguments"]["--lake_attempt"] for found in glue.runs()]
    assert tokens[:2] == [f"events/{WEEK07}/1"] * 2
    assert set(glue.states()) == {"SUCCEEDED"}
    assert rows(lake, "select id, weather from events order by id") == [("e1", None), ("e2", None), ("e3", "rain")]


def test_glue_that_keeps_failing_is_left_alone_for_a_while(lake: Lake, glue: Glue, engine: GlueEngine) -> None:
    glue.job(CONVERTS)
    planned(lake)
    glue.faults.answers["StartJobRun"] = [DOWN] * 100
    for _ in range(5):
        with pytest.raises(EngineUnreachable):
            attempt(lake, engine.run)
    calls = glue.faults.calls.count("StartJobRun")

    with pytest.raises(CircuitOpen):
        attempt(lake, engine.run)

    assert glue.faults.calls.count("StartJobRun") == calls
    sensor = lake_definitions([lake.dataset("events")]).resolve_sensor_def("events_work")
    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.build_sensor_context(instance=instance, resources={"lake": LakeResource()}) as context,
    ):
        skipped = sensor(context)
    assert isinstance(skipped, dg.SkipReason)
    assert "the engine glue keeps failing" in (skipped.skip_message or "")


def test_glue_that_refuses_does_not_fail(lake: Lake, engine: GlueEngine) -> None:
    planned(lake)
    for _ in range(6):
        with pytest.raises(EngineError, match="EntityNotFoundException"):
            attempt(lake, engine.run)
    assert lake.ledger.open_circuits() == {}
