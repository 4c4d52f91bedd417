"""What a conversion may use of its machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

from lake_pipeline.kernel.quoting import literal
from lake_pipeline.notation import bytes_of

# What a conversion holds beside DuckDB (measured: 330 MB with two threads): Python and its libraries, and texts on
# their way, several megabytes of them for each thread.
_BESIDE_DUCKDB = 320 * 2**20
_BESIDE_DUCKDB_BY_THREAD = 32 * 2**20
# DuckDB holds a buffer for each open Hive partition, so with less it may fail.
_LEAST_FOR_DUCKDB = 256 * 2**20
# DuckDB builds several row groups at once; a fourth of its memory for two threads' was too much, an eighth was not.
_ROW_GROUPS_IN_MEMORY = 16


@dataclass(frozen=True)
class Means:
    """A local folder for copies and spilling, threads, and memory such as `2GiB`.

    The memory is DuckDB's, or that of the `whole_process` where a conversion has one to itself.
    """

    scratch: Path
    threads: int
    memory: str
    whole_process: bool = False

    @property
    def row_group_bytes(self) -> int:
        """What one row group may hold before compression."""
        return bytes_of(self.memory) // _ROW_GROUPS_IN_MEMORY

    @property
    def duckdb_bytes(self) -> int:
        """DuckDB's part of the memory."""
        size = bytes_of(self.memory)
        if not self.whole_process:
            return size
        beside = _BESIDE_DUCKDB + self.threads * _BESIDE_DUCKDB_BY_THREAD
        return max(size - beside, min(size, _LEAST_FOR_DUCKDB))

    def connect(self, *, in_order: bool = False) -> duckdb.DuckDBPyConnection:
        """A DuckDB of its own, within these limits; `in_order` keeps rows in the order that they come in."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        connection = duckdb.connect()
        connection.execute(f"SET threads = {self.threads}")
        connection.execute(f"SET memory_limit = '{self.duckdb_bytes}B'")
        connection.execute(f"SET temp_directory = {literal(str(self.scratch / 'spill'))}")
        connection.execute(f"SET preserve_insertion_order = {'true' if in_order else 'false'}")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET autoinstall_known_extensions = false")
        return connection
