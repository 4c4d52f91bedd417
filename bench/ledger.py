"""Measures the ledger at some sizes: registering, claiming, committing, asking; on an embedded Postgres as it comes.

    python -m bench.ledger [--sizes 10k,1M,10M] [--new 100k] [--pending 1M] [--workers 4] [--quick] [--no-naive]

At each size everything is SUCCEEDED; then `--new` files are registered, claimed and committed, and those are timed. The
peer, a table as one would first draw it, does the same in turn with the ledger, so that both have the same machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import quantiles

import psycopg
import yaml

from bench import ledger_naive
from bench.ledger_cpu import Cpu
from bench.ledger_work import (
    DECLARATION,
    Registering,
    Span,
    Worked,
    in_process,
    object_of,
    register_by_events,
    register_by_listing,
    work,
)
from bench.scratch import scratch_lake
from bench.tables import Sheet
from lake_pipeline.lake import Lake, open_lake
from lake_pipeline.ledger.postgres import database_url
from lake_pipeline.progress import due_work, finish_interrupted
from lake_pipeline.settings import Settings, load_settings

_UNITS = {"k": 10**3, "M": 10**6}
_NAIVE = (
    "naive_listing",
    "naive_filled_by_work",
    "naive_work",
    "naive_claim_p50",
    "naive_claim_p99",
    "naive_commit_p50",
    "naive_commit_p99",
    "naive_bytes",
    "naive_cpu_listing",
    "naive_cpu_work",
)


@dataclass(frozen=True)
class Figures:
    """What was measured with `files` files SUCCEEDED; rates are files a second, others seconds and bytes.

    CPU is that of the server and the workers together, in seconds a million files, up to that size.
    """

    files: int
    filled_by_listing: float
    filled_by_work: float
    listing: float
    events: float
    work: float
    claim_p50: float
    claim_p99: float
    commit_p50: float
    commit_p99: float
    listing_memory: int
    table_bytes: float
    index_bytes: float
    cpu_listing: float
    cpu_work: float
    bytes_by_table: dict[str, int]
    bytes_before_shrinking: float
    shrinking: float
    status: float
    find: float
    naive_listing: float
    naive_filled_by_work: float
    naive_work: float
    naive_claim_p50: float
    naive_claim_p99: float
    naive_commit_p50: float
    naive_commit_p99: float
    naive_bytes: float
    naive_cpu_listing: float
    naive_cpu_work: float


def main() -> int:
    options = _options()
    with scratch_lake(options.scratch) as folder:
        settings = _settings(folder)
        with open_lake(settings) as lake:
            url = database_url(settings)
            if options.naive:
                ledger_naive.create(url)
            figures, end = [], 0
            for size in options.sizes:
                print(f"{size:,} files …", file=sys.stderr)
                figures.append(_at(lake, url, Span(end, size), options))
                end = size + 2 * options.new
            print(_sheet(figures, options).markdown())
            tick, tick_cpu, status = _tick(lake, url, Span(end, end + options.pending))
    print(f"\nWith {options.pending:,} files pending: a tick of the work sensor {tick:.1f} s (at most 10), ", end="")
    print(f"of CPU {tick_cpu:.1f} s, ", end="")
    print(f"`lake status` {status:.2f} s (under 1)")
    if options.json:
        told = {"pending": options.pending, "tick": tick, "tick_cpu": tick_cpu, "status": status, "new": options.new}
        options.json.write_text(json.dumps({"sizes": [asdict(one) for one in figures], **told}, indent=1))
    return 0


def _settings(folder: Path) -> Settings:
    datasets = folder / "datasets"
    datasets.mkdir()
    (datasets / "events.yaml").write_text(yaml.safe_dump(DECLARATION))
    for name in [name for name in os.environ if name.startswith("LAKE_")]:
        del os.environ[name]
    os.environ |= {"LAKE_HOME": str(folder / "home"), "LAKE_DATASETS": str(datasets)}
    return load_settings()


def _at(lake: Lake, url: str, fill: Span, options: argparse.Namespace) -> Figures:
    """Fill the ledger up, then time what comes after."""
    cpu = Cpu(url)
    filled = in_process(register_by_listing, url, fill)
    filled_cpu = cpu.lap()
    _, filling = work(url, options.workers, options.manifest_files)
    worked_cpu = cpu.lap()
    _vacuum(url)
    by_listing = in_process(register_by_listing, url, Span(fill.end, fill.end + options.new))
    by_events = in_process(register_by_events, url, Span(fill.end + options.new, fill.end + 2 * options.new))
    worked, working = work(url, options.workers, options.manifest_files)
    _vacuum(url)
    before = sum(_bytes_a_file(url))
    shrinking = _seconds(lake.ledger.shrink)
    table, indexes = _bytes_a_file(url)
    cpu.lap()
    naive = _naive_at(url, fill, options, cpu) if options.naive else {}
    filled_files = fill.end - fill.start
    return Figures(
        files=fill.end,
        filled_by_listing=_rate(filled),
        filled_by_work=filled.files / filling,
        listing=_rate(by_listing),
        events=_rate(by_events),
        work=2 * options.new / working,
        **_latencies(worked),
        listing_memory=max(filled.peak_bytes, by_listing.peak_bytes),
        table_bytes=table,
        index_bytes=indexes,
        cpu_listing=filled_cpu / filled_files * 1e6,
        cpu_work=worked_cpu / filled_files * 1e6,
        bytes_by_table=_bytes_by_table(url),
        bytes_before_shrinking=before,
        shrinking=shrinking,
        status=_seconds(_status),
        find=_seconds(lambda: list(lake.ledger.files("events", key=object_of(fill.end // 2).key))),
        **{name: naive.get(name, 0.0) for name in _NAIVE},
    )


def _naive_at(url: str, fill: Span, options: argparse.Namespace, cpu: Cpu) -> dict[str, float]:
    in_process(ledger_naive.register, url, fill)
    filled_cpu = cpu.lap()
    _, filling = ledger_naive.work(url, options.workers, options.manifest_files)
    worked_cpu = cpu.lap()
    ledger_naive.analyze(url)
    listing = in_process(ledger_naive.register, url, Span(fill.end, fill.end + 2 * options.new))
    worked, working = ledger_naive.work(url, options.workers, options.manifest_files)
    return {
        "naive_listing": listing,
        "naive_cpu_listing": filled_cpu / (fill.end - fill.start) * 1e6,
        "naive_cpu_work": worked_cpu / (fill.end - fill.start) * 1e6,
        "naive_filled_by_work": (fill.end - fill.start) / filling,
        "naive_work": 2 * options.new / working,
        **{f"naive_{name}": seconds for name, seconds in _latencies(worked).items()},
        "naive_bytes": sum(ledger_naive.bytes_a_file(url)),
    }


def _tick(lake: Lake, url: str, pending: Span) -> tuple[float, float, float]:
    """Seconds of the tick, of CPU of it, and of `lake status` before it."""
    dataset = lake.dataset("events")
    finish_interrupted(lake, dataset)  # writes down what the workers committed, which they leave to it
    in_process(register_by_listing, url, pending)

    def tick() -> None:
        finish_interrupted(lake, dataset)
        due_work(lake, dataset, flush=False, limit=25)

    status = _seconds(_status)
    cpu = Cpu(url)
    return _seconds(tick), cpu.lap(), status


def _latencies(worked: Worked) -> dict[str, float]:
    claims, commits = quantiles(worked.claims, n=100), quantiles(worked.commits, n=100)
    return {"claim_p50": claims[49], "claim_p99": claims[98], "commit_p50": commits[49], "commit_p99": commits[98]}


def _rate(done: Registering) -> float:
    return done.files / done.seconds


def _seconds(act: Callable[[], object]) -> float:
    start = time.monotonic()
    act()
    return time.monotonic() - start


def _status() -> None:
    subprocess.run([sys.executable, "-m", "lake_pipeline.cli", "status"], stdout=subprocess.DEVNULL, check=True)


def _vacuum(url: str) -> None:
    # What autovacuum does in its own time, which differs from run to run.
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE) lake.live_files, lake.settled_files, lake.manifests")


def _bytes_a_file(url: str) -> tuple[float, float]:
    query = """
SELECT sum(pg_table_size(oid))::float / n, sum(pg_indexes_size(oid))::float / n
FROM pg_class, (SELECT count(*) AS n FROM lake.file_processing_status) f
WHERE relnamespace = 'lake'::regnamespace AND relkind = 'r' GROUP BY n"""
    with psycopg.connect(url) as connection:
        table, indexes = connection.execute(query).fetchone() or (0.0, 0.0)
        return table, indexes


def _bytes_by_table(url: str) -> dict[str, int]:
    query = """
SELECT relname, pg_relation_size(oid) FROM pg_class
WHERE relnamespace = 'lake'::regnamespace AND relkind IN ('r', 'i') AND pg_relation_size(oid) > 1000000
ORDER BY 2 DESC"""
    with psycopg.connect(url) as connection:
        return dict(connection.execute(query).fetchall())


def _sheet(figures: list[Figures], options: argparse.Namespace) -> Sheet:
    first = figures[0]
    lines: list[tuple[str, Callable[[Figures], str], str]] = [
        ("registered by a listing, files/s", lambda at: f"{at.listing:,.0f}", "at least 50,000"),
        ("the same up to this size", lambda at: f"{at.filled_by_listing:,.0f}", "at least 50,000"),
        ("registered by events, files/s", lambda at: f"{at.events:,.0f}", ""),
        ("claimed, committed, archived, files/s", lambda at: f"{at.work:,.0f}", ""),
        ("the same up to this size", lambda at: f"{at.filled_by_work:,.0f}", ""),
        ("CPU seconds a million files: registered", lambda at: f"{at.cpu_listing:,.1f}", ""),
        ("the same: claimed, committed, archived", lambda at: f"{at.cpu_work:,.1f}", ""),
        ("claim, ms (p50 / p99)", lambda at: f"{at.claim_p50 * 1e3:,.0f} / {at.claim_p99 * 1e3:,.0f}", "under 300"),
        ("claim, times the first size's", lambda at: f"{at.claim_p50 / first.claim_p50:.2f}", "at most 1.5"),
        ("commit, ms (p50 / p99)", lambda at: f"{at.commit_p50 * 1e3:,.0f} / {at.commit_p99 * 1e3:,.0f}", ""),
        ("bytes a file: table + indexes", lambda at: f"{at.table_bytes:,.0f} + {at.index_bytes:,.0f}", "under 500"),
        (
            "the same before `shrink`, and its seconds",
            lambda at: f"{at.bytes_before_shrinking:,.0f}, {at.shrinking:.1f}",
            "",
        ),
        ("memory of the listing, MB", lambda at: f"{at.listing_memory / 1e6:,.0f}", "under 200"),
        ("`lake status`, s", lambda at: f"{at.status:.2f}", "under 1"),
        ("one file by its key, ms", lambda at: f"{at.find * 1e3:.1f}", ""),
    ]
    if options.naive:
        lines += [
            ("naive: registered, files/s", lambda at: f"{at.naive_listing:,.0f}", ""),
            ("naive: claimed, committed, archived, files/s", lambda at: f"{at.naive_work:,.0f}", ""),
            ("naive: the same up to this size", lambda at: f"{at.naive_filled_by_work:,.0f}", ""),
            (
                "naive: claim, ms (p50 / p99)",
                lambda at: f"{at.naive_claim_p50 * 1e3:,.0f} / {at.naive_claim_p99 * 1e3:,.0f}",
                "",
            ),
            (
                "naive: commit, ms (p50 / p99)",
                lambda at: f"{at.naive_commit_p50 * 1e3:,.0f} / {at.naive_commit_p99 * 1e3:,.0f}",
                "",
            ),
            ("naive: bytes a file", lambda at: f"{at.naive_bytes:,.0f}", ""),
            ("naive: CPU seconds a million files: registered", lambda at: f"{at.naive_cpu_listing:,.1f}", ""),
            ("naive: the same: claimed, committed, archived", lambda at: f"{at.naive_cpu_work:,.1f}", ""),
        ]
    sizes = [f"{at.files:,}" for at in figures]
    return Sheet(
        f"{options.new:,} files by a listing and as many by events, on top of so many that SUCCEEDED; "
        f"{options.workers} workers, manifests of {options.manifest_files:,}",
        ["", *sizes, "target"],
        [[name, *(text(at) for at in figures), target] for name, text, target in lines],
        frozenset(sizes),
    )


def _number(text: str) -> int:
    return int(float(text.rstrip("kM")) * _UNITS.get(text[-1], 1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.ledger", description="Measure the ledger.")
    numbers = lambda text: [_number(part) for part in text.split(",")]  # noqa: E731
    parser.add_argument("--sizes", type=numbers, default="10k,1M,10M", help="files SUCCEEDED (default: %(default)s)")
    parser.add_argument("--new", type=_number, default="100k", help="files that come then (default: %(default)s)")
    parser.add_argument("--pending", type=_number, default="1M", help="files waiting at the end (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=4, help="that claim and commit (default: %(default)s)")
    parser.add_argument("--manifest-files", type=_number, default="10k", help="(default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="--sizes 10k,100k --new 20k --pending 100k")
    parser.add_argument("--no-naive", dest="naive", action="store_false", help="without the peer")
    parser.add_argument("--scratch", type=Path, help="where the database lies (default: the temporary folder)")
    parser.add_argument("--json", type=Path, help="where the figures are written as well")
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.new, options.pending, options.manifest_files = [10_000, 100_000], 20_000, 100_000, 1000
    for size, following in pairwise(options.sizes):
        if following <= size + 2 * options.new:
            parser.error(f"after {size:,} files and twice {options.new:,} new ones there are {following:,} already")
    return options


if __name__ == "__main__":
    sys.exit(main())
