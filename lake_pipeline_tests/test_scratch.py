"""Scratch folders: a process that is killed does not fill the disk for ever."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lake_pipeline.scratch import scratch_folder

HOLD = """
import sys
from lake_pipeline.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "copy").write_bytes(bytes(1000))
    print(folder, flush=True)
    sys.stdin.read()
"""


def holder() -> tuple[subprocess.Popen[str], Path]:
    """A process that holds a scratch folder until its standard input ends."""
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_the_folder_of_a_killed_process_goes_when_the_next_begins_and_that_of_a_living_one_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # it is remembered from before
    dead, left = holder()
    living, held = holder()
    with dead, living:
        dead.kill()
        dead.wait(timeout=30)
        assert (left / "copy").exists()

        with scratch_folder() as folder:
            assert folder.parent == tmp_path
            assert not left.exists()
            assert (held / "copy").exists()

        assert not folder.exists()
        living.communicate(timeout=30)
    assert list(tmp_path.iterdir()) == []
