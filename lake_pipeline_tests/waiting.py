"""Waiting for what another process or thread does."""

from __future__ import annotations

import time
from collections.abc import Callable

_SECONDS = 60


def until(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds; fail the test if it never does."""
    deadline = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.02)
