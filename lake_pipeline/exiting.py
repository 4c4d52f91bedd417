"""Ending a program at once, instead of taking it apart first."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ending_at_once() -> Iterator[None]:
    """End the process soon after the block, as the block ended, without freeing what it holds.

    After Dagster was imported, freeing takes most of a second. For the first thing that a program does: other threads
    are waited for as ever, and what is registered with `atexit` from here on is done first.
    """
    statuses: list[int] = []
    atexit.register(_end, statuses)
    try:
        yield
    except SystemExit as ending:
        if ending.code is None or isinstance(ending.code, int):
            statuses.append(ending.code or 0)
        raise
    statuses.append(0)


def _end(statuses: list[int]) -> None:
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return  # Python knows what to do where nobody reads
    if statuses:
        os._exit(statuses[0])
