"""Spark as a scheduler: one function over many items, a task each; tries that fail are Spark's to repeat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from lake_pipeline.engines.task import Task
from lake_pipeline.errors import EngineError, LakeError, ObjectChanged, StoreError
from lake_pipeline.notation import bytes_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
# A task's share of the memory is no less: DuckDB holds a buffer for each open Hive partition.
_LEAST_MEMORY = 256 * 2**20


class Cluster:
    """A session's executors. `slots`: how many tasks run at once."""

    def __init__(self, session: SparkSession) -> None:
        self._context = session.sparkContext
        self.slots = self._context.defaultParallelism

    def share(self, task: Task) -> Task:
        """The task as one Spark task may run it: its cores as threads, and its part of an executor's memory."""
        threads = int(self._setting("spark.task.cpus", "1"))
        together = max(int(self._setting("spark.executor.cores", str(self.slots))) // threads, 1)
        return replace(
            task, threads=threads, memory=f"{max(bytes_of(task.memory) // together, _LEAST_MEMORY) // 2**20}MiB"
        )

    def _setting(self, name: str, default: str) -> str:
        return str(self._context.getConf().get(name, default))

    def run(self, stage: str, work: Callable[[_Item, str], _Result], items: Sequence[_Item]) -> list[_Result]:
        """`work(item, attempt)` of every item, in order; `attempt` is a path that no other try of any item has.

        Raises:
            LakeError: an item was refused, which another try would not change.
            EngineError: a task failed as often as Spark tries one.
        """
        if not items:
            return []
        self._context.setJobDescription(f"{stage}: {len(items):,} parts")
        tasks = self._context.parallelize(items, len(items))
        try:
            outcomes = tasks.map(partial(_attempt, work, f"{stage}/{self._context.applicationId}")).collect()
        except Exception as error:  # Java's, through a bridge, with the executors' Python traces as text
            raise EngineError(f"Spark gave up in stage {stage}: {_reason(error)}") from error
        results: list[_Result] = []
        for outcome in outcomes:
            if isinstance(outcome, LakeError):
                raise outcome
            results.append(outcome)
        return results


def _attempt(work: Callable[[_Item, str], _Result], stage: str, item: _Item) -> _Result | LakeError:
    """Runs in an executor. What would be refused again is handed back, so that Spark does not try it again."""
    from pyspark import TaskContext

    context = TaskContext.get()
    assert context is not None
    try:
        return work(item, f"{stage}/{context.partitionId():05d}-{context.taskAttemptId()}")
    except ObjectChanged as error:
        return error
    except StoreError:
        raise
    except LakeError as error:
        return error


def _reason(error: Exception) -> str:
    """The line of a long Java trace that says what went wrong: the executor's Python error, if it holds one."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    start = next((number for number, line in enumerate(lines) if "Traceback (most recent call last)" in line), None)
    if start is not None:
        return next((line for line in lines[start + 1 :] if not line.startswith(" ")), lines[start])
    return next((line.strip(": ") for line in lines if "Exception" in line), type(error).__name__)
