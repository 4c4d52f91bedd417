"""One command's wall-clock seconds, CPU seconds and memory, with every process that it starts.

Run as a script, this file is the launcher that stands between the benchmark and the command: it adopts the processes
that outlive their parents (the embedded Postgres is one), so that their CPU seconds are counted too.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

_SAMPLE_SECONDS = 0.1
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


@dataclass(frozen=True)
class Usage:
    """What a command took. `wall_seconds` end with the command itself, `cpu_seconds` include what it left running.

    `others_cpu_seconds` is what the rest of the machine used meanwhile, the hypervisor's share included: with as many
    cores as there are, it says how far the wall-clock can be trusted. `peak_bytes` is the largest sum of resident
    memory over the command's processes, sampled; shared pages count in each.
    """

    exit_code: int
    started_at: float
    wall_seconds: float
    cpu_seconds: float
    others_cpu_seconds: float
    peak_bytes: int


def measure(command: list[str], *, env: Mapping[str, str], folder: Path, log: Path) -> Usage:
    """Run a command in a folder, its output in `log`, to its end and to the end of all that it started."""
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".json") as document, log.open("ab") as output:
        launcher = [sys.executable, __file__, document.name, *command]
        with subprocess.Popen(
            launcher,
            env=env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            try:
                process.wait()
            except BaseException:
                os.killpg(process.pid, signal.SIGTERM)  # whoever stops the benchmark stops what it started
                raise
        return Usage(**json.loads(Path(document.name).read_bytes()))


def _launch(command: list[str]) -> Usage:
    _adopt_orphans()
    peak = _Peak()
    busy = _machine_cpu_seconds()
    started_at, start = time.time(), time.monotonic()
    pid = os.posix_spawnp(command[0], command, os.environ)
    code, wall = 0, 0.0
    with suppress(ChildProcessError):  # says that no one is left
        while True:
            ended, status = os.waitpid(-1, 0)
            if ended == pid:
                code, wall = os.waitstatus_to_exitcode(status), time.monotonic() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    others = max(_machine_cpu_seconds() - busy - cpu, 0.0)
    return Usage(code, started_at, wall, cpu, others, peak.stop())


def _machine_cpu_seconds() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def _adopt_orphans() -> None:
    if sys.platform == "linux":  # elsewhere they are left out
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class _Peak:
    """Samples the memory of this process's descendants until it is stopped."""

    def __init__(self) -> None:
        self._bytes = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._done.set()
        self._thread.join()
        return self._bytes

    def _sample(self) -> None:
        me = psutil.Process()
        while not self._done.wait(_SAMPLE_SECONDS):
            total = 0
            for process in me.children(recursive=True):
                with suppress(psutil.Error):
                    total += process.memory_info().rss
            self._bytes = max(self._bytes, total)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(asdict(_launch(sys.argv[2:]))))
