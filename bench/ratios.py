"""From trials to what the issue asks: ratios taken pair by pair within a round, and whether they reach the target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import ge, le
from statistics import median
from typing import TypeAlias

from bench.trial import Trial

# The process starts on both sides weigh more the less there is to convert, so small runs are held to nothing.
_ENOUGH = 390_000_000
_Target: TypeAlias = tuple[str, Callable[[float, float], bool], float]


@dataclass(frozen=True)
class Ratio:
    """A ratio over rounds; `passed` is None where no target is set for this case and size.

    `best` is the fastest of the one over the fastest of the other: what least depends on who else was at work.
    """

    case: str
    name: str
    values: tuple[float, ...]
    best: float
    target: str
    passed: bool | None

    @property
    def median(self) -> float:
        return median(self.values)


def ratios(trials: list[Trial]) -> list[Ratio]:
    """For each case: every peer's wall-clock over `lake run`'s, and the conversion step over DuckDB's bare query.

    CPU seconds stand beside the two that have targets: they say nearly the same on a busy machine as on an idle one.
    """
    found = []
    for case in dict.fromkeys(trial.case for trial in trials):
        here = [trial for trial in trials if trial.case == case]
        targets: dict[str, _Target] = {}
        if case == "files" and here[0].size >= _ENOUGH:
            targets = {
                "naive_spark": ("at least 8", ge, 8.0),
                "dlt": ("at least 40", ge, 40.0),
                "conversion": ("at most 1.4", le, 1.4),
            }
        for peer in dict.fromkeys(trial.peer for trial in here):
            if peer not in ("lake", "kernel"):
                found += _ratio(f"{peer} / lake, wall-clock", here, peer, "lake", _wall, _wall, targets.get(peer))
                found += _ratio(f"{peer} / lake, CPU seconds", here, peer, "lake", _cpu, _cpu, None)
        name = "lake's conversion / bare DuckDB's query"
        conversion = targets.get("conversion")
        found += _ratio(name, here, "lake", "duckdb", _step("conversion"), _step("query"), conversion)
        name = "the kernel's CPU seconds / bare DuckDB's"
        found += _ratio(name, here, "kernel", "duckdb", _step("conversion_cpu"), _step("query_cpu"), None)
    return found + _of_cases(trials)


def _of_cases(trials: list[Trial]) -> list[Ratio]:
    """Many small files over the same bytes in a few large ones."""
    small = [trial for trial in trials if trial.case == "small"]
    large = [trial for trial in trials if trial.case == "files"]
    if not small or not large:
        return []
    target = ("at most 2", le, 2.0) if large[0].size >= _ENOUGH else None
    mixed = [replace(trial, case="small", peer=f"{trial.peer} {trial.case}") for trial in [*small, *large]]
    return [
        *_ratio("lake: small / files, wall-clock", mixed, "lake small", "lake files", _wall, _wall, target),
        *_ratio("lake: small / files, CPU seconds", mixed, "lake small", "lake files", _cpu, _cpu, None),
        *_ratio("kernel: small / files, CPU seconds", mixed, "kernel small", "kernel files", _cpu, _cpu, None),
        *_ratio("duckdb: small / files, CPU seconds", mixed, "duckdb small", "duckdb files", _cpu, _cpu, None),
    ]


def _wall(trial: Trial) -> float:
    return trial.usage.wall_seconds


def _cpu(trial: Trial) -> float:
    return trial.usage.cpu_seconds


def _step(name: str) -> Callable[[Trial], float]:
    return lambda trial: trial.steps[name]


def _ratio(
    name: str,
    trials: list[Trial],
    above: str,
    below: str,
    of_above: Callable[[Trial], float],
    of_below: Callable[[Trial], float],
    target: _Target | None,
) -> list[Ratio]:
    by_round = {(trial.peer, trial.round): trial for trial in trials}
    values = tuple(
        of_above(trial) / of_below(other)
        for (peer, number), trial in by_round.items()
        if peer == above and (other := by_round.get((below, number)))
    )
    if not values:
        return []
    best = min(of_above(trial) for trial in trials if trial.peer == above) / min(
        of_below(trial) for trial in trials if trial.peer == below
    )
    if target is None:
        return [Ratio(trials[0].case, name, values, best, "", None)]
    words, compare, limit = target
    return [Ratio(trials[0].case, name, values, best, words, compare(median(values), limit))]
