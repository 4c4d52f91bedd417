"""Whoever kills: workers with their children and without, Dagster's daemon and what launches runs, Postgres."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import psutil

from lake_pipeline_tests.chaos.journal import Journal
from lake_pipeline_tests.chaos.workers import LAKE, Slot, Workers

_T = TypeVar("_T")

_GROWN = 6  # seconds

# How often, compared with one another.
WEIGHTS = {
    "worker": 3,
    "worker tree": 3,
    "engine": 3,
    "daemon": 1,
    "run launcher": 2,
    "run worker": 4,
    "backend": 2,
    "connection": 3,
    "postmaster": 2,
    "requeue": 4,
}


class Killer:
    """Decides by its own stream what to kill next; where there is none of it, nothing is killed."""

    def __init__(self, seed: str, journal: Journal, workers: Workers, postgres: Path) -> None:
        self._random = random.Random(f"{seed}/killer")
        self._journal, self._workers, self._postgres = journal, workers, postgres
        self._acts: dict[str, Callable[[float], str]] = {
            "worker": self._worker,
            "worker tree": self._worker_tree,
            "engine": self._engine,
            "daemon": self._daemon,
            "run launcher": self._run_launcher,
            "run worker": self._run_worker,
            "backend": self._backend,
            "connection": self._connection,
            "postmaster": self._postmaster,
            "requeue": self._requeue,
        }

    def pause(self) -> float:
        """Seconds to the next strike."""
        return self._random.uniform(0.5, 4.0)

    def strike(self) -> None:
        """Kill something."""
        kind = self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        lot = self._random.random()
        with suppress(psutil.Error, ProcessLookupError):
            if hit := self._acts[kind](lot):
                self._journal.tell(kind, hit)

    def _worker(self, lot: float) -> str:
        slot = self._slot(lot)
        if slot is None or slot.process is None:
            return ""
        slot.killed = True
        slot.process.kill()
        return f"{slot.name} {slot.process.pid} without its children"

    def _worker_tree(self, lot: float) -> str:
        slot = self._slot(lot)
        if slot is None or slot.process is None:
            return ""
        slot.killed = True
        family = [slot.process, *slot.process.children(recursive=True)]
        return f"{slot.name} {self._kill([found for found in family if not found.name().startswith('postgres')])}"

    def _slot(self, lot: float) -> Slot | None:
        """One of those that have come to work: before, there is nothing to interrupt."""
        now = time.time()
        workers = [slot for slot in self._workers.slots.values() if slot.name != "daemon" and slot.process is not None]
        return _pick([slot for slot in workers if slot.process and now - slot.process.create_time() > _GROWN], lot)

    def _engine(self, lot: float) -> str:
        return self._kill_one(lot, "convert.py")

    def _daemon(self, _: float) -> str:
        slot = self._workers.slots["daemon"]
        if slot.process is None or slot.process.poll() is not None:
            return ""
        slot.killed = True
        slot.process.kill()
        return str(slot.process.pid)

    def _run_launcher(self, lot: float) -> str:
        """The code server, which starts runs as its children; every other time they die with it."""
        servers = self._processes("api grpc")
        server = _pick(servers, lot)
        if server is None:
            return ""
        runs = server.children(recursive=True)
        return self._kill([server, *(runs if int(lot * 1000) % 2 else [])])

    def _run_worker(self, lot: float) -> str:
        runs = [run for server in self._processes("api grpc") for run in server.children()]
        found = _pick(runs, lot)
        return self._kill([found]) if found is not None else ""

    def _backend(self, lot: float) -> str:
        return self._signal_backend(lot, signal.SIGKILL)

    def _connection(self, lot: float) -> str:
        return self._signal_backend(lot, signal.SIGTERM)

    def _signal_backend(self, lot: float, number: signal.Signals) -> str:
        server = self._server()
        if server is None:
            return ""
        backends = [child for child in server.children() if "[local]" in " ".join(child.cmdline())]
        found = _pick(backends, lot)
        if found is None:
            return ""
        what = " ".join(found.cmdline())
        found.send_signal(number)
        return f"{found.pid} {what}"

    def _postmaster(self, _: float) -> str:
        server = self._server()
        return self._kill([server]) if server is not None else ""

    def _server(self) -> psutil.Process | None:
        try:
            pid = int((self._postgres / "postmaster.pid").read_text().splitlines()[0])
            server = psutil.Process(pid)
        except (OSError, IndexError, ValueError, psutil.Error):
            return None
        return server if server.name().startswith("postgres") else None

    def _requeue(self, lot: float) -> str:
        """No kill of its own: files are sent back meanwhile, by a process that may be armed."""
        events = sorted(key for dataset, key in self._journal.versions if dataset == "events")
        if not events:
            return ""
        key = events[int(lot * len(events))]
        what = (
            ("--status", ("SUCCEEDED", "QUARANTINED", "FAILED")[int(lot * 999) % 3]) if lot < 0.15 else ("--key", key)
        )
        armed = ("", "requeue.changing=kill", "requeue.changed=kill")[int(lot * 997) % 3]
        process = self._workers.start("requeue", [*LAKE, "requeue", "events", *what], armed)
        self._workers.others.append(process)
        return f"{process.pid} {' '.join(what)} {armed}"

    def _kill_one(self, lot: float, command: str) -> str:
        found = _pick(self._processes(command), lot)
        return self._kill([found]) if found is not None else ""

    def _processes(self, command: str) -> list[psutil.Process]:
        found = []
        for process in self._workers.processes():
            with suppress(psutil.Error):
                if command in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def _kill(self, processes: list[psutil.Process]) -> str:
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        return ", ".join(str(process.pid) for process in processes)


def _pick(found: Sequence[_T], lot: float) -> _T | None:
    return found[int(lot * len(found))] if found else None
