"""A dataset's table as a DuckDB view over its committed files; pure."""

from __future__ import annotations

from collections.abc import Mapping

from lake_pipeline.dataset import Dataset
from lake_pipeline.kernel.json_reading import read_sql
from lake_pipeline.kernel.quoting import identifier, literal
from lake_pipeline.kernel.transform import ranking
from lake_pipeline.output import partition_keys
from lake_pipeline.schemas import Schema


def view_sql(dataset: Dataset, schema: Schema, files: Mapping[str, str | None]) -> str:
    """The view's definition: the schema's columns in order, then the Hive keys that are computed."""
    keys = partition_keys(dataset.output.partition_by)
    names = [column.name for column in schema.columns]
    computed = [key for key, part, _ in keys if part or key not in names]
    selected = ", ".join(identifier(name) for name in [*names, "_source_file", "_rescued", *computed])
    view = f"CREATE OR REPLACE VIEW {identifier(dataset.name)} AS SELECT {selected} FROM"
    if not files:
        nothing = ", ".join(f"NULL AS {identifier(name)}" for name in [*names, "_source_file", "_rescued", *computed])
        return f"{view} (SELECT {nothing}) WHERE false"
    if dataset.output.format == "json":
        sources = {path: key or "" for path, key in files.items()}
        return f"{view} ({read_sql(schema.columns, sources)})"
    types = ", ".join(f"{literal(key)}: {'BIGINT' if part else 'VARCHAR'}" for key, part, _ in keys)
    hive = f", hive_partitioning = true, hive_types = {{{types}}}" if keys else ", hive_partitioning = false"
    rows = f"read_parquet([{', '.join(map(literal, files))}], union_by_name = true{hive})"
    return f"{view} {rows}{_one_row_a_key(dataset, schema)}"


def _one_row_a_key(dataset: Dataset, schema: Schema) -> str:
    """What keeps a row from being shown beside its equals in other manifests, which each hold one."""
    rule = dataset.transform.deduplicate
    names = {column.name.lower(): identifier(column.name) for column in schema.columns}
    if rule is None or any(key.lower() not in names for key in rule.keys):
        return ""
    keys = [names[key.lower()] for key in rule.keys]
    order = ranking(rule, schema, [identifier("_source_file")])
    rank = f"row_number() OVER (PARTITION BY {', '.join(keys)} ORDER BY {order}) = 1"
    return f" QUALIFY {' OR '.join([rank, *(f'{key} IS NULL' for key in keys)])}"
