"""The engine `glue`: an attempt as a run of an AWS Glue job, one that outlived its worker taken over or stopped.

What is written down before the run begins, and why nothing is done twice, is told in docs/aws-glue.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import timedelta

from lake_pipeline import __version__
from lake_pipeline.engines.glue_job import GlueJob, GlueRun
from lake_pipeline.engines.task import Task, read_results
from lake_pipeline.errors import EngineError, EngineUnreachable, LakeError, LedgerError
from lake_pipeline.kernel.results import RECORDS, Results
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.manifests import Manifest, read_manifest
from lake_pipeline.store import Copy, Store

ATTEMPT = "--lake_attempt"
INPUTS = "--lake_inputs"
# How far Glue's clock may be behind the ledger's.
_CLOCKS = timedelta(minutes=10)


@dataclass(frozen=True)
class GlueEngine:
    """Runs tasks on a Glue job.

    `pipes` opens the job's side channel for a task: it gives arguments for the run, and brings its messages until it is
    left. `began` is called with each run that is waited for, `explain` gives the end of a run's log.
    """

    job: GlueJob
    store: Store
    ledger: Ledger
    pipes: Callable[[Task], AbstractContextManager[Mapping[str, str]]]
    tell: Callable[[str], None]
    began: Callable[[GlueRun], None]
    explain: Callable[[GlueRun], str]

    def run(self, task: Task) -> float:
        """Have the task's results document in the store: by a new run, or by that of an attempt whose worker died.

        Returns the DPU-seconds that Glue bills for the run.

        Raises:
            EngineError: the run ended without a results document, or could not be started.
            EngineUnreachable: Glue cannot be asked, and the run may go on; the next attempt settles that.
            LeaseLost: another attempt has taken over.
            CircuitOpen: Glue has failed so often that it is not asked for a while.
        """
        inputs = fingerprint(task, read_manifest(self.store, task.dataset, task.manifest_id))
        run = self._took_over(task, inputs) or self._convert(task, inputs)
        return run.dpu_seconds

    def _convert(self, task: Task, inputs: str) -> GlueRun:
        self._record(task, None, task.attempt)
        # What an earlier run of this attempt left would be taken for this one's.
        self.store.delete_prefix(task.staging)
        run_id: str | None = None
        with self.pipes(task) as arguments:
            try:
                run_id = self._start(task, {**arguments, ATTEMPT: token(task), INPUTS: inputs})
                self._record(task, run_id, task.attempt)
                if begun := self.job.get(run_id):
                    self.began(begun)
                run = self.job.wait(run_id)
            except BaseException as error:
                self._stop(task, task, run_id, error)
                raise
        self._check(task, run)
        return run

    def _start(self, task: Task, arguments: Mapping[str, str]) -> str:
        refusal: EngineError
        with self.ledger.breaker("glue"):
            try:
                return self.job.start(arguments, lambda: self._find(task))
            except EngineUnreachable:
                raise
            except EngineError as error:
                refusal = error  # Glue answered, which is no failure of the service
        raise refusal

    def _check(self, task: Task, run: GlueRun) -> None:
        """A run that failed and says why in a results document is as good as one that ended well: that is read next."""
        if run.state == "SUCCEEDED":
            return
        why = f"run {run.id} of Glue job {self.job.name} is {run.state}: {run.error_message}\n{self.explain(run)}"
        if not self.store.exists(task.results_key):
            raise EngineError(f"{task.manifest_id}: {why}")
        self.tell(why)

    def _stop(self, task: Task, started_for: Task, run_id: str | None, error: BaseException) -> None:
        """End the run that an attempt waited for, unless it is another's to settle by now."""
        # A start that failed has looked for its run by itself; one that was interrupted has not.
        not_begun = run_id is None and isinstance(error, LakeError)
        try:
            if not_begun or self._is_anothers(task, started_for):
                return
            if run_id is None and (found := self._find(task, hurry=True)):
                run_id = found.id
            if run_id is not None:
                self.tell(f"stopping run {run_id} of Glue job {self.job.name}")
                self.job.stop(run_id)
        except LakeError as failure:
            self.tell(f"run {run_id or token(task)} of Glue job {self.job.name} may go on: {failure}")

    def _is_anothers(self, task: Task, started_for: Task) -> bool:
        try:
            row = self.ledger.manifest(task.dataset.name, task.manifest_id)
        except LedgerError:
            return False
        return row.attempt != task.attempt and row.engine_attempt == started_for.attempt

    def _took_over(self, task: Task, inputs: str) -> GlueRun | None:
        """The run of an earlier attempt, whose worker did not see its end, if it has converted the same for us.

        Whatever became of it, it writes no more when this returns.
        """
        row = self.ledger.manifest(task.dataset.name, task.manifest_id)
        if row.engine_attempt in (None, task.attempt):
            return None
        theirs = replace(task, attempt=row.engine_attempt)
        run = self.job.get(row.engine_run_id) if row.engine_run_id else self._find(theirs)
        results = None
        if run is not None and run.arguments.get(INPUTS) == inputs:
            results = self._results(task, theirs, run)
        elif run is not None and not run.ended:
            self.tell(f"run {run.id} of attempt {theirs.attempt} converts what has changed since; stopping it")
            self.job.stop_and_wait(run.id)
        if run is not None and results is not None:
            self._adopt(results, theirs, task)
            self._record(task, run.id, task.attempt)
        self.store.delete_prefix(theirs.staging)
        if run is None or results is None:
            return None
        return self.job.get(run.id) or run  # what it took, now that it has ended

    def _results(self, task: Task, theirs: Task, run: GlueRun) -> Results | None:
        """What the run of another attempt came to, once it has ended; None where it had failed before we looked.

        Raises:
            EngineError: it failed as we waited for it, which is an attempt that failed.
        """
        at_work = not run.ended and run.state != "STOPPING"
        self._record(task, run.id, theirs.attempt)
        self.began(run)
        if not run.ended:
            self.tell(f"run {run.id} of attempt {theirs.attempt} goes on; waiting for it")
            with self.pipes(theirs):
                try:
                    run = self.job.wait(run.id)
                except BaseException as error:
                    self._stop(task, theirs, run.id, error)
                    raise
        try:
            return read_results(self.store, theirs)
        except EngineError:
            if not at_work:
                return None
            self._check(theirs, run)
            raise

    def _adopt(self, results: Results, theirs: Task, ours: Task) -> None:
        """Copy what another attempt staged into our staging, under names of our own.

        Names must not come twice: whoever saw that attempt fail may still be deleting what it published.
        """
        self.store.delete_prefix(ours.staging)
        renamed = [replace(file, path=_renamed(file.path, theirs, ours), staged="") for file in results.outputs]
        self.store.publish_all(
            [
                Copy(theirs.staging + before.key, ours.staging + after.key, before.bytes)
                for before, after in zip(results.outputs, renamed, strict=True)
            ]
        )
        if results.quarantined_records:
            self.store.publish(theirs.staging + RECORDS, ours.staging + RECORDS)
        self.store.put_json(ours.results_key, replace(results, outputs=tuple(renamed)).to_json())

    def _find(self, task: Task, *, hurry: bool = False) -> GlueRun | None:
        planned = self.ledger.manifest(task.dataset.name, task.manifest_id).planned_at
        return self.job.find({ATTEMPT: token(task)}, planned - _CLOCKS, hurry=hurry)

    def _record(self, task: Task, run_id: str | None, of_attempt: int) -> None:
        self.ledger.record_engine_run(
            task.dataset.name, task.manifest_id, task.attempt, run_id, engine_attempt=of_attempt
        )


def token(task: Task) -> str:
    """What a run's arguments call the attempt that started it."""
    return f"{task.dataset.name}/{task.manifest_id}/{task.attempt}"


def fingerprint(task: Task, manifest: Manifest) -> str:
    """The same for two attempts that convert the same file versions in the same way."""
    files = [(file.id, file.key, file.etag, file.size) for file in manifest.files]
    what = [__version__, task.store_url, task.declaration, files, task.erasures]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _renamed(path: str, theirs: Task, ours: Task) -> str:
    folder, slash, name = path.rpartition("/")
    before, after = (f"{task.manifest_id}-a{task.attempt}-" for task in (theirs, ours))
    return f"{folder}{slash}{name.replace(before, after, 1)}"
