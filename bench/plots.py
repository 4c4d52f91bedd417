"""Draws what the benchmarks wrote as JSON, for docs/performance.md and docs/ledger.md."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot

_WIDTH = 9.0  # inches
_BASE = "duckdb"
# An SVG of the same figures is the same file.
_METADATA = {"Date": None, "Creator": None}


def draw(results: Path, images: Path) -> list[Path]:
    """Draw each `convert.json` and `ledger.json` that is there; the files written, as SVG."""
    drawn = []
    for name, plot in _PLOTS.items():
        source = results / f"{name}.json"
        if source.exists():
            target = images / f"bench-{name}.svg"
            with matplotlib.rc_context({"svg.hashsalt": name}):
                plot(json.loads(source.read_text()))
                pyplot.savefig(target, metadata=_METADATA, bbox_inches="tight")
                pyplot.close()
            drawn.append(target)
    return drawn


def relative(trials: list[dict[str, Any]], figure: str) -> dict[str, dict[str, float]]:
    """Case → peer → how many times bare DuckDB's median it used; cases that DuckDB did not do are left out."""
    used: dict[tuple[str, str], list[float]] = {}
    for trial in trials:
        used.setdefault((trial["case"], trial["peer"]), []).append(trial["usage"][figure])
    medians = {at: median(values) for at, values in used.items()}
    cases = dict.fromkeys(case for case, peer in medians if peer == _BASE)
    return {
        case: {peer: value / medians[case, _BASE] for (at, peer), value in medians.items() if at == case}
        for case in cases
    }


def _convert(measured: dict[str, Any]) -> None:
    figure, axes = pyplot.subplots(2, 1, figsize=(_WIDTH, 7), sharex=True)
    for axis, (name, label) in zip(axes, (("wall_seconds", "seconds"), ("cpu_seconds", "CPU seconds")), strict=True):
        cases = relative(measured["trials"], name)
        peers = list(dict.fromkeys(peer for found in cases.values() for peer in found))
        width = 0.8 / max(len(peers), 1)
        for number, peer in enumerate(peers):
            at = [place + number * width for place, case in enumerate(cases) if peer in cases[case]]
            axis.bar(at, [found[peer] for found in cases.values() if peer in found], width, label=peer)
        axis.set_yscale("log")
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set_ylabel(f"{label}, bare DuckDB's = 1")
        axis.set_xticks([place + 0.4 - width / 2 for place in range(len(cases))], list(cases))
    axes[0].legend(ncols=4, fontsize="small")
    figure.suptitle("Conversion of the same files to the same rows")


def _ledger(measured: dict[str, Any]) -> None:
    sizes = measured["sizes"]
    files = [at["files"] for at in sizes]
    figure, axes = pyplot.subplots(1, 3, figsize=(_WIDTH, 3.2))

    def lines(axis: Any, title: str, curves: dict[str, Callable[[dict[str, Any]], float]], target: float) -> None:
        for label, value in curves.items():
            axis.plot(files, [value(at) for at in sizes], marker="o", label=label)
        axis.axhline(target, color="grey", linestyle="--", linewidth=0.8, label="to reach")
        axis.set_xscale("log")
        axis.set_ylim(bottom=0)
        axis.set_title(title, fontsize="medium")
        axis.set_xlabel("files behind")
        axis.legend(fontsize="x-small")

    lines(axes[0], "files registered a second", {"listing": lambda at: at["listing"]}, 50_000)
    claims: dict[str, Callable[[dict[str, Any]], float]] = {
        "p50": lambda at: at["claim_p50"],
        "p99": lambda at: at["claim_p99"],
    }
    lines(axes[1], "seconds to claim 10,000 files", claims, 0.3)
    lines(axes[2], "bytes a file", {"tables and indexes": lambda at: at["table_bytes"] + at["index_bytes"]}, 500)
    figure.tight_layout()


_PLOTS: dict[str, Callable[[dict[str, Any]], None]] = {"convert": _convert, "ledger": _ledger}
