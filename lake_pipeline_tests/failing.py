"""Workers that come to the points of LAKE_FAILPOINTS: this process, or real ones that are killed and frozen there."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

import psutil
import pytest

from lake_pipeline import failpoints
from lake_pipeline.attempts import run_attempt
from lake_pipeline.discovery.listing import discover
from lake_pipeline.engines.run import run_task
from lake_pipeline.engines.task import Task
from lake_pipeline.errors import LakeError
from lake_pipeline.lake import Lake, open_lake
from lake_pipeline.progress import due_work, finish_interrupted
from lake_pipeline.settings import load_settings
from lake_pipeline_tests.waiting import until

Step = Callable[[Lake], object]


@contextmanager
def armed(text: str) -> Iterator[None]:
    """This process has these failpoints, and its children."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(failpoints.VARIABLE, text)
        failpoints._armed.cache_clear()
        failpoints._reached.clear()
        try:
            yield
        finally:
            failpoints._armed.cache_clear()


def work(lake: Lake) -> None:
    """All that `lake run` does, without Dagster and with the engine in this process; a failure ends it."""
    dataset = lake.datasets["events"]
    discover(dataset, lake.store, lake.ledger)
    finish_interrupted(lake, dataset)
    for manifest in due_work(lake, dataset, flush=True, limit=100, backoff=timedelta()):
        run_attempt(lake, dataset, manifest.manifest_id, convert)


def convert(task: Task) -> None:
    with suppress(LakeError):  # the results document says so
        run_task(task, lambda _: None)


@dataclass(frozen=True)
class Worker:
    """The process, and the way by which it says how it ended."""

    process: ForkServerProcess
    told: Connection

    def ended(self) -> str:
        """What it ended with: nothing, or the error's message."""
        assert self.told.poll(60), "it has not ended"
        said: str = self.told.recv()
        self.process.join(60)
        return said

    def signal(self) -> int:
        """The signal that it died of."""
        self.process.join(60)
        assert self.process.exitcode is not None, "it has not ended"
        assert not self.told.poll() or self.process.exitcode, self.told.recv()
        return -self.process.exitcode

    def froze(self) -> None:
        """Return once it stands still."""
        there = psutil.Process(self.process.pid)
        until(lambda: there.status() == psutil.STATUS_STOPPED)

    def thaw(self) -> None:
        os.kill(self.process.pid or 0, signal.SIGCONT)


@contextmanager
def worker(step: Step, points: str) -> Iterator[Worker]:
    """A process that opens this process's lake and takes a step, with these failpoints; gone at the end of the block.

    It is forked from one that has imported everything, for that takes longer than the step.
    """
    forking = multiprocessing.get_context("forkserver")
    forking.set_forkserver_preload([__name__])
    here, there = forking.Pipe(duplex=False)
    process = forking.Process(target=_take, args=(step, dict(os.environ) | {failpoints.VARIABLE: points}, there))
    process.start()
    there.close()
    try:
        yield Worker(process, here)
    finally:
        process.kill()
        process.join()
        process.close()
        here.close()


def _take(step: Step, environment: dict[str, str], told: Connection) -> None:
    os.environ.clear()
    os.environ.update(environment)
    try:
        with open_lake(load_settings()) as lake:
            step(lake)
    except LakeError as error:
        told.send(f"{type(error).__name__}: {error}")
    else:
        told.send("")
