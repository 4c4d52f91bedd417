"""The kernel by itself, as the conversion step of `lake run` calls it: no ledger, no Dagster, nothing published.

    python kernel_alone.py RAW OUTPUT ARCHIVE REPORT CASE

Its CPU seconds can be told from the rest of `lake run`, and it can be profiled.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from lake_pipeline.declarations import load_datasets
from lake_pipeline.kernel.convert import Job, convert
from lake_pipeline.manifests import Manifest, ManifestFile
from lake_pipeline.schemas import Schema
from lake_pipeline.settings import load_settings
from lake_pipeline.store import Store

DATASETS = Path(__file__).parents[1] / "datasets"


def main(raw: Path, output: Path, scratch: Path, report: Path) -> None:
    settings = load_settings()
    store = Store(str(raw.parent))
    listed = [item for page in store.list(raw.name) for item in page]
    files = tuple(ManifestFile(n, item.key, item.etag, item.size, item.key) for n, item in enumerate(listed))
    job = Job(
        dataset=load_datasets(DATASETS)["events"],
        manifest=Manifest("events", "bench", "2026/week07", files),
        schema=Schema.from_json(None),
        attempt=1,
        staging=output,
        scratch=scratch,
        threads=settings.threads or os.cpu_count() or 1,
        memory=settings.memory,
    )
    start, cpu = time.monotonic(), time.process_time()
    results = convert(job, store)
    took = {"conversion": time.monotonic() - start, "conversion_cpu": time.process_time() - cpu}
    report.write_text(json.dumps(results.seconds | took))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]))
