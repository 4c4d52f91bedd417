"""Which due manifests share a run: a process of its own takes seconds, and small manifests a second each; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lake_pipeline.dataset import Batch
from lake_pipeline.ledger.models import DueManifest


def shared_runs(due: Iterable[DueManifest], places: Mapping[str, int], batch: Batch) -> list[list[DueManifest]]:
    """The manifests of each run, in the order of their places.

    A run is of neighbours, for Dagster knows several partitions of a run by the first and the last. It takes up to
    `run_manifests` of them and up to `run_bytes`, or a single one that is larger.
    """
    runs: list[list[DueManifest]] = []
    for manifest in sorted(due, key=lambda item: places[item.manifest_id]):
        if runs and _fits(runs[-1], manifest, places, batch):
            runs[-1].append(manifest)
        else:
            runs.append([manifest])
    return runs


def _fits(run: list[DueManifest], manifest: DueManifest, places: Mapping[str, int], batch: Batch) -> bool:
    return (
        places[manifest.manifest_id] == places[run[-1].manifest_id] + 1
        and len(run) < batch.run_manifests
        and sum(item.bytes for item in run) + manifest.bytes <= batch.run_bytes
    )
