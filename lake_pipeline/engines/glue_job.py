"""An AWS Glue job's runs: start, find, ask, wait for and stop one, through throttling and lost connections."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    MetadataRetrievalError,
)
from botocore.exceptions import ConnectionError as NotConnected

from lake_pipeline.aws import client
from lake_pipeline.backoff import pauses
from lake_pipeline.errors import EngineError, EngineUnreachable

# https://docs.aws.amazon.com/glue/latest/dg/job-run-statuses.html
ENDED = frozenset({"SUCCEEDED", "FAILED", "STOPPED", "TIMEOUT", "ERROR", "EXPIRED"})
_NO_PLACE = frozenset({"ConcurrentRunsExceededException", "ResourceNumberLimitExceededException"})
_THROTTLED = frozenset({"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"})
# Three more tries, the wait doubled twice: with 60 s, seven minutes in all.
_WAITS = (1, 2, 4)
_LONGEST_PAUSE = 60.0
_HURRY = 60.0
_PAGE = 200
_LEAST_BILLED = 60.0


@dataclass(frozen=True)
class GlueRun:
    """One run of the job. `arguments` are those given at its start; `log_group` is without `/output` and `/error`.

    `dpu_seconds` are those that are billed, so far; 0 where Glue does not say how large the run is.
    """

    id: str
    state: str
    started: datetime | None
    arguments: Mapping[str, str]
    error_message: str
    log_group: str
    dpu_seconds: float = 0.0

    @property
    def ended(self) -> bool:
        return self.state in ENDED


class GlueJob:
    """The job of this name. `poll` and `retry` are waits in seconds; what happens is told in one line each.

    A run that cannot be asked for is given up after `patience` seconds, one that does not stop after `stop_patience`.
    """

    def __init__(
        self,
        name: str,
        tell: Callable[[str], None],
        *,
        poll: float,
        retry: float,
        patience: float = 900,
        stop_patience: float = 600,
    ) -> None:
        self.name, self._tell = name, tell
        self._poll, self._retry, self._patience, self._stop_patience = poll, retry, patience, stop_patience
        # StartJobRun knows no token that would make it safe to repeat, so botocore must not; here every call is.
        self._glue = client("glue", attempts=1)

    @property
    def region(self) -> str:
        return str(self._glue.meta.region_name)

    def start(self, arguments: Mapping[str, str], find: Callable[[], GlueRun | None]) -> str:
        """Start a run and return its id; tried again, three times, where Glue has no place for it.

        `find` looks for the run where no answer came, for it may have been started.

        Raises:
            EngineError: Glue refused.
            EngineUnreachable: no answer came, and no such run was found, or Glue cannot be reached at all.
        """
        for number, wait in enumerate((*_WAITS, 0)):
            try:
                run_id: str = self._glue.start_job_run(JobName=self.name, Arguments=dict(arguments))["JobRunId"]
                return run_id
            except (ClientError, BotoCoreError) as error:
                if not _refused(error):
                    if found := find():
                        return found.id
                    raise EngineUnreachable(f"Glue job {self.name} may have been started: {error}") from error
                if not _may_be_repeated(error) or not wait:
                    failure = EngineError if isinstance(error, ClientError) else EngineUnreachable
                    raise failure(f"Glue job {self.name} did not start, tries: {number + 1}: {error}") from error
                # Runs that were refused together ask again one by one, in the last half of the wait.
                pause = next(pauses(wait * self._retry, wait * self._retry))
                self._tell(f"Glue job {self.name} did not start ({error}); trying again in {pause:.3g} s")
                time.sleep(pause)
        raise AssertionError("unreachable")

    def get(self, run_id: str) -> GlueRun | None:
        """The run as it is now; None where Glue knows none of that id.

        Raises:
            EngineUnreachable: Glue did not answer for too long.
        """

        def ask() -> GlueRun | None:
            try:
                return _run(self._glue.get_job_run(JobName=self.name, RunId=run_id)["JobRun"])
            except self._glue.exceptions.EntityNotFoundException:
                return None

        found: GlueRun | None = self._patiently(ask)
        return found

    def find(self, arguments: Mapping[str, str], since: datetime, *, hurry: bool = False) -> GlueRun | None:
        """The newest run that was started with these arguments, not before `since`.

        Raises:
            EngineUnreachable: Glue did not answer for too long; where there is hurry, for a minute.
        """
        token: dict[str, str] = {}
        while True:
            ask = partial(self._glue.get_job_runs, JobName=self.name, MaxResults=_PAGE, **token)
            page = self._patiently(ask, hurry=hurry)
            for run in map(_run, page["JobRuns"]):  # the newest come first
                if arguments.items() <= run.arguments.items():
                    return run
                if run.started is not None and run.started < since:
                    return None
            if not (more := page.get("NextToken")):
                return None
            token = {"NextToken": more}

    def wait(self, run_id: str) -> GlueRun:
        """The run, once it has ended; each change of its state is told.

        Raises:
            EngineError: Glue does not know the run any more.
            EngineUnreachable: Glue did not answer for too long.
        """
        return self._wait(run_id, None)

    def stop(self, run_id: str) -> None:
        """Ask the run to stop, which takes Glue up to minutes; nothing where it has ended.

        Raises:
            EngineUnreachable: Glue did not accept that.
        """
        ask = partial(self._glue.batch_stop_job_run, JobName=self.name, JobRunIds=[run_id])
        answer = self._patiently(ask, hurry=True)  # who stops it was interrupted, and will not wait for long
        if errors := answer.get("Errors"):
            run = self.get(run_id)
            if run and not run.ended:
                detail = errors[0].get("ErrorDetail", {})
                raise EngineUnreachable(f"run {run_id} of Glue job {self.name}: {detail.get('ErrorMessage')}")

    def stop_and_wait(self, run_id: str) -> None:
        """Stop the run, and return when it has ended.

        Raises:
            EngineUnreachable: it did not.
        """
        self.stop(run_id)
        self._wait(run_id, self._stop_patience)

    def _wait(self, run_id: str, at_most: float | None) -> GlueRun:
        state, since = "", time.monotonic()
        while True:
            run = self.get(run_id)
            if run is None:
                raise EngineError(f"Glue job {self.name} has no run {run_id} any more")
            if run.state != state:
                self._tell(f"Glue job {self.name}, run {run_id}: {run.state}")
                state = run.state
            if run.ended:
                return run
            if at_most is not None and time.monotonic() - since > at_most:
                raise EngineUnreachable(f"run {run_id} of Glue job {self.name} is {run.state} after {at_most:g} s")
            time.sleep(self._poll)

    def _patiently(self, ask: Callable[[], Any], *, hurry: bool = False) -> Any:
        """What `ask` answers, asked again with growing pauses while Glue throttles, fails or cannot be reached."""
        since, waits = time.monotonic(), pauses(2 * self._poll, _LONGEST_PAUSE)
        patience = min(self._patience, _HURRY) if hurry else self._patience
        while True:
            try:
                return ask()
            except (ClientError, BotoCoreError) as error:
                if not _may_be_repeated(error) and _refused(error):
                    raise EngineUnreachable(f"Glue job {self.name}: {error}") from error
                if time.monotonic() - since > patience:
                    raise EngineUnreachable(f"Glue job {self.name}: no answer for {patience:g} s: {error}") from error
                pause = next(waits)
                self._tell(f"Glue did not answer ({error}); asking again in {pause:.3g} s")
                time.sleep(pause)


def _refused(error: Exception) -> bool:
    """Whether the request was certainly not carried out."""
    if isinstance(error, ClientError):
        return int(error.response["ResponseMetadata"].get("HTTPStatusCode", 500)) < 500
    return not isinstance(error, HTTPClientError)  # which is a connection that broke after it had been made


def _may_be_repeated(error: Exception) -> bool:
    """Whether a request that was not carried out may be by and by."""
    if isinstance(error, ClientError):
        return error.response["Error"]["Code"] in _NO_PLACE | _THROTTLED
    return isinstance(error, HTTPClientError | NotConnected | CredentialRetrievalError | MetadataRetrievalError)


def _run(document: Mapping[str, Any]) -> GlueRun:
    return GlueRun(
        id=document["Id"],
        state=document["JobRunState"],
        started=document.get("StartedOn"),
        arguments=document.get("Arguments", {}),
        error_message=document.get("ErrorMessage", ""),
        log_group=document.get("LogGroupName") or "/aws-glue/jobs",
        dpu_seconds=_dpu_seconds(document),
    )


def _dpu_seconds(document: Mapping[str, Any]) -> float:
    """As Glue counts them, which it does of jobs that scale by themselves; else of the whole run, a minute at least.

    https://docs.aws.amazon.com/glue/latest/webapi/API_JobRun.html
    """
    if counted := document.get("DPUSeconds"):
        return float(counted)
    seconds = float(document.get("ExecutionTime") or 0)
    return float(document.get("MaxCapacity") or 0) * max(seconds, _LEAST_BILLED) if seconds else 0.0
