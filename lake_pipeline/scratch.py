"""Folders on this machine's disk for copies and spilling, which no killed process leaves for ever."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lake_pipeline.workers import is_dead, worker_name

_PREFIX = "lake-scratch-"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder below the system's temporary one (`TMPDIR`), gone at the end.

    Folders of processes that were killed on this machine go first: a killed conversion may have held gigabytes.
    """
    home = Path(tempfile.gettempdir())
    for folder in home.glob(f"{_PREFIX}*"):
        worker, _, _ = folder.name.removeprefix(_PREFIX).rpartition("~")
        if is_dead(worker.replace("~", "/")):
            shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{worker_name().replace('/', '~')}~", dir=home) as folder_name:
        yield Path(folder_name)
