"""SIGTERM kept from Dagster, for who has a handler of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dagster._utils import interrupts


@contextmanager
def own_sigterm() -> Iterator[None]:
    """Leave SIGTERM's handler as it is; Dagster gives it that of Ctrl-C whenever it changes the latter."""
    kept = interrupts.setup_interrupt_handlers
    interrupts.setup_interrupt_handlers = lambda: None
    try:
        yield
    finally:
        interrupts.setup_interrupt_handlers = kept
