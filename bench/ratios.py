"""From trials to what the issue asks: ratios taken pair by pair within a round, and whether they reach the target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import ge, le
from statistics import median

from bench.trial import Trial

_MB = 1_000_000


@dataclass(frozen=True)
class Ratio:
    """A ratio over rounds; `passed` is None where no target is set for this size.

    `best` is the fastest of the one over the fastest of the other: what least depends on who else was at work.
    """

    name: str
    size: int
    values: tuple[float, ...]
    best: float
    target: str
    passed: bool | None

    @property
    def median(self) -> float:
        return median(self.values)


def ratios(trials: list[Trial]) -> list[Ratio]:
    """For each size: every peer's wall-clock over `lake run`'s, and the conversion step over DuckDB's bare query.

    CPU seconds stand beside the two that have targets: they say nearly the same on a busy machine as on an idle one.
    """
    found = []
    for size in dict.fromkeys(trial.size for trial in trials):
        here = [trial for trial in trials if trial.size == size]
        for peer in dict.fromkeys(trial.peer for trial in here):
            if peer == "naive_spark":
                # The process starts on both sides weigh more the less there is to convert.
                target = ("at least 4", ge, 4.0) if size >= 990 * _MB else None
                found += _ratio(f"{peer} / lake, wall-clock", here, peer, "lake", _wall, _wall, target)
                found += _ratio(f"{peer} / lake, CPU seconds", here, peer, "lake", _cpu, _cpu, None)
                target = ("at least 3", ge, 3.0) if size >= 990 * _MB else None
                found += _ratio(f"{peer} / spark, wall-clock", here, peer, "spark", _wall, _wall, target)
            elif peer not in ("lake", "kernel"):
                found += _ratio(f"{peer} / lake, wall-clock", here, peer, "lake", _wall, _wall, None)
        target = ("at most 2.2", le, 2.2) if size >= 390 * _MB else None
        name = "lake's conversion / bare DuckDB's query"
        found += _ratio(name, here, "lake", "duckdb", _step("conversion"), _step("query"), target)
        name = "the kernel's CPU seconds / bare DuckDB's"
        found += _ratio(name, here, "kernel", "duckdb", _step("conversion_cpu"), _step("query_cpu"), None)
    return found


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
    target: tuple[str, Callable[[float, float], bool], float] | None,
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
        return [Ratio(name, trials[0].size, values, best, "", None)]
    words, compare, limit = target
    return [Ratio(name, trials[0].size, values, best, words, compare(median(values), limit))]
