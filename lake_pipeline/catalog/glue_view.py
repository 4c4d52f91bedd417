"""The view over a deduplicated dataset's table: one row a key, also of rows in different manifests."""

from __future__ import annotations

from typing import Any

from lake_pipeline.catalog.athena import execute
from lake_pipeline.catalog.glue_api import find_table
from lake_pipeline.catalog.glue_tables import INPUT, OWNER, Document, owned, refuse_foreign
from lake_pipeline.dataset import Dataset
from lake_pipeline.errors import CatalogError, QueryError
from lake_pipeline.kernel.quoting import identifier
from lake_pipeline.kernel.transform import ranking
from lake_pipeline.schemas import Schema
from lake_pipeline.settings import Settings

_RANK = '"lake: rank"'


def settle_view(glue: Any, settings: Settings, dataset: Dataset, schema: Schema, table: Document) -> None:
    """Make the view, by Athena, which alone knows how it stores one.

    Raises:
        CatalogConflict: someone else's table or view has the name.
        CatalogError: Athena refused.
    """
    database = settings.glue_database
    there = find_table(glue, database, dataset.name)
    if there is not None:
        refuse_foreign(there, dataset.name)
        if there.get("TableType") != "VIRTUAL_VIEW":
            glue.delete_table(DatabaseName=database, Name=dataset.name)  # from when nothing was deduplicated
    try:
        execute(settings, view_sql(database, dataset, schema, table))
    except QueryError as error:
        raise CatalogError(f"the view {dataset.name}: {error.detail}") from error
    view = find_table(glue, database, dataset.name)
    if view is not None and not owned(view, dataset.name):
        made = {name: view[name] for name in INPUT if name in view}
        made["Parameters"] = view.get("Parameters", {}) | {OWNER: dataset.name}
        glue.update_table(DatabaseName=database, TableInput=made, VersionId=view["VersionId"])


def view_sql(database: str, dataset: Dataset, schema: Schema, table: Document) -> str:
    """The view's definition in Athena's SQL; pure. `table` is the TableInput of the rows."""
    columns = [*table["StorageDescriptor"]["Columns"], *table["PartitionKeys"]]
    names = ", ".join(identifier(column["Name"]) for column in columns)
    rows = f"{identifier(database)}.{identifier(table['Name'])}"
    view = f"CREATE OR REPLACE VIEW {identifier(database)}.{identifier(dataset.name)} AS SELECT {names} FROM"
    rule = dataset.transform.deduplicate
    known = {column.name.lower(): identifier(column.name.lower()) for column in schema.columns}
    if rule is None or any(key.lower() not in known for key in rule.keys):
        return f"{view} {rows}"
    keys = [known[key.lower()] for key in rule.keys]
    rank = f"row_number() OVER (PARTITION BY {', '.join(keys)} ORDER BY {ranking(rule, schema, ['_source_file'])})"
    ranked = f"SELECT *, {rank} AS {_RANK} FROM {rows}"
    return f"{view} ({ranked}) WHERE {' OR '.join([f'{_RANK} = 1', *(f'{key} IS NULL' for key in keys)])}"
