"""A SELECT over a dataset's view, written as Parquet; it can read nothing else."""

from __future__ import annotations

from pathlib import Path

import duckdb

from lake_pipeline.catalog.committed import table_files
from lake_pipeline.catalog.duckdb_s3 import read_s3
from lake_pipeline.catalog.duckdb_view import view_sql
from lake_pipeline.dataset import Dataset
from lake_pipeline.errors import QueryError
from lake_pipeline.kernel.json_reading import patterns
from lake_pipeline.kernel.quoting import literal
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.models import OutputFile
from lake_pipeline.scratch import scratch_folder

_FILE_BYTES = "512MB"


def write_select(lake: Lake, dataset: Dataset, sql: str, folder: str) -> list[OutputFile]:
    """Write the rows into a new folder of the store; one file at least, also without rows.

    Raises:
        QueryError: the SQL is not one SELECT that can be evaluated on this table.
    """
    with scratch_folder() as scratch:
        written = _select(lake, dataset, sql, scratch)
        keys = [f"{folder}part-{number:04}.parquet" for number in range(len(written))]
        lake.store.upload_all([(path, key) for (path, _), key in zip(written, keys, strict=True)])
        return [OutputFile(key, rows, path.stat().st_size) for key, (path, rows) in zip(keys, written, strict=True)]


def _select(lake: Lake, dataset: Dataset, sql: str, scratch: Path) -> list[tuple[Path, int]]:
    """The local Parquet files that the SQL makes, and their rows."""
    files = table_files(lake, dataset)
    allowed, spill = scratch / "allowed", scratch / "spill"
    target = allowed / "data"
    target.mkdir(parents=True)
    try:
        (statement,) = duckdb.extract_statements(sql)
        if statement.type != duckdb.StatementType.SELECT:
            raise QueryError("extracts.sql must be one SELECT")
        with duckdb.connect() as connection:
            connection.execute(f"SET memory_limit = {literal(lake.settings.memory)}")
            connection.execute(f"SET temp_directory = {literal(str(spill))}")
            connection.execute("SET TimeZone = 'UTC'")
            read_s3(connection)
            connection.execute(view_sql(dataset, lake.schema(dataset.name), files))
            # What a declaration says is data: its SQL may read the table's committed files, and write its own folder.
            connection.execute(f"SET allowed_paths = [{', '.join(map(literal, [*files, *patterns(files)]))}]")
            connection.execute(f"SET allowed_directories = [{literal(str(allowed))}]")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            copied = connection.execute(
                f"COPY ({statement.query.rstrip().rstrip(';')}\n) TO {literal(str(target))}"
                f" (FORMAT parquet, COMPRESSION zstd, FILE_SIZE_BYTES {literal(_FILE_BYTES)}, RETURN_STATS true)"
            ).fetchall()
    except ValueError:
        raise QueryError("extracts.sql must be one SELECT") from None
    except duckdb.Error as error:
        raise QueryError(str(error)) from error
    # data_2 comes before data_10: files in the order of the rows.
    return sorted(((Path(path), rows) for path, rows, *_ in copied), key=lambda file: (len(file[0].name), file[0]))
