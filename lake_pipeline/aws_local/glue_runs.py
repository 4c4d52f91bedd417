"""Glue job runs on this machine: the API around the processes. Jobs themselves are moto's (CreateJob, GetJob)."""

from __future__ import annotations

import secrets
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from lake_pipeline.aws_local.glue_process import JobRun, Script, execute
from lake_pipeline.aws_local.server import Operation, Refused, environment

_PAGE = 200
# Glue's own, where neither the job nor the run says one.
_TIMEOUT_MINUTES = 480


class GlueRuns:
    """StartJobRun, GetJobRun, GetJobRuns and BatchStopJobRun, with real processes behind them.

    `python` runs the scripts. `minute` is how long a minute of a job's Timeout lasts, `queued` how long a run of a job
    with JobRunQueuingEnabled waits for a place before it is EXPIRED (a day on AWS), `grace` what a process that is to
    end has between SIGTERM and SIGKILL; all in seconds. `access_key` is the script's.
    """

    def __init__(
        self,
        *,
        python: str = sys.executable,
        minute: float = 60,
        queued: float = 86_400,
        grace: float = 10,
        access_key: str = "local",
    ) -> None:
        self._python, self._minute, self._queued, self._grace = python, minute, queued, grace
        self._url, self._access_key = "", access_key
        self._clients: dict[str, Any] = {}
        self._runs: dict[str, list[JobRun]] = {}
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()

    @property
    def operations(self) -> Mapping[str, Operation]:
        """What `serve` answers with."""
        return {
            "AWSGlue.StartJobRun": self._start,
            "AWSGlue.GetJobRun": self._get,
            "AWSGlue.GetJobRuns": self._list,
            "AWSGlue.BatchStopJobRun": self._stop,
        }

    @contextmanager
    def serving(self, url: str) -> Iterator[None]:
        """Take runs as long as this lasts, on the server at `url`; what still runs then is stopped."""
        self._url = url
        try:
            yield
        finally:
            for run in self._all():
                run.stop.set()
            with self._changed:
                self._changed.notify_all()
            for thread in self._threads:
                thread.join()

    def _start(self, request: dict[str, Any]) -> dict[str, Any]:
        self._validate("StartJobRun", request)
        if "MaxCapacity" in request and ("WorkerType" in request or "NumberOfWorkers" in request):
            raise Refused(
                "InvalidInputException", "Please do not set Max Capacity if using Worker Type and Number of Workers."
            )
        job = self._job(request["JobName"])
        run = JobRun(
            id=f"jr_{secrets.token_hex(32)}",
            job_name=request["JobName"],
            arguments=request.get("Arguments", {}),
            timeout=request.get("Timeout") or job.get("Timeout") or _TIMEOUT_MINUTES,
            capacity=_capacity(job | request),
        )
        with self._changed:
            if not self._has_place(job):
                if not request.get("JobRunQueuingEnabled"):
                    raise Refused("ConcurrentRunsExceededException", f"Concurrent runs exceeded for {run.job_name}")
                run.state = "WAITING"
            self._runs.setdefault(run.job_name, []).append(run)
        thread = threading.Thread(target=self._carry_out, args=(run, job), name=run.id)
        self._threads.append(thread)
        thread.start()
        return {"JobRunId": run.id}

    def _get(self, request: dict[str, Any]) -> dict[str, Any]:
        self._validate("GetJobRun", request)
        return {"JobRun": self._run(request["JobName"], request["RunId"]).document()}

    def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        self._validate("GetJobRuns", request)
        self._job(request["JobName"])
        newest_first = self._runs.get(request["JobName"], [])[::-1]
        first = int(request.get("NextToken", 0))
        last = first + min(request.get("MaxResults", _PAGE), _PAGE)
        more = {"NextToken": str(last)} if last < len(newest_first) else {}
        return {"JobRuns": [run.document() for run in newest_first[first:last]], **more}

    def _stop(self, request: dict[str, Any]) -> dict[str, Any]:
        self._validate("BatchStopJobRun", request)
        name = request["JobName"]
        stopped, errors = [], []
        for run_id in request["JobRunIds"]:
            this = {"JobName": name, "JobRunId": run_id}
            try:
                run = self._run(name, run_id)
                with self._changed:
                    if run.ended:
                        raise Refused("InvalidInputException", f"Job run {run_id} is {run.state}")
                    run.state = "STOPPING"
                    run.stop.set()
                    self._changed.notify_all()
                stopped.append(this)
            except Refused as refused:
                errors.append(this | {"ErrorDetail": {"ErrorCode": refused.code, "ErrorMessage": str(refused)}})
        return {"SuccessfulSubmissions": stopped, "Errors": errors}

    def _carry_out(self, run: JobRun, job: dict[str, Any]) -> None:
        try:
            if run.state == "WAITING" and not self._came_to_a_place(run, job):
                return
            script = Script(
                python=self._python,
                location=job["Command"]["ScriptLocation"],
                arguments=job.get("DefaultArguments", {}) | run.arguments | job.get("NonOverridableArguments", {}),
                environment=environment(self._url, self._access_key),
            )
            execute(run, script, self._client, run.timeout * self._minute, self._grace)
        except Exception as error:
            run.end("ERROR", f"Internal service error: {error!r}")
            raise
        finally:
            with self._changed:
                self._changed.notify_all()

    def _came_to_a_place(self, run: JobRun, job: dict[str, Any]) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: run.stop.is_set() or self._has_place(job), self._queued)
            if run.stop.is_set():
                run.end("STOPPED")
            elif self._has_place(job):
                run.state = "STARTING"
            else:
                run.end("EXPIRED", "Job run expired while it was waiting for resources")
            return not run.ended

    def _has_place(self, job: dict[str, Any]) -> bool:
        busy = [run for run in self._runs.get(job["Name"], []) if not run.ended and run.state != "WAITING"]
        most: int = job.get("ExecutionProperty", {}).get("MaxConcurrentRuns", 1)
        return len(busy) < most

    def _job(self, name: str) -> dict[str, Any]:
        try:
            job: dict[str, Any] = self._client("glue").get_job(JobName=name)["Job"]
        except ClientError as error:
            raise Refused(error.response["Error"]["Code"], error.response["Error"]["Message"]) from error
        return job

    def _run(self, job_name: str, run_id: str) -> JobRun:
        for run in self._runs.get(job_name, []):
            if run.id == run_id:
                return run
        raise Refused("EntityNotFoundException", f"Job run {run_id} of {job_name} not found")

    def _all(self) -> list[JobRun]:
        return [run for runs in self._runs.values() for run in runs]

    def _validate(self, operation: str, request: dict[str, Any]) -> None:
        """What AWS's own model of the request does not allow is refused."""
        shape = self._client("glue").meta.service_model.operation_model(operation).input_shape
        report = ParamValidator().validate(request, shape)
        if report.has_errors():
            raise Refused("InvalidInputException", report.generate_report())

    def _client(self, service: str) -> Any:
        if service not in self._clients:  # making one takes longer than most of its calls
            known = environment(self._url)
            session = boto3.session.Session(
                known["AWS_ACCESS_KEY_ID"], known["AWS_SECRET_ACCESS_KEY"], region_name=known["AWS_DEFAULT_REGION"]
            )
            self._clients[service] = session.client(service, endpoint_url=self._url)
        return self._clients[service]


def _capacity(job: dict[str, Any]) -> float:
    """DPUs of a run, of which a worker of type G.1X is one; 10 where the job does not say."""
    return float(job.get("NumberOfWorkers") or job.get("MaxCapacity") or 10)
