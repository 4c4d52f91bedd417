"""What a backfill will take on an engine; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

from lake_pipeline.costs.machine import Machine
from lake_pipeline.costs.pace import GLUE_AT_ONCE, RUN_SECONDS, EngineName, Measured, pace
from lake_pipeline.costs.prices import Prices
from lake_pipeline.costs.requests import Requests, Work, conversion_requests, discovery_requests
from lake_pipeline.dataset import Batch

# 1.0 GB made 70 files of 41 MB in all (docs/performance.md): generated records, which compress better than most.
_OUTPUTS_A_MANIFEST, _OUTPUT_RATIO = 70, 0.041


@dataclass(frozen=True)
class Waiting:
    """Files that belong together (a landing group's, or a planned manifest's), and their bytes."""

    files: int
    bytes: int
    planned: int = 0


@dataclass(frozen=True)
class Estimate:
    """What some work takes on an engine; seconds are those of all attempts, `elapsed` what a clock shows."""

    engine: EngineName
    work: Work
    runs: int
    seconds: float
    elapsed: float
    dpu_seconds: float
    requests: Requests
    s3_dollars: float
    glue_dollars: float
    machine_dollars: float
    athena_dollars: float
    is_measured: bool

    @property
    def dollars(self) -> float:
        """Without queries: what Athena takes for reading the result once is `athena_dollars`."""
        return self.s3_dollars + self.glue_dollars + self.machine_dollars


def manifests_of(waiting: Iterable[Waiting], batch: Batch) -> int:
    """Manifests that hold these files: as many as the limits of one ask for, in each group."""
    return sum(
        group.planned or max(ceil(group.files / batch.max_files), ceil(group.bytes / batch.max_bytes), 1)
        for group in waiting
        if group.files
    )


def runs_of(manifests: int, bytes_: int, batch: Batch) -> int:
    """Dagster's runs that so many manifests take, which share one where they are small."""
    if not manifests:
        return 0
    size = bytes_ / manifests
    together = batch.run_manifests if not size else max(1, min(batch.run_manifests, int(batch.run_bytes / size)))
    return ceil(manifests / together)


def work_of(waiting: Iterable[Waiting], batch: Batch, like: Work | None = None) -> Work:
    """What is to be done; as many curated files a manifest, and as many of their bytes a raw byte, as there were."""
    groups = list(waiting)
    manifests, bytes_ = manifests_of(groups, batch), sum(group.bytes for group in groups)
    outputs, ratio = float(_OUTPUTS_A_MANIFEST), _OUTPUT_RATIO
    if like is not None and like.manifests and like.bytes:
        outputs, ratio = like.outputs / like.manifests, like.output_bytes / like.bytes
    return Work(
        manifests, sum(group.files for group in groups), bytes_, ceil(manifests * outputs), ceil(bytes_ * ratio)
    )


def estimate(
    engine: EngineName,
    work: Work,
    batch: Batch,
    prices: Prices,
    machine: Machine,
    *,
    measured: Measured | None = None,
    on_s3: bool = True,
    archives: bool = True,
    by_events: bool = False,
) -> Estimate:
    """What the work takes on this engine; a store that is a directory asks S3 for nothing.

    `archives` says whether raw files are moved, `by_events` whether they are told of by a queue and not listed.
    """
    taken = pace(engine, work, measured)
    runs = runs_of(work.manifests, work.bytes, batch)
    at_once = min(GLUE_AT_ONCE, runs) or 1 if engine == "glue" else 1
    elapsed = (taken.seconds + runs * RUN_SECONDS) / at_once
    requests = Requests()
    if on_s3 and work.files:
        waited = taken.seconds if engine == "glue" else 0.0
        requests = conversion_requests(work, archives=archives, glue_seconds=waited)
        requests += discovery_requests(work.files, by_events=by_events)
    return Estimate(
        engine=engine,
        work=work,
        runs=runs,
        seconds=taken.seconds,
        elapsed=elapsed,
        dpu_seconds=taken.dpu_seconds,
        requests=requests,
        s3_dollars=requests.dollars(prices),
        glue_dollars=taken.dpu_seconds / 3600 * prices.glue_dpu_hour,
        machine_dollars=machine.dollars(elapsed, prices),
        athena_dollars=work.output_bytes / 1e12 * prices.athena_tb if on_s3 else 0.0,
        is_measured=measured is not None and measured.engine == engine and measured.work.manifests > 0,
    )
