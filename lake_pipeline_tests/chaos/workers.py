"""Four workers as processes, started again whenever they end: two loops, plain `lake run`s, Dagster's daemon."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import psutil

from lake_pipeline_tests.chaos.journal import Journal

LAKE = [sys.executable, "-m", "lake_pipeline.cli"]
_OURS = [sys.executable, "-m", "lake_pipeline_tests.chaos.looping"]
COMMANDS = {
    "loop-1": [*_OURS, "loop"],
    "loop-2": [*_OURS, "loop"],
    "run": [*LAKE, "run"],
    "daemon": [*_OURS, "daemon"],
}

# Seconds that are longer than a lease.
OUTLIVED = 135


@dataclass
class Slot:
    """A worker's place: the process in it, if it runs, what it was armed with, and when the next one may start."""

    name: str
    process: psutil.Popen | None = None
    armed: str = ""
    killed: bool = False
    start_at: float = 0.0


@dataclass
class Workers:
    """Every process of the lake, and what befell them; `points` are armed in turn."""

    home: Path
    environment: dict[str, str]
    journal: Journal
    seed: str
    points: list[str]
    slots: dict[str, Slot] = field(default_factory=lambda: {name: Slot(name) for name in COMMANDS})
    others: list[psutil.Popen] = field(default_factory=list)
    armed: Counter[str] = field(default_factory=Counter)
    reached: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random = random.Random(f"{self.seed}/workers")
        self._armings = self._arm()
        self._frozen: dict[int, float] = {}
        (self.home / "logs").mkdir(exist_ok=True)

    def keep(self) -> None:
        """Start whoever has ended, and let go on whoever was frozen for long enough."""
        now = time.monotonic()
        for slot in self.slots.values():
            if slot.process is not None and slot.process.poll() is not None:
                self._note_end(slot)
                slot.process, slot.start_at = None, now + self._random.uniform(0.1, 1.0)
            if slot.process is None and now >= slot.start_at:
                self._start(slot)
        self._thaw(now)

    def start(self, name: str, command: list[str], armed: str) -> psutil.Popen:
        """A process of the lake in a session of its own, its output in a log of its name."""
        if armed:
            self.armed[armed.rpartition(",")[2].partition("=")[0]] += 1
        with (self.home / "logs" / f"{name}.log").open("ab") as log:
            log.write(f"--- {time.monotonic() - self.journal.began:.1f} {armed}\n".encode())
            log.flush()
            process = psutil.Popen(
                command,
                env=self.environment | {"LAKE_FAILPOINTS": armed},
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.journal.tell("start", f"{name} {process.pid} {armed}")
        return process

    def next_point(self) -> str:
        """What the next process is armed with."""
        return next(self._armings)

    def processes(self) -> list[psutil.Process]:
        """Every process of the lake but Postgres, orphans too."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                mine = process.environ().get("LAKE_HOME") == self.environment["LAKE_HOME"]
                if mine and process.status() != psutil.STATUS_ZOMBIE and not process.name().startswith("postgres"):
                    found.append(process)
        return found

    def end(self) -> None:
        """Kill every process of the lake but Postgres; the last to be killed in the attack."""
        while found := self.processes():
            for process in found:
                with suppress(psutil.Error):
                    process.kill()
            for child in self.others + [slot.process for slot in self.slots.values() if slot.process is not None]:
                child.wait()
            psutil.wait_procs(found, timeout=10)

    def _start(self, slot: Slot) -> None:
        # A daemon that dies at its first tick never starts a run.
        slot.armed = self.next_point() if self._random.random() < (0.3 if slot.name == "daemon" else 0.75) else ""
        slot.killed = False
        slot.process = self.start(slot.name, COMMANDS[slot.name], slot.armed)

    def _note_end(self, slot: Slot) -> None:
        assert slot.process is not None
        if slot.process.returncode == -signal.SIGKILL and not slot.killed:
            self.reached[slot.armed.rpartition(",")[2].partition("=")[0]] += 1
            self.journal.tell("failpoint", f"{slot.name} {slot.process.pid} {slot.armed}")
        else:
            self.journal.tell("end", f"{slot.name} {slot.process.pid} with {slot.process.returncode}")

    def _thaw(self, now: float) -> None:
        for process in self.processes_stopped():
            if process.pid not in self._frozen:
                seconds = self._random.choice((1, 3, 10, OUTLIVED))
                self._frozen[process.pid] = now + seconds
                self.journal.tell("freeze", f"{process.pid} for {seconds} s")
            elif now >= self._frozen[process.pid]:
                del self._frozen[process.pid]
                os.kill(process.pid, signal.SIGCONT)

    def processes_stopped(self) -> list[psutil.Process]:
        """Workers, or children of theirs, that a failpoint has stopped."""
        stopped = []
        for slot in self.slots.values():
            if slot.process is not None and "=freeze" in slot.armed:
                with suppress(psutil.Error):
                    family = [slot.process, *slot.process.children(recursive=True)]
                    stopped += [found for found in family if found.status() == psutil.STATUS_STOPPED]
        return stopped

    def _arm(self) -> Iterator[str]:
        for point in cycle(self.points):
            action = self._random.choices(("kill", "store", "ledger", "freeze"), (7, 1, 1, 1))[0]
            turn = self._random.choice(("", "", "", "@2"))
            # On the way there, something fails twice: what comes after a failure is to be killed too.
            others = [other for other in self.points if other != point]
            failing = [
                f"{other}={self._random.choice(('store', 'ledger'))}@{self._random.randint(1, 3)}"
                for other in self._random.sample(others, 2)
            ]
            # What is only reached where something has failed needs that at once.
            before = ["attempt.converted=store"] if point == "fail.failing" else failing
            yield ",".join([*before, f"{point}={action}{turn}"])
