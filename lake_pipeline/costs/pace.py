"""How long a manifest takes on an engine; pure.

The figures are those of docs/performance.md, on two cores, and what they become elsewhere is an assumption that
docs/costs.md spells out. What a lake has measured corrects them: see `Measured`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lake_pipeline.costs.requests import Work

EngineName = Literal["local", "spark", "glue"]
ENGINES: tuple[EngineName, ...] = ("local", "spark", "glue")

# 1.0 GB converted in 5.5 s on two cores, and 0.6 s around it and after the commit (docs/performance.md, `lake`).
_BYTES_A_SECOND = 1.0e9 / 5.5
_MANIFEST_SECONDS = 0.6
# 8,000 files of 2 KB against one of as many bytes: 1.7 ms a file on a busy machine; archiving in S3: 1.5 ms a file.
_FILE_SECONDS = 0.002
# The engine `spark` takes 2.4 times as long as `local` on the same cores, and 5 s to start and end a session.
_SPARK_RATIO, _SPARK_SECONDS = 2.4, 5.0
# Assumed, for nothing was measured on AWS: a run is there after 45 s, and a G.1X worker's 4 vCPU are the two cores.
_GLUE_SECONDS = 45.0
_GLUE_LEAST_SECONDS = 60.0
_GLUE_LEAST_WORKERS, _GLUE_MOST_WORKERS = 2, 10
# CPU seconds of a run's process, whatever it converts: Python, Dagster, the ledger (docs/performance.md).
RUN_SECONDS = 2.1
# Runs on Glue wait beside each other, as the pool in dagster.yaml has it; on one machine they would share its cores.
GLUE_AT_ONCE = 3


@dataclass(frozen=True)
class Pace:
    """Seconds from an attempt's begin to its commit, and of these the DPU-seconds that Glue bills."""

    seconds: float
    dpu_seconds: float = 0.0


@dataclass(frozen=True)
class Measured:
    """What committed manifests have taken on an engine. `dpu_seconds` is what Glue billed."""

    engine: EngineName
    work: Work
    seconds: float
    dpu_seconds: float


def pace(engine: EngineName, work: Work, measured: Measured | None = None) -> Pace:
    """How long this work takes on an engine, manifest after manifest; by what was measured on it, where there is that.

    The measured manifests correct the figures by one factor, so that small ones may speak for large ones.
    """
    expected = _pace(engine, work)
    if measured is None or not measured.work.manifests or measured.engine != engine:
        return expected
    known = _pace(engine, measured.work)
    seconds = expected.seconds * measured.seconds / known.seconds
    if not measured.dpu_seconds:
        return Pace(seconds, expected.dpu_seconds)
    return Pace(seconds, expected.dpu_seconds * measured.dpu_seconds / known.dpu_seconds)


def _pace(engine: EngineName, work: Work) -> Pace:
    converting = work.bytes / _BYTES_A_SECOND
    around = work.manifests * _MANIFEST_SECONDS + work.files * _FILE_SECONDS
    if engine == "local":
        return Pace(around + converting)
    converting *= _SPARK_RATIO
    if engine == "spark":
        return Pace(around + work.manifests * _SPARK_SECONDS + converting)
    # One of the workers is the driver's.
    waited = work.manifests * _GLUE_SECONDS + converting / (_GLUE_MOST_WORKERS - 1)
    billed = _GLUE_LEAST_WORKERS * max(waited, work.manifests * _GLUE_LEAST_SECONDS) + converting
    return Pace(around + waited, billed)
