"""The real command `lake`, as a process, in a lake of a test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

COMMAND = (sys.executable, "-m", "lake_pipeline.cli")


@dataclass(frozen=True)
class LakeCommand:
    """`lake` on the lake under `home`."""

    home: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """This process's, without what says where a lake is or how wide a terminal is."""
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("LAKE_", "DAGSTER_")) and name not in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE")
        }
        return clean | {"LAKE_HOME": str(self.home), "LAKE_THREADS": "2", **self.variables}

    def __call__(self, *arguments: str, expect: int = 0, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run it to its end, which must have the exit code `expect`."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == expect, f"{arguments} exited with {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin it, and be the one to end it."""
        return subprocess.Popen(
            [*COMMAND, *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def json(self, *arguments: str) -> Any:
        """The document that a command prints."""
        return json.loads(self(*arguments, "--json").stdout)

    def json_lines(self, *arguments: str) -> list[dict[str, Any]]:
        """The documents that a command prints, one a line."""
        return [json.loads(line) for line in self(*arguments, "--json").stdout.splitlines()]

    def land(self, key: str, *records: dict[str, Any] | str) -> None:
        """Put an NDJSON file into the store; a string is a line as it stands."""
        path = self.home / "store" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (record if isinstance(record, str) else json.dumps(record) for record in records)
        path.write_text("".join(f"{line}\n" for line in lines))


def lake_command(home: Path, database_url: str, *declarations: dict[str, Any]) -> LakeCommand:
    """The command on a new lake with these declarations."""
    folder = home / "datasets"
    folder.mkdir(parents=True)
    for declaration in declarations:
        (folder / f"{declaration['name']}.yaml").write_text(yaml.safe_dump(declaration))
    return LakeCommand(home, {"LAKE_DATASETS": str(folder), "LAKE_DATABASE_URL": database_url})
