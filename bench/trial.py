"""One peer, once: run it on the raw files in a scratch folder, read back what it wrote, and clear up."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.cases import Case
from bench.measure import Usage
from bench.output import Output, read_output
from bench.peers import Peer

_IDLE_PERCENT = 10.0


@dataclass(frozen=True)
class Trial:
    """A measured run. `size` is of the raw files in bytes, `load` the machine's one-minute load average before it."""

    case: str
    peer: str
    size: int
    round: int
    load: float
    usage: Usage
    steps: dict[str, float]
    setup_seconds: float
    output: Output


def run_trial(case: Case, peer: Peer, raw: list[Path], number: int, scratch: Path, patience: float) -> Trial:
    """Run a peer, once the machine is idle or `patience` seconds are over.

    Raises:
        EngineError: it failed; the message ends with its output.
    """
    folder = scratch / peer.name
    folder.mkdir()
    _await_idle(patience)
    try:
        load = os.getloadavg()[0]
        outcome = peer.run(case.name, raw, folder)
        output = read_output(outcome.output, case.values if peer.scalars else None)
    finally:
        shutil.rmtree(folder)
    size = sum(path.stat().st_size for path in raw)
    return Trial(case.name, peer.name, size, number, load, outcome.usage, outcome.steps, outcome.setup_seconds, output)


def _await_idle(patience: float) -> None:
    """Others may work on this machine too; a benchmark can wait."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and psutil.cpu_percent(interval=1.0) > _IDLE_PERCENT:
        pass
