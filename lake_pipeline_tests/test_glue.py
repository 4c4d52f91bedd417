"""The engine `glue` through Dagster runs: a lake in S3, jobs that are real processes, workers that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from lake_pipeline.aws_local.resources import make_job
from lake_pipeline.defs.instance import open_instance
from lake_pipeline.errors import SettingsError
from lake_pipeline.lake import Lake, open_lake
from lake_pipeline.progress import finish_interrupted
from lake_pipeline.settings import load_settings
from lake_pipeline_tests.glue import CONVERTS, HELD, WAITS, Glue, glue_lake_of, glue_of, held, let_go
from lake_pipeline_tests.killing import start_run
from lake_pipeline_tests.lakes import EVENTS, event, land, rows, run, states, stored
from lake_pipeline_tests.waiting import until

ONE_RETRY = EVENTS | {"batch": {"max_retries": 1}}
ALL_ROWS = "select id, mode, _source_file from events order by id"
LANDED = [("e1", "bike", "raw/2026/week07/a.json"), ("e2", "car", "raw/2026/week07/a.json")]


@pytest.fixture
def glue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Glue]:
    with glue_of(monkeypatch, grace=0.2) as started:
        yield started


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, glue: Glue) -> Iterator[Lake]:
    with glue_lake_of(monkeypatch, tmp_path, database_url, glue, ONE_RETRY) as opened:
        land(opened, "raw/2026/week07/a.json", event(1), event(2, mode="car"))
        yield opened


def kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)


def start_and_kill_at_work(lake: Lake, glue: Glue) -> None:
    """A worker that is killed while the job it waits for runs."""
    process = start_run("events")
    until(lambda: glue.states() == ["RUNNING"] and manifest(lake).engine_run_id is not None)
    kill(process)


def manifest(lake: Lake) -> Any:
    (found,) = lake.ledger.manifests("events")
    return found


def assert_converted_once(lake: Lake) -> None:
    finish_interrupted(lake, lake.dataset("events"))
    assert rows(lake, ALL_ROWS) == LANDED
    assert states(lake) == {"raw/2026/week07/a.json": "SUCCEEDED"}
    assert stored(lake, "raw/") == []
    assert stored(lake, "_staging/") == []
    assert set(stored(lake, "curated/")) == {output.path for output in lake.ledger.committed_outputs("events")}


def test_a_manifest_is_converted_by_a_run_of_the_job(lake: Lake, glue: Glue) -> None:
    make_job(glue.name, glue.bucket)
    lake.store.put("raw/2026/week08/b.json", b"\x89PNG")

    assert run(lake) == 2

    assert rows(lake, ALL_ROWS) == LANDED
    assert states(lake) == {"raw/2026/week07/a.json": "SUCCEEDED", "raw/2026/week08/b.json": "QUARANTINED"}
    assert stored(lake, "_staging/") == []
    runs = glue.runs()
    assert [found["JobRunState"] for found in runs] == ["SUCCEEDED", "SUCCEEDED"]
    assert [row.engine_run_id for row in lake.ledger.manifests("events")] == [found["Id"] for found in runs]
    assert {row.glue_job_run_id for row in lake.ledger.files("events")} == {found["Id"] for found in runs}
    assert runs[0]["Arguments"]["--lake_attempt"] == "events/2026-week07.0001/1"


@pytest.mark.slow
def test_a_run_shows_the_jobs_progress_and_links_its_log(lake: Lake, glue: Glue) -> None:
    glue.job(CONVERTS)

    run(lake)

    (found,) = glue.runs()
    with open_instance(lake.settings) as instance:
        (record,) = instance.get_runs()
        told = [entry.user_message for entry in instance.all_logs(record.run_id)]
        event_record = instance.get_latest_materialization_event(dg.AssetKey(["events", "curated"]))
    assert any("2 records seen" in line for line in told)
    assert any("2 rows of 1 files" in line and "bytes" in line for line in told)
    assert any(f"run {found['Id']}: RUNNING" in line for line in told)
    assert event_record is not None
    assert event_record.asset_materialization is not None
    metadata = event_record.asset_materialization.metadata
    assert found["Id"] in str(metadata["Glue job run"].value)
    assert str(metadata["Glue error log"].value).endswith(f"jobs$252Ferror/log-events/{found['Id']}")
    assert metadata["dagster/partition_row_count"].value == 2
    cost = metadata["cost"].value
    assert isinstance(cost, dict)
    assert cost["dpu_seconds"] == pytest.approx(found["MaxCapacity"] * max(60, found["ExecutionTime"]))
    assert cost["glue_dollars"] == pytest.approx(cost["dpu_seconds"] / 3600 * 0.44)


def test_progress_is_seen_while_the_job_runs(lake: Lake, glue: Glue) -> None:
    glue.job(CONVERTS + WAITS)
    process = start_run("events")

    def told() -> list[str]:
        with open_instance(lake.settings) as instance:
            return [entry.user_message for record in instance.get_runs() for entry in instance.all_logs(record.run_id)]

    until(lambda: any("2 records seen" in line for line in told()))
    assert glue.states() == ["RUNNING"]
    kill(process)


def test_a_job_that_fails_is_quoted_with_the_end_of_its_log(lake: Lake, glue: Glue) -> None:
    glue.job("raise ValueError('no such thing')\n")

    run(lake)

    assert glue.states() == ["FAILED", "FAILED"]
    assert manifest(lake).state == "FAILED"
    message = manifest(lake).error_message
    assert "is FAILED: Command failed with exit code 1" in message
    assert "ValueError: no such thing" in message
    assert "log-events" in message
    assert states(lake) == {"raw/2026/week07/a.json": "FAILED"}


@pytest.mark.slow
def test_what_the_conversion_says_of_its_failure_is_the_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, glue: Glue
) -> None:
    strict = ONE_RETRY | {"schema": {"mode": "strict", "flatten": {"rename": {"DATE": "date", "MODE": "mode"}}}}
    with glue_lake_of(monkeypatch, tmp_path, database_url, glue, strict) as lake:
        glue.job(CONVERTS)
        land(lake, "raw/2026/week07/a.json", event(1, distance=12))
        run(lake)
        land(lake, "raw/2026/week08/b.json", event(2, distance=3), event(3, distance="far"))

        run(lake)

        (_, failed) = lake.ledger.manifests("events")
        assert "raw/2026/week08/b.json:2" in (failed.error_message or "")
        assert glue.states() == ["SUCCEEDED", "FAILED", "FAILED"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "script", "state"), [({"minute": 0.01}, WAITS, "TIMEOUT"), ({"python": "/nowhere"}, WAITS, "ERROR")]
)
def test_whatever_end_a_run_comes_to_is_the_end_of_its_attempt(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    database_url: str,
    settings: dict[str, Any],
    script: str,
    state: str,
) -> None:
    with (
        glue_of(monkeypatch, grace=0.2, **settings) as glue,
        glue_lake_of(monkeypatch, tmp_path, database_url, glue, ONE_RETRY) as lake,
    ):
        glue.job(script, Timeout=1)
        land(lake, "raw/2026/week07/a.json", event(1))

        run(lake)

        assert f"is {state}" in manifest(lake).error_message
        assert glue.states() == [state, state]


@pytest.mark.slow
def test_a_run_that_someone_stops_fails_its_attempt_and_the_next_succeeds(lake: Lake, glue: Glue) -> None:
    glue.job(held(glue))

    def stop() -> None:
        until(lambda: glue.states() == ["RUNNING"])
        glue.client.batch_stop_job_run(JobName=glue.name, JobRunIds=[glue.runs()[0]["Id"]])
        until(lambda: glue.states()[1:] == ["RUNNING"])
        let_go(glue)

    thread = threading.Thread(target=stop)
    thread.start()
    run(lake)
    thread.join()

    assert glue.states() == ["STOPPED", "SUCCEEDED"]
    assert manifest(lake).attempt == 2
    assert_converted_once(lake)


def test_the_job_of_a_killed_run_is_taken_over_by_the_next_run(lake: Lake, glue: Glue) -> None:
    glue.job(held(glue))
    start_and_kill_at_work(lake, glue)
    let_go(glue)

    assert run(lake) == 1

    assert glue.states() == ["SUCCEEDED"]
    assert (manifest(lake).attempt, manifest(lake).engine_run_id) == (2, glue.runs()[0]["Id"])
    assert_converted_once(lake)
    (path,) = stored(lake, "curated/year=2026/month=2/day=1/mode=bike/")
    assert path.endswith("2026-week07.0001-a2-0.parquet")


@pytest.mark.slow
def test_a_job_that_ended_while_nobody_waited_is_not_run_again(lake: Lake, glue: Glue) -> None:
    glue.job(held(glue))
    start_and_kill_at_work(lake, glue)
    let_go(glue)
    until(lambda: glue.states() == ["SUCCEEDED"])

    assert run(lake) == 1

    assert glue.states() == ["SUCCEEDED"]
    assert_converted_once(lake)


@pytest.mark.slow
def test_the_job_of_a_killed_run_is_stopped_where_its_declaration_was_changed(lake: Lake, glue: Glue) -> None:
    glue.job(held(glue))
    start_and_kill_at_work(lake, glue)
    changed = ONE_RETRY | {"output": EVENTS["output"] | {"compression": "snappy"}}
    (lake.settings.datasets / "events.yaml").write_text(yaml.safe_dump(changed))

    def go() -> None:
        until(lambda: glue.states()[0] == "STOPPED")
        let_go(glue)

    thread = threading.Thread(target=go)
    thread.start()

    with open_lake(load_settings()) as again:
        assert run(again) == 1
        thread.join()

        assert glue.states() == ["STOPPED", "SUCCEEDED"]
        assert_converted_once(again)


@pytest.mark.slow
def test_a_job_started_by_a_run_that_was_killed_before_it_heard_of_it_is_found(lake: Lake, glue: Glue) -> None:
    glue.job(held(glue))
    glue.faults.answers["StartJobRun"] = [HELD]
    process = start_run("events")
    until(lambda: glue.states() == ["RUNNING"])
    kill(process)
    assert manifest(lake).engine_run_id is None
    glue.faults.released.set()
    let_go(glue)

    assert run(lake) == 1

    assert glue.states() == ["SUCCEEDED"]
    assert manifest(lake).engine_run_id == glue.runs()[0]["Id"]
    assert_converted_once(lake)


def test_a_run_that_is_cancelled_stops_its_job(lake: Lake, glue: Glue) -> None:
    glue.job(held(glue))
    process = start_run("events")
    until(lambda: glue.states() == ["RUNNING"] and manifest(lake).engine_run_id is not None)

    process.send_signal(signal.SIGINT)

    assert process.wait(timeout=60) != 0
    until(lambda: glue.states() == ["STOPPED"])
    assert (manifest(lake).state, manifest(lake).failures) == ("PLANNED", 0)
    let_go(glue)
    run(lake)
    assert glue.states() == ["STOPPED", "SUCCEEDED"]
    assert_converted_once(lake)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"LAKE_STORE": ""}, r"LAKE_ENGINE=glue needs LAKE_STORE=s3://bucket\[/prefix\]"),
        ({"LAKE_STORE": "s3://lake", "LAKE_GLUE_JOB": ""}, "LAKE_ENGINE=glue needs LAKE_GLUE_JOB"),
    ],
)
def test_settings_that_glue_lacks_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], message: str
) -> None:
    for name, value in ({"LAKE_HOME": str(tmp_path), "LAKE_ENGINE": "glue", "LAKE_GLUE_JOB": "j"} | variables).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=message), open_lake(load_settings()):
        pass
