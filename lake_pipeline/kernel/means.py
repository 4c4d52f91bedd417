"""What a conversion may use of its machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

from lake_pipeline.kernel.quoting import literal
from lake_pipeline.notation import bytes_of

# DuckDB builds several row groups at once; a fourth of its memory for two threads' was too much, an eighth was not.
_ROW_GROUPS_IN_MEMORY = 16


@dataclass(frozen=True)
class Means:
    """A local folder for copies and spilling, threads, and DuckDB memory such as `2GiB`."""

    scratch: Path
    threads: int
    memory: str

    @property
    def row_group_bytes(self) -> int:
        """What one row group may hold before compression."""
        return bytes_of(self.memory) // _ROW_GROUPS_IN_MEMORY

    def connect(self, *, in_order: bool = False) -> duckdb.DuckDBPyConnection:
        """A DuckDB of its own, within these limits; `in_order` keeps rows in the order that they come in."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        connection = duckdb.connect()
        connection.execute(f"SET threads = {self.threads}")
        connection.execute(f"SET memory_limit = {literal(self.memory)}")
        connection.execute(f"SET temp_directory = {literal(str(self.scratch / 'spill'))}")
        connection.execute(f"SET preserve_insertion_order = {'true' if in_order else 'false'}")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET autoinstall_known_extensions = false")
        return connection
