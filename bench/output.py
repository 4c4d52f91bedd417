"""What a peer wrote, read back: correctness comes before speed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

from lake_pipeline.errors import ConservationError


@dataclass(frozen=True)
class Output:
    """The Parquet of one run; `digest` is over ids and, where they were asked for, scalar columns."""

    rows: int
    files: int
    bytes: int
    ids: str
    digest: str | None


def read_output(folder: Path, columns: str | None) -> Output:
    """What lies below a folder; `columns` are the scalar ones that the digest is taken of."""
    paths = [path for path in folder.rglob("*.parquet") if path.is_file() and "_dlt_" not in str(path)]
    values = f"bit_xor(hash({columns}))::VARCHAR" if columns else "NULL"
    with duckdb.connect() as connection:
        query = (
            f"SELECT count(*), bit_xor(hash(id))::VARCHAR, {values} FROM read_parquet($1, hive_partitioning = false)"
        )
        found = connection.execute(query, [[str(path) for path in paths]]).fetchall()
    rows, ids, digest = found[0]
    return Output(rows, len(paths), sum(path.stat().st_size for path in paths), ids, digest)


def check_equal(peer: str, output: Output, expected_rows: int, others: dict[str, Output]) -> None:
    """Compare with the raw records, and with what the other peers wrote from them.

    Raises:
        ConservationError: a row is missing, doubled or changed.
    """
    if output.rows != expected_rows:
        raise ConservationError(f"{peer} wrote {output.rows:,} rows of {expected_rows:,} records")
    for other, theirs in others.items():
        if output.ids != theirs.ids:
            raise ConservationError(f"{peer} and {other} wrote different ids")
        if output.digest and theirs.digest and output.digest != theirs.digest:
            raise ConservationError(f"{peer} and {other} wrote different values")
