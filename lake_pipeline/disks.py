"""Disks of this machine that are full: which, and what to do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lake_pipeline.errors import DiskFull

# As the system, Rust, Arrow and DuckDB say it; the last is of DuckDB, which spills no more than the disk has room for.
_SIGNS = ("No space left on device", "Disk quota exceeded", "File too large", "failed to offload data block")


def is_full(error: BaseException | None) -> bool:
    """Whether a full disk, or a quota, is behind an error."""
    while error is not None:
        if any(sign in str(error) for sign in _SIGNS):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def naming_full_disks(places: dict[str, Path]) -> Iterator[None]:
    """Say of what a full disk made fail how much is free where; `places` are folders by the setting that moves them.

    Raises:
        DiskFull: a disk is full.
    """
    try:
        yield
    except Exception as error:
        if not is_full(error):
            raise
        free = "; ".join(f"{_free(folder)} in {folder} ({setting})" for setting, folder in places.items())
        raise DiskFull(f"{free}. Make room, or set another place: {str(error).splitlines()[0]}") from error


def _free(folder: Path) -> str:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    usage = shutil.disk_usage(there)
    return f"{usage.free:,} of {usage.total:,} bytes are free"
