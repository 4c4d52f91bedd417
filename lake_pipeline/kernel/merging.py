"""Small Parquet files made into one, with the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from pathlib import Path

from lake_pipeline.errors import ConservationError
from lake_pipeline.kernel.layout import parquet_options
from lake_pipeline.kernel.means import Means
from lake_pipeline.kernel.quoting import literal
from lake_pipeline.kernel.staging import rows_by_source
from lake_pipeline.output import Output


def merge_parquet(merges: Mapping[Path, list[Path]], output: Output, means: Means) -> None:
    """Write each target from its inputs, which have the same columns.

    Raises:
        ConservationError: a row was lost or doubled.
    """
    with means.connect() as connection:
        for target, inputs in merges.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            names = ", ".join(literal(str(path)) for path in inputs)
            rows = f"SELECT * FROM read_parquet([{names}], hive_partitioning = false)"
            options = ", ".join(parquet_options(output, means.row_group_bytes))
            connection.execute(f"COPY ({rows}) TO {literal(str(target))} ({options})")
    before, after = rows_by_source(list(chain.from_iterable(merges.values()))), rows_by_source(list(merges))
    if before != after:
        changed = min(key for key in before | after if before[key] != after[key])
        raise ConservationError(f"{changed}: {before[changed]:,} rows became {after[changed]:,} when files were merged")
