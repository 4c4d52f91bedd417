"""The report: the same tables for a terminal and as Markdown, and everything as JSON."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from rich import box
from rich.console import Console
from rich.table import Table

from bench.cases import CASES
from bench.ratios import Ratio
from bench.trial import Trial

_PEER_HEADER = [
    "peer",
    "wall s (min / median / max)",
    "CPU s",
    "others' CPU s",
    "CPU / duckdb's",
    "peak MB",
    "output MB",
    "output files",
    "rows",
]
_VERDICTS = {True: "PASS", False: "FAIL", None: ""}


@dataclass(frozen=True)
class Sheet:
    """A table; `figures` are the columns to be aligned on the right."""

    title: str
    header: list[str]
    rows: list[list[str]]
    figures: frozenset[str] = frozenset()

    def print(self, console: Console) -> None:
        table = Table(title=self.title, title_justify="left", box=box.SIMPLE_HEAD)
        for name in self.header:
            table.add_column(name, justify="right" if name in self.figures else "left")
        for row in self.rows:
            table.add_row(*(cell.replace("FAIL", "[red]FAIL[/]").replace("PASS", "[green]PASS[/]") for cell in row))
        console.print(table)

    def markdown(self) -> str:
        rule = ["---:" if name in self.figures else "---" for name in self.header]
        lines = [f"| {' | '.join(row)} |" for row in (self.header, rule, *self.rows)]
        return "\n".join([f"**{self.title}**", "", *lines])


def sheets(trials: list[Trial], found: list[Ratio]) -> list[Sheet]:
    """One table of peers and one of steps for each case, then the ratios."""
    made = []
    for case in dict.fromkeys(trial.case for trial in trials):
        here = [trial for trial in trials if trial.case == case]
        peers = dict.fromkeys(trial.peer for trial in here)
        by_peer = {peer: [trial for trial in here if trial.peer == peer] for peer in peers}
        rows = [_peer_row(peer, runs, by_peer.get("duckdb", [])) for peer, runs in by_peer.items()]
        name = f"{case}: {_size(here[0].size)} of {CASES[case].about}"
        rounds = max(trial.round for trial in here)
        made.append(Sheet(f"{name}, rounds: {rounds}", _PEER_HEADER, rows, frozenset(_PEER_HEADER[1:])))
        steps = [[peer, _steps(runs)] for peer, runs in by_peer.items()]
        made.append(Sheet(f"{case}, median seconds by step", ["peer", "steps"], steps))
    header = ["case", "ratio", "each round", "median", "best of each", "target", ""]
    rows = [
        [
            ratio.case,
            ratio.name,
            " ".join(f"{value:.2f}" for value in ratio.values),
            f"{ratio.median:.2f}",
            f"{ratio.best:.2f}",
            ratio.target,
            _VERDICTS[ratio.passed],
        ]
        for ratio in found
    ]
    return [*made, Sheet("Ratios, pair by pair within a round", header, rows, frozenset({"median", "best of each"}))]


def machine(trials: list[Trial]) -> dict[str, Any]:
    """What the figures were measured on."""
    loads = [trial.load for trial in trials]
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("dagster", "duckdb", "pyarrow", "pyspark", "polars", "dlt")},
        "load_average_before_trials": {"min": min(loads), "median": median(loads), "max": max(loads)},
    }


def document(trials: list[Trial], found: list[Ratio]) -> dict[str, Any]:
    return {
        "machine": machine(trials),
        "trials": [asdict(trial) for trial in trials],
        "ratios": [asdict(ratio) | {"median": ratio.median} for ratio in found],
    }


def _peer_row(peer: str, runs: list[Trial], bare: list[Trial]) -> list[str]:
    """`bare` are bare DuckDB's runs; beside them stand CPU seconds, for the machine may be shared."""
    cpu = median(run.usage.cpu_seconds for run in runs)
    walls = sorted(run.usage.wall_seconds for run in runs)
    last = runs[-1].output
    return [
        peer,
        f"{walls[0]:.1f} / {median(walls):.1f} / {walls[-1]:.1f}",
        f"{cpu:.1f}",
        f"{median(run.usage.others_cpu_seconds for run in runs):.1f}",
        f"{cpu / median(run.usage.cpu_seconds for run in bare):.2f}" if bare else "",
        f"{max(run.usage.peak_bytes for run in runs) / 1e6:,.0f}",
        f"{last.bytes / 1e6:,.1f}",
        f"{last.files:,}",
        f"{last.rows:,}",
    ]


def _steps(runs: list[Trial]) -> str:
    parts = [f"{name} {median(run.steps[name] for run in runs):.2f}" for name in runs[0].steps]
    if any(run.setup_seconds for run in runs):
        parts.append(f"(apart: an empty lake made in {median(run.setup_seconds for run in runs):.1f})")
    return ", ".join(parts)


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
