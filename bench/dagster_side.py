"""Measures Dagster's side of a dataset with many manifests: pages, ticks, a backfill, and what a run costs.

    python -m bench.dagster_side [--manifests 5000] [--backfill 1000] [--compare 20] [--quick]

Prints JSON. First the same `--compare` manifests are done again by runs of one manifest each and by runs of ten; then
the pages are asked, a backfill of `--backfill` manifests is launched, and the pages are asked again while it goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_shared.serdes import serialize_value

from bench.dagster_lake import fill, lake_at
from bench.dagster_ui import Dev, lake_dev
from bench.scratch import scratch_lake
from lake_pipeline.defs.instance import open_instance
from lake_pipeline.lake import Lake

_TOGETHER = 10
_LOOK_SECONDS = 2.0


def main() -> int:
    options = _options()
    with scratch_lake(options.scratch) as folder:
        with lake_at(folder, _TOGETHER) as lake:
            since = time.perf_counter()
            ids = fill(lake, options.manifests)
            _tell(f"{len(ids):,} manifests made in {time.perf_counter() - since:.0f} s")
        measured: dict[str, Any] = {"manifests": len(ids), "runs": {}}
        for together in (1, _TOGETHER) if options.compare else ():
            with lake_at(folder, together) as lake, lake_dev(folder / "dev.log") as dev:
                measured["runs"][together] = _backfill(lake, dev, ids[: options.compare])
                _tell(f"runs of {together}: {measured['runs'][together]}")
        with lake_at(folder, _TOGETHER) as lake, lake_dev(folder / "dev.log") as dev:
            dev.pages()  # the first fills caches
            measured["pages"] = dev.pages()
            _tell(f"pages: {measured['pages']}")
            measured["backfill"] = _backfill(lake, dev, ids[-options.backfill :], options.patience)
            measured["ticks"] = {name: dev.ticks(name) for name in ("events_arrivals", "events_work")}
            measured["pages after"] = dev.pages()
    print(json.dumps(measured, indent=2))
    return 0


def _backfill(lake: Lake, dev: Dev, ids: list[str], patience: float = 0) -> dict[str, Any]:
    """Launch one over these, wait for its end, or for so long, and say what it took; the pages at their slowest."""
    with open_instance(lake.settings) as instance:
        runs_before = instance.get_runs_count()
    cpu, since, slowest = dev.cpu_seconds(), time.perf_counter(), dict[str, float]()
    backfill = dev.launch(ids)
    launched = time.perf_counter() - since
    while not dev.has_ended(backfill) and not (patience and time.perf_counter() - since > patience):
        for name, seconds in dev.pages().items():
            slowest[name] = max(seconds, slowest.get(name, 0))
        time.sleep(_LOOK_SECONDS)
    seconds, used = time.perf_counter() - since, dev.cpu_seconds() - cpu
    with open_instance(lake.settings) as instance:
        runs = instance.get_runs_count() - runs_before
        record = next(iter(instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]), limit=1)))
        events = instance.all_logs(record.dagster_run.run_id)
        event_bytes = sum(len(serialize_value(entry)) for entry in events)
    chosen = set(ids)
    again = [row for row in lake.ledger.manifests("events") if row.manifest_id in chosen and row.attempt > 1]
    done = len(again) if patience else len(ids)
    return {
        "manifests": len(ids),
        "done": done,
        "runs": runs,
        "seconds to launch": round(launched, 2),
        "seconds": round(seconds, 1),
        "seconds a manifest": round(seconds / max(done, 1), 2),
        "CPU seconds a manifest": round(used / max(done, 1), 2),
        "events of the last run": len(events),
        "bytes of these": event_bytes,
        "pages meanwhile, slowest": slowest,
    }


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifests", type=int, default=5000, help="partitions of the dataset")
    parser.add_argument("--backfill", type=int, default=1000, help="manifests that are done again")
    parser.add_argument("--compare", type=int, default=20, help="manifests by which two sizes of runs are compared")
    parser.add_argument("--patience", type=float, default=0, help="seconds after which the backfill is left")
    parser.add_argument("--quick", action="store_true", help="100 manifests, a backfill of 10, no comparison")
    parser.add_argument("--scratch", type=Path, help="where the lake is made; default: the system's")
    options = parser.parse_args()
    if options.quick:
        options.manifests, options.backfill, options.compare = 100, 10, 0
    return options


if __name__ == "__main__":
    sys.exit(main())
