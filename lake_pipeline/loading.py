"""Importing what is large, such as Dagster."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def large_imports() -> Iterator[None]:
    """For a block that imports thousands of modules; what there is by then counts as there to stay.

    Nothing of a module is garbage, and looking through all of them again and again took a quarter of the seconds.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
