"""What a person at a terminal sees, and a pipe does not."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path
from typing import Any

from lake_pipeline_tests.command_line import COMMAND, LakeCommand, lake_command
from lake_pipeline_tests.lakes import EVENTS, event


def on_a_terminal(lake: LakeCommand, *arguments: str, columns: int = 100) -> str:
    """All that the command writes to a terminal of this width, without colours and cursor movements."""
    ours, its = pty.openpty()
    variables = lake.environment | {"TERM": "xterm", "COLUMNS": str(columns), "NO_COLOR": ""}
    with subprocess.Popen([*COMMAND, *arguments], env=variables, stdin=its, stdout=its, stderr=its) as process:
        os.close(its)
        written = b""
        while True:
            try:
                written += os.read(ours, 65536)
            except OSError:  # how Linux says that the last writer has gone
                break
    os.close(ours)
    assert process.returncode == 0, written.decode()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode()).replace("\r\n", "\n")


def test_a_terminal_gets_a_bar_tables_and_wide_rows_as_lists(tmp_path: Path, database_url: str) -> None:
    lake = lake_command(tmp_path / "home", database_url, EVENTS)
    more: dict[str, Any] = {f"measure_{number}": number for number in range(12)}
    lake.land("raw/2026/week07/[b]a[/b]\u202e.json", event(1, **more))

    ran = on_a_terminal(lake, "run")
    assert "0/1 files" in ran
    assert "events 2026-week07.0001: done in" in ran

    files = on_a_terminal(lake, "files", columns=200)
    assert "──────" in files
    assert "raw/2026/week07/[b]a[/b]\\u202e.json" in files, "markup and control characters are shown, not obeyed"

    assert re.search(r"^measure_11 +11 *$", on_a_terminal(lake, "query", "from events"), re.MULTILINE)
