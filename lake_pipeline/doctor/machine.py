"""This machine: Python, Java, folders, room on its disks."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lake_pipeline.doctor.examined import Examined
from lake_pipeline.doctor.findings import Finding, bad, doubtful, good
from lake_pipeline.engines.environment import spark_environment
from lake_pipeline.errors import SettingsError
from lake_pipeline.reports import size_text

# setup.py's python_requires.
_OLDEST, _NEWEST = (3, 11), (3, 13)
_LEAST_ROOM = 2**30


def look(at: Examined) -> Iterator[Finding]:
    yield judge_python(sys.version_info[:3])
    if at.settings.engine == "spark":
        try:
            yield good("Java for Spark", spark_environment(at.settings)["JAVA_HOME"])
        except SettingsError as error:
            yield bad(
                "Java for Spark", error.detail, "pip install 'lake-pipeline[spark]', or set JAVA_HOME to a Java 17"
            )
    yield _folder("LAKE_HOME", at.settings.home_dir)
    scratch = Path(tempfile.gettempdir())
    yield judge_room("TMPDIR", shutil.disk_usage(scratch).free, _room_needed(at), str(scratch))


def judge_python(version: tuple[int, int, int]) -> Finding:
    text = ".".join(map(str, version))
    if _OLDEST <= version[:2] <= _NEWEST:
        return good("Python", text)
    return bad("Python", text, "install the package with Python 3.11, 3.12 or 3.13")


def judge_room(variable: str, free: int, needed: int, folder: str) -> Finding:
    """Whether a disk has room for `needed` bytes."""
    detail = f"{size_text(free)} free in {folder}"
    if free >= needed:
        return good(variable, detail)
    mend = f"make room for {size_text(needed)}, or set {variable} to a folder of a larger disk"
    return (bad if free < _LEAST_ROOM else doubtful)(variable, detail, mend)


def _room_needed(at: Examined) -> int:
    """In S3, raw files of a manifest and what becomes of them lie on this machine while they are converted here."""
    if not at.on_s3 or at.settings.engine != "local":
        return _LEAST_ROOM
    return max([_LEAST_ROOM, *(2 * dataset.batch.max_bytes for dataset in at.datasets)])


def _folder(variable: str, folder: Path) -> Finding:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        return bad(variable, f"{there} may not be written", f"set {variable} to a folder of yours, or chown this one")
    return good(variable, str(folder))
