"""`lake run` as a process of its own, which a test kills when it has come to where the test wants it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable


def start_run(dataset: str) -> subprocess.Popen[bytes]:
    """`lake run` of a dataset, with this process's environment, in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "lake_pipeline.cli", "run", dataset],
        env=os.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill_when(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """SIGKILL the process and its children, the kernel's among them, as soon as the condition holds."""
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, "the run ended before the condition held"
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
