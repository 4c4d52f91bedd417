"""An AWS Glue of a test's own: the stand-in with a bucket, a job, and faults between it and who calls it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lake_pipeline.aws import client
from lake_pipeline.aws_local.glue_runs import GlueRuns
from lake_pipeline.aws_local.server import Operation, Refused, environment, serve
from lake_pipeline.lake import Lake
from lake_pipeline_tests.lakes import lake_of

SCRIPT = "jobs/convert.py"
WAITS = "import time\nprint('waiting', flush=True)\ntime.sleep(600)\n"


LOST = "lost"
HELD = "held"
DOWN = "down"


@dataclass
class Faults:
    """What the next calls of an operation are answered with: errors by their code, LOST, HELD or DOWN.

    An answer that is lost is that of an operation that was carried out: a server's error comes in its place. One that
    is held comes once `released` is set. DOWN is a server's error, and nothing was done.
    """

    answers: dict[str, list[str]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def between(self, name: str, operation: Operation) -> Operation:
        def answer(request: dict[str, Any]) -> dict[str, Any]:
            self.calls.append(name)
            waiting = self.answers.get(name, [])
            fault = waiting.pop(0) if waiting else ""
            if fault == DOWN:
                raise RuntimeError("a fault of the test's")
            if fault not in ("", LOST, HELD):
                raise Refused(fault, "a fault of the test's")
            document = operation(request)
            if fault == LOST:
                raise RuntimeError("a fault of the test's")
            if fault == HELD:
                self.released.wait()
            return document

        return answer


@dataclass(frozen=True)
class Glue:
    """Glue as production code meets it, a bucket and the name of a job that no other test has, and the faults."""

    client: Any
    faults: Faults
    bucket: str
    name: str

    def job(self, script: str, *, location: str | None = None, command: str = "pythonshell", **more: Any) -> None:
        """Create the job, which runs this script; with the command `glueetl`, on Spark."""
        client("s3").put_object(Bucket=self.bucket, Key=SCRIPT, Body=script.encode())
        runs = {"Name": command, "ScriptLocation": location or f"s3://{self.bucket}/{SCRIPT}"}
        self.client.create_job(Name=self.name, Role="arn:aws:iam::123456789012:role/glue", Command=runs, **more)

    def start(self, **more: Any) -> str:
        run_id: str = self.client.start_job_run(JobName=self.name, **more)["JobRunId"]
        return run_id

    def run(self, run_id: str) -> dict[str, Any]:
        run: dict[str, Any] = self.client.get_job_run(JobName=self.name, RunId=run_id)["JobRun"]
        return run

    def runs(self) -> list[dict[str, Any]]:
        """Every run of the job, the oldest first."""
        found: list[dict[str, Any]] = self.client.get_job_runs(JobName=self.name)["JobRuns"]
        return found[::-1]

    def states(self) -> list[str]:
        return [run["JobRunState"] for run in self.runs()]

    def log(self, kind: str, run_id: str) -> list[str]:
        """Lines of a run's log; none where there is no log yet."""
        logs = client("logs")
        try:
            events = logs.get_log_events(
                logGroupName=f"/aws-glue/jobs/{kind}", logStreamName=run_id, startFromHead=True
            )["events"]
        except logs.exceptions.ResourceNotFoundException:
            return []
        return [event["message"] for event in events]


@contextmanager
def glue_of(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Iterator[Glue]:
    """The stand-in, which this process's environment describes; `settings` are those of GlueRuns."""
    runs, faults = GlueRuns(**settings), Faults()
    operations = {
        target: faults.between(target.removeprefix("AWSGlue."), operation)
        for target, operation in runs.operations.items()
    }
    with serve(operations) as url, runs.serving(url):
        for name, value in environment(url).items():
            monkeypatch.setenv(name, value)
        glue = Glue(client("glue"), faults, f"lake-{uuid.uuid4().hex}", f"convert-{uuid.uuid4().hex}")
        location = {"LocationConstraint": environment(url)["AWS_DEFAULT_REGION"]}
        client("s3").create_bucket(Bucket=glue.bucket, CreateBucketConfiguration=location)
        yield glue


# Glue's copy of the script is the checkout's, which a job imports as it would its wheel.
CONVERTS = "import runpy\nrunpy.run_module('glue_scripts.convert', run_name='__main__')\n"


def held(glue: Glue) -> str:
    """The script, which waits until it is let go."""
    return (
        "import time\nimport boto3\ns3 = boto3.client('s3')\n"
        f"while not s3.list_objects_v2(Bucket='{glue.bucket}', Prefix='go').get('KeyCount'): time.sleep(0.05)\n"
        + CONVERTS
    )


def let_go(glue: Glue) -> None:
    client("s3").put_object(Bucket=glue.bucket, Key="go")


@contextmanager
def glue_lake_of(
    monkeypatch: pytest.MonkeyPatch, home: Path, database_url: str, glue: Glue, *declarations: dict[str, Any]
) -> Iterator[Lake]:
    """An open lake in S3 whose engine is Glue, with waits that a test has time for."""
    for name, value in {
        "LAKE_ENGINE": "glue",
        "LAKE_GLUE_JOB": glue.name,
        "LAKE_GLUE_POLL_SECONDS": "0.1",
        "LAKE_GLUE_RETRY_SECONDS": "0.05",
    }.items():
        monkeypatch.setenv(name, value)
    with lake_of(monkeypatch, home, database_url, *declarations, store=f"s3://{glue.bucket}/home") as lake:
        yield lake
