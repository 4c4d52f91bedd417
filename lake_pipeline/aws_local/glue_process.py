"""One Glue job run on this machine: the script as a process, its output in CloudWatch Logs, its end as a state."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

LOG_GROUP = "/aws-glue/jobs"
ENDED = frozenset({"SUCCEEDED", "FAILED", "STOPPED", "TIMEOUT", "ERROR", "EXPIRED"})
# CloudWatch Logs takes 256 KiB an event, 10,000 events and 1 MiB a call.
_CHUNK = 2**16
_EVENT_BYTES = 2**18 - 2 * _CHUNK
_EVENTS = 10_000
_LOOK_SECONDS = 0.05


@dataclass
class JobRun:
    """A run as GetJobRun shows it. `arguments` are those given at its start, `timeout` in minutes, `capacity` DPUs."""

    id: str
    job_name: str
    arguments: dict[str, str]
    timeout: float
    capacity: float
    state: str = "STARTING"
    error_message: str | None = None
    started: float = field(default_factory=time.time)
    completed: float | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def end(self, state: str, error_message: str | None = None) -> None:
        self.error_message, self.completed = error_message, time.time()
        self.state = state  # last, for others look at it

    def document(self) -> dict[str, Any]:
        """`JobRun` of the API; times in seconds since the epoch."""
        until = self.completed or time.time()
        document = {
            "Id": self.id,
            "Attempt": 0,
            "JobName": self.job_name,
            "JobRunState": self.state,
            "StartedOn": self.started,
            "LastModifiedOn": until,
            "CompletedOn": self.completed,
            "Arguments": self.arguments,
            "ErrorMessage": self.error_message,
            "ExecutionTime": int(until - self.started),
            "Timeout": self.timeout,
            "MaxCapacity": self.capacity,
            "PredecessorRuns": [],
            "LogGroupName": LOG_GROUP,
        }
        return {name: value for name, value in document.items() if value is not None}


@dataclass(frozen=True)
class Script:
    """What a run executes: `location` is the script's s3:// URL, `arguments` all of its command line by name."""

    python: str
    location: str
    arguments: Mapping[str, str]
    environment: Mapping[str, str]


def execute(run: JobRun, script: Script, client: Callable[[str], Any], seconds: float, grace: float) -> None:
    """Take a run from STARTING to its end.

    It has `seconds` until TIMEOUT; a process that is to end has `grace` seconds between SIGTERM and SIGKILL.
    """
    with tempfile.TemporaryDirectory(prefix="glue-") as folder:
        path = Path(folder) / Path(script.location).name
        url = urlsplit(script.location)
        try:
            client("s3").download_file(url.netloc, url.path.lstrip("/"), str(path))
        except ClientError as error:
            run.end("FAILED", f"LAUNCH ERROR | Error downloading from S3 for {script.location}: {error}")
            return
        named = {"--JOB_NAME": run.job_name, "--JOB_RUN_ID": run.id, **script.arguments}
        try:
            process = subprocess.Popen(
                [script.python, str(path), *(word for pair in named.items() for word in pair)],
                cwd=folder,
                env=_environment(script.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            run.end("ERROR", f"Internal service error: {error}")
            return
        outputs = [(process.stdout, "output"), (process.stderr, "error")]
        forwarders = [
            threading.Thread(target=_forward, args=(pipe, client("logs"), f"{LOG_GROUP}/{kind}", run.id))
            for pipe, kind in outputs
        ]
        for forwarder in forwarders:
            forwarder.start()
        if run.state == "STARTING":
            run.state = "RUNNING"
        ended = _await(process, run.stop, seconds)
        if not ended:
            _kill(process, grace)
        for forwarder in forwarders:
            forwarder.join()
    if run.stop.is_set() and not ended:
        run.end("STOPPED")
    elif not ended:
        run.end("TIMEOUT", f"Job run {run.id} timed out")
    elif process.returncode:
        run.end("FAILED", f"Command failed with exit code {process.returncode}")
    else:
        run.end("SUCCEEDED")


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """This process's, without what a job on Glue would not know; with its packages, which stand for Glue's."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("LAKE_", "DAGSTER_"))}
    return known | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUNBUFFERED": "1", **more}


def _await(process: subprocess.Popen[bytes], stop: threading.Event, seconds: float) -> bool:
    """Whether the process ended by itself before it was to stop or its time was over."""
    deadline = time.monotonic() + seconds
    while process.poll() is None:
        if stop.wait(_LOOK_SECONDS) or time.monotonic() > deadline:
            return process.poll() is not None
    return True


def _kill(process: subprocess.Popen[bytes], grace: float) -> None:
    """SIGTERM to the script and what it started, then SIGKILL."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _forward(pipe: IO[bytes], logs: Any, group: str, stream: str) -> None:
    """Put what comes through the pipe into a log stream, an event a line, until the other end is closed."""
    with pipe:
        try:
            logs.create_log_group(logGroupName=group)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceAlreadyExistsException":
                raise
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
        for lines in _lines(pipe):
            now = int(time.time() * 1000)
            events = [{"timestamp": now, "message": line} for line in lines]
            for first in range(0, len(events), _EVENTS):
                batch = events[first : first + _EVENTS]
                logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=batch)


def _lines(pipe: IO[bytes]) -> Iterator[list[str]]:
    """Lines as they come; empty ones, which are no events, left out."""
    rest = b""
    while chunk := os.read(pipe.fileno(), _CHUNK):
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > _EVENT_BYTES:
            whole, rest = [*whole, rest], b""
        yield _texts(whole)
    yield _texts([rest])


def _texts(lines: list[bytes]) -> list[str]:
    return [text for line in lines if (text := line.decode(errors="replace").rstrip("\r"))]
