"""An AWS Glue of a test's own: the stand-in with a bucket, a job, and faults between it and who calls it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from lake_pipeline.aws import client
from lake_pipeline.aws_local.glue_runs import GlueRuns
from lake_pipeline.aws_local.server import Operation, Refused, environment, serve

SCRIPT = "jobs/convert.py"
WAITS = "import time\nprint('waiting', flush=True)\ntime.sleep(600)\n"


LOST = "lost"


@dataclass
class Faults:
    """What the next calls of an operation are answered with: errors by their code, or LOST.

    An answer that is lost is that of an operation that was carried out: a server's error comes in its place.
    """

    answers: dict[str, list[str]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def between(self, name: str, operation: Operation) -> Operation:
        def answer(request: dict[str, Any]) -> dict[str, Any]:
            self.calls.append(name)
            waiting = self.answers.get(name, [])
            fault = waiting.pop(0) if waiting else ""
            if fault and fault != LOST:
                raise Refused(fault, "a fault of the test's")
            document = operation(request)
            if fault == LOST:
                raise RuntimeError("a fault of the test's")
            return document

        return answer


@dataclass(frozen=True)
class Glue:
    """Glue as production code meets it, a bucket and the name of a job that no other test has, and the faults."""

    client: Any
    faults: Faults
    bucket: str
    name: str

    def job(self, script: str, *, location: str | None = None, **more: Any) -> None:
        """Create the job, which runs this script."""
        client("s3").put_object(Bucket=self.bucket, Key=SCRIPT, Body=script.encode())
        command = {"Name": "glueetl", "ScriptLocation": location or f"s3://{self.bucket}/{SCRIPT}"}
        self.client.create_job(Name=self.name, Role="arn:aws:iam::123456789012:role/glue", Command=command, **more)

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
