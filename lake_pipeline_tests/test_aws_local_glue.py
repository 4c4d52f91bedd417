"""Glue job runs of the stand-in: real processes, seen through botocore as production code sees Glue."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ParamValidationError

from lake_pipeline.aws_local.glue_process import ENDED
from lake_pipeline_tests.glue import WAITS, Glue, glue_of
from lake_pipeline_tests.waiting import until

SAYS_ARGUMENTS = "import json, sys\nprint(json.dumps(sys.argv[1:]))\n"
IGNORES_SIGTERM = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{WAITS}"


@pytest.fixture
def on_glue(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def start(**settings: Any) -> Any:
        return glue_of(monkeypatch, **settings)

    return start


def state(glue: Glue, run_id: str) -> str:
    return str(glue.run(run_id)["JobRunState"])


def ended(glue: Glue, run_id: str) -> dict[str, Any]:
    until(lambda: state(glue, run_id) in ENDED)
    return glue.run(run_id)


def test_a_run_executes_the_script_with_the_jobs_and_its_own_arguments(on_glue: Callable[..., Any]) -> None:
    with on_glue() as glue:
        glue.job(SAYS_ARGUMENTS, DefaultArguments={"--a": "job", "--b": "job"})
        run_id = glue.start(Arguments={"--b": "run", "--c": "two words"})

        run = ended(glue, run_id)

        assert (run["JobRunState"], run["Arguments"]) == ("SUCCEEDED", {"--b": "run", "--c": "two words"})
        assert run["CompletedOn"] >= run["StartedOn"]
        (line,) = glue.log("output", run_id)
        words = json.loads(line)
        assert dict(zip(words[::2], words[1::2], strict=True)) == {
            "--JOB_NAME": glue.name,
            "--JOB_RUN_ID": run_id,
            "--a": "job",
            "--b": "run",
            "--c": "two words",
        }


def test_a_script_that_fails_is_a_failed_run_with_its_traceback_in_the_error_log(on_glue: Callable[..., Any]) -> None:
    with on_glue() as glue:
        glue.job("print('begun')\n\nraise ValueError('no such thing')\n")
        run_id = glue.start()

        run = ended(glue, run_id)

        assert (run["JobRunState"], run["ErrorMessage"]) == ("FAILED", "Command failed with exit code 1")
        assert glue.log("output", run_id) == ["begun"]
        assert glue.log("error", run_id)[-1] == "ValueError: no such thing"


def test_output_is_in_the_log_while_the_script_runs_and_lines_too_long_for_an_event_are_cut(
    on_glue: Callable[..., Any],
) -> None:
    with on_glue() as glue:
        glue.job(f"print('x' * 600_000)\n{WAITS}")
        run_id = glue.start()
        until(lambda: state(glue, run_id) == "RUNNING" and glue.log("output", run_id)[-1:] == ["waiting"])

        lines = glue.log("output", run_id)

        assert "".join(lines[:-1]) == "x" * 600_000
        assert max(map(len, lines)) <= 2**18


@pytest.mark.parametrize("script", [WAITS, IGNORES_SIGTERM])
def test_a_run_that_is_stopped_ends_its_process(on_glue: Callable[..., Any], script: str) -> None:
    with on_glue(grace=0.2) as glue:
        glue.job(script)
        run_id = glue.start()
        until(lambda: state(glue, run_id) == "RUNNING" and glue.log("output", run_id) == ["waiting"])

        answer = glue.client.batch_stop_job_run(JobName=glue.name, JobRunIds=[run_id, "jr_unknown"])

        assert [found["JobRunId"] for found in answer["SuccessfulSubmissions"]] == [run_id]
        assert [found["ErrorDetail"]["ErrorCode"] for found in answer["Errors"]] == ["EntityNotFoundException"]
        assert ended(glue, run_id)["JobRunState"] == "STOPPED"
        assert processes_of(run_id) == []
        again = glue.client.batch_stop_job_run(JobName=glue.name, JobRunIds=[run_id])
        assert "is STOPPED" in again["Errors"][0]["ErrorDetail"]["ErrorMessage"]


def test_a_run_that_lasts_longer_than_its_timeout_is_ended(on_glue: Callable[..., Any]) -> None:
    with on_glue(minute=0.2) as glue:
        glue.job(WAITS, Timeout=10)
        assert ended(glue, glue.start(Timeout=1))["JobRunState"] == "TIMEOUT"


def test_no_more_runs_at_once_than_the_job_allows(on_glue: Callable[..., Any]) -> None:
    with on_glue() as glue:
        glue.job(WAITS, ExecutionProperty={"MaxConcurrentRuns": 2})
        first, second = glue.start(), glue.start()
        with pytest.raises(ClientError) as refused:
            glue.start()
        assert refused.value.response["Error"]["Code"] == "ConcurrentRunsExceededException"

        glue.client.batch_stop_job_run(JobName=glue.name, JobRunIds=[first])
        ended(glue, first)
        third = glue.start()

        listed = glue.client.get_job_runs(JobName=glue.name, MaxResults=2)
        assert [run["Id"] for run in listed["JobRuns"]] == [third, second]
        rest = glue.client.get_job_runs(JobName=glue.name, MaxResults=2, NextToken=listed["NextToken"])
        assert [run["Id"] for run in rest["JobRuns"]] == [first]
        assert "NextToken" not in rest


def test_a_queued_run_waits_for_a_place(on_glue: Callable[..., Any]) -> None:
    with on_glue() as glue:
        glue.job(WAITS)
        first, second = glue.start(), glue.start(JobRunQueuingEnabled=True)
        assert state(glue, second) == "WAITING"

        glue.client.batch_stop_job_run(JobName=glue.name, JobRunIds=[first])

        until(lambda: state(glue, second) == "RUNNING")


def test_a_queued_run_that_finds_no_place_expires(on_glue: Callable[..., Any]) -> None:
    with on_glue(queued=0.1) as glue:
        glue.job(WAITS)
        glue.start()
        assert ended(glue, glue.start(JobRunQueuingEnabled=True))["JobRunState"] == "EXPIRED"


@pytest.mark.parametrize(
    ("settings", "location", "expected", "message"),
    [
        ({}, "s3://nowhere/convert.py", "FAILED", "LAUNCH ERROR"),
        ({"python": "/nowhere/python"}, None, "ERROR", "Internal service error"),
    ],
)
def test_a_script_that_cannot_be_started_ends_the_run(
    on_glue: Callable[..., Any], settings: dict[str, Any], location: str | None, expected: str, message: str
) -> None:
    with on_glue(**settings) as glue:
        glue.job(WAITS, location=location)

        run = ended(glue, glue.start())

        assert run["JobRunState"] == expected
        assert message in run["ErrorMessage"]


def test_requests_that_aws_would_refuse_are_refused(on_glue: Callable[..., Any]) -> None:
    with on_glue() as glue:
        glue.job(WAITS)
        with pytest.raises(ParamValidationError):
            glue.start(Argument={})
        refusals: list[tuple[dict[str, Any], str]] = [
            ({"JobName": "other"}, "EntityNotFoundException"),
            ({"JobName": glue.name, "WorkerType": "G.1X", "MaxCapacity": 2.0}, "InvalidInputException"),
        ]
        for request, code in refusals:
            with pytest.raises(ClientError) as refused:
                glue.client.start_job_run(**request)
            assert refused.value.response["Error"]["Code"] == code
        unchecked = boto3.session.Session().client("glue", config=Config(parameter_validation=False))
        with pytest.raises(ClientError, match="valid min value: 1"):
            unchecked.get_job_runs(JobName=glue.name, MaxResults=0)
        with pytest.raises(ClientError) as unknown:
            glue.client.get_job_run(JobName=glue.name, RunId="jr_unknown")
        assert unknown.value.response["Error"]["Code"] == "EntityNotFoundException"


def test_processes_end_with_the_server(on_glue: Callable[..., Any]) -> None:
    with on_glue() as glue:
        glue.job(WAITS)
        run_id = glue.start()
        until(lambda: bool(processes_of(run_id)))

    assert processes_of(run_id) == []


def processes_of(run_id: str) -> list[int]:
    return [process.pid for process in psutil.Process().children(recursive=True) if run_id in process.cmdline()]
