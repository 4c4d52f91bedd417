"""What is compared: each peer turns the same raw files into a folder of Parquet, in a process of its own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from bench.measure import Usage, measure
from lake_pipeline.engines.java import find_java_home
from lake_pipeline.errors import EngineError
from lake_pipeline.settings import load_settings

HERE = Path(__file__).parent
DRIVERS = HERE / "drivers"
_LANDING = "raw-json-data/2026/week07"


@dataclass(frozen=True)
class Outcome:
    """One peer's run: what it took, its own seconds by step, its Parquet, and seconds of setting up beforehand."""

    usage: Usage
    steps: dict[str, float]
    output: Path
    setup_seconds: float = 0.0


@dataclass(frozen=True)
class Peer:
    """`work` is given the name of a case, the raw files, an empty folder and a Python, and may consume the files.

    `scalars` says that the flattened scalar columns bear the names and types that the others give them; `python` is
    another than the benchmark's own, where `module` is installed.
    """

    name: str
    about: str
    module: str
    work: Callable[[str, list[Path], Path, str], Outcome]
    scalars: bool = True
    python: str = ""

    @property
    def installed(self) -> bool:
        return bool(self.python) or find_spec(self.module) is not None

    def run(self, case: str, raw: list[Path], folder: Path) -> Outcome:
        return self.work(case, raw, folder, self.python or sys.executable)


def _driver(script: str, *options: str) -> Callable[[str, list[Path], Path, str], Outcome]:
    def run(case: str, raw: list[Path], folder: Path, python: str) -> Outcome:
        landed = _land(raw, folder / "raw")
        report = folder / "report.json"
        places = [landed, folder / "output", folder / "archive", report]
        command = [python, str(DRIVERS / script), *map(str, places), case, *options]
        usage = _measured(command, _environment(folder), folder)
        return Outcome(usage, json.loads(report.read_bytes()), folder / "output")

    return run


def _lake(_: str, raw: list[Path], folder: Path, python: str, **settings: str) -> Outcome:
    home = folder / "lake"
    env = _environment(folder) | {"LAKE_HOME": str(home), "LAKE_DATASETS": str(HERE / "datasets")} | settings
    script = [python, str(DRIVERS / "lake_home.py")]
    setup = _measured([*script, "init"], env, folder)
    _land(raw, home / "store" / _LANDING)
    usage = _measured([python, "-m", "lake_pipeline.cli", "run"], env, folder)
    report = folder / "report.json"
    _measured([*script, "report", str(report)], env, folder)
    steps: dict[str, float] = json.loads(report.read_bytes())
    began, committed = steps.pop("began_at"), steps.pop("committed_at")
    ended = usage.started_at + usage.wall_seconds
    # Of the whole: before the attempt, the attempt without the conversion, and after the commit.
    steps |= {
        "before": began - usage.started_at,
        "around": committed - began - steps["conversion"],
        "after": ended - committed,
    }
    return Outcome(usage, steps, home / "store" / "curated", setup.wall_seconds)


PEERS = {
    peer.name: peer
    for peer in (
        Peer("lake", "`lake run`, end to end", "lake_pipeline", _lake),
        Peer(
            "spark",
            "`lake run` on Spark, local[2]",
            "pyspark",
            partial(_lake, LAKE_ENGINE="spark", LAKE_SPARK_MASTER="local[2]"),
        ),
        Peer("naive_spark", "PySpark as people write it", "pyspark", _driver("naive_spark.py")),
        Peer("duckdb", "bare DuckDB, one COPY", "duckdb", _driver("bare_duckdb.py")),
        Peer("kernel", "the conversion step by itself", "lake_pipeline", _driver("kernel_alone.py")),
        Peer("spark_schema", "the same PySpark, types given", "pyspark", _driver("naive_spark.py", "--given-schema")),
        Peer("polars", "Polars, a lazy scan into a sink", "polars", _driver("polars_sink.py")),
        Peer("dlt", "dlt, files to a Parquet table", "dlt", _driver("dlt_load.py"), scalars=False),
    )
}
DEFAULT = ("lake", "kernel", "duckdb", "polars", "naive_spark", "dlt")


def _land(raw: list[Path], folder: Path) -> Path:
    """The raw files under other names of theirs, so that a peer may move or delete them."""
    folder.mkdir(parents=True)
    for path in raw:
        os.link(path, folder / path.name)
    return folder


def _measured(command: list[str], env: dict[str, str], folder: Path) -> Usage:
    log = folder / "log"
    os.sync()  # what others wrote is not to be flushed in this one's time
    usage = measure(command, env=env, folder=folder, log=log)
    if usage.exit_code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise EngineError(f"{' '.join(command)} ended with {usage.exit_code}\n{tail}")
    return usage


def _environment(folder: Path) -> dict[str, str]:
    """This process's environment without another lake's settings, and with a Java for Spark."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("LAKE_", "DAGSTER_"))}
    env |= {"DAGSTER_DISABLE_TELEMETRY": "1", "SPARK_LOCAL_DIRS": str(folder / "spark"), "SPARK_LOCAL_IP": "127.0.0.1"}
    if find_spec("pyspark"):
        env["JAVA_HOME"] = str(find_java_home(load_settings().java_home))
    return env
