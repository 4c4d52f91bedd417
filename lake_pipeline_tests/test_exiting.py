"""How a program ends that is not taken apart first."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import atexit, sys, threading, time
from lake_pipeline.exiting import ending_at_once

def last():
    time.sleep(0.2)
    print("the thread ended")

with ending_at_once():
    atexit.register(print, "what was registered is done")
    threading.Thread(target=last).start()
    print("the block ended")
    {end}
"""


@pytest.mark.parametrize(
    ("end", "status", "complaint"),
    [
        ("pass", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit('a reason')", 1, "a reason"),
        ("raise ValueError('a mistake')", 1, "ValueError: a mistake"),
    ],
)
def test_everything_is_done_and_said_and_the_status_is_kept(end: str, status: int, complaint: str) -> None:
    program = PROGRAM.format(end=end)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.splitlines()) == (
        status,
        ["the block ended", "the thread ended", "what was registered is done"],
    )
    assert done.stderr.splitlines()[-1:] == ([complaint] if complaint else [])
