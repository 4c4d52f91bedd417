"""Told to stop by SIGTERM: what is under way may end within a grace time, and nothing more is begun."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType


@dataclass
class Drain:
    """Whether this process was told to stop, and whether its grace time was over before it had ended.

    Set `ended` once nothing is under way any more.
    """

    told: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    expired: bool = False


@contextmanager
def draining(grace: float, on_told: Callable[[], object]) -> Iterator[Drain]:
    """Take the first SIGTERM for a wish; after `grace` seconds, or at the second, it is as if Ctrl-C had been pressed.

    For the main thread. `on_told` is called in another one.
    """
    drain = Drain()

    def be_patient() -> None:
        on_told()
        if not drain.ended.wait(grace):
            drain.expired = True
            os.kill(os.getpid(), signal.SIGINT)

    def handle(_: int, __: FrameType | None) -> None:
        if drain.told.is_set():
            drain.ended.set()  # nobody is patient any more
            signal.raise_signal(signal.SIGINT)
        else:
            drain.told.set()
            threading.Thread(target=be_patient, name="draining", daemon=True).start()

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield drain
    finally:
        drain.ended.set()
        signal.signal(signal.SIGTERM, before)
