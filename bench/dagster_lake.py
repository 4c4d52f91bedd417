"""A lake with many committed manifests of one small file each, known to Dagster, made without running them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from lake_pipeline.defs.instance import open_instance
from lake_pipeline.defs.keys import Stage, asset_key
from lake_pipeline.defs.partitions import manifest_partitions
from lake_pipeline.discovery.listing import discover
from lake_pipeline.lake import Lake, open_lake
from lake_pipeline.ledger.models import FileOutcome
from lake_pipeline.planning import plan
from lake_pipeline.settings import load_settings

# Raw files stay where they landed, so that each manifest can be done again.
DECLARATION: dict[str, Any] = {
    "name": "events",
    "source": {"prefix": "raw/", "format": "ndjson", "group": "{year}/{week}/"},
    "batch": {"max_files": 1},
    "output": {"prefix": "curated/"},
    "archive": {"action": "keep"},
}
_STAGES: tuple[Stage, ...] = ("raw", "curated", "table")


@contextmanager
def lake_at(folder: Path, run_manifests: int) -> Iterator[Lake]:
    """The lake under a folder, which the environment describes from now on."""
    datasets = folder / "datasets"
    datasets.mkdir(exist_ok=True)
    batch = DECLARATION["batch"] | {"run_manifests": run_manifests}
    (datasets / "events.yaml").write_text(yaml.safe_dump(DECLARATION | {"batch": batch}))
    for name in [name for name in os.environ if name.startswith(("LAKE_", "DAGSTER_"))]:
        del os.environ[name]
    os.environ |= {"LAKE_HOME": str(folder / "home"), "LAKE_DATASETS": str(datasets)}
    with open_lake(load_settings()) as lake:
        yield lake


def fill(lake: Lake, manifests: int) -> list[str]:
    """Land, plan and commit so many; the ids of all."""
    dataset = lake.dataset("events")
    for number in range(manifests):
        record = {"id": f"e{number}", "value": number}
        lake.store.put(f"raw/2026/week{number // 1000:02}/{number:06}.json", json.dumps(record).encode() + b"\n")
    discover(dataset, lake.store, lake.ledger)
    planned = plan(dataset, lake.ledger, lake.store, now=datetime.now(UTC), flush=True, max_manifests=manifests)
    for manifest in planned:
        attempt = lake.ledger.begin_attempt("events", manifest.manifest_id, "bench", timedelta(minutes=2))
        outcomes = [FileOutcome(file.id, "SUCCEEDED", rows_read=1, rows_written=1) for file in manifest.files]
        lake.ledger.commit_manifest("events", manifest.manifest_id, attempt, files=outcomes, outputs=[])
    ids = [manifest.manifest_id for manifest in planned]
    with open_instance(lake.settings) as instance:
        instance.add_dynamic_partitions(manifest_partitions(dataset).name or "", ids)
        for stage in _STAGES:
            for manifest_id in ids:
                event = dg.AssetMaterialization(asset_key(dataset, stage), partition=manifest_id)
                instance.report_runless_asset_event(event)
    return ids
