"""Between the passes: how a dataset's files are looked at, and what schema and layout come of what was seen."""

from __future__ import annotations

from lake_pipeline.dataset import Dataset
from lake_pipeline.errors import SchemaConflict
from lake_pipeline.evolution import Change, evolve
from lake_pipeline.kernel.columnar import ColumnSurvey
from lake_pipeline.kernel.layout import reserved_names
from lake_pipeline.kernel.observed import Node
from lake_pipeline.kernel.survey import Survey, lens_of
from lake_pipeline.schemas import Schema, needs_parquet, type_name


def survey_of(dataset: Dataset, schema: Schema) -> Survey | ColumnSurvey:
    """The first pass over files of the dataset's format, where these columns are known."""
    rules, lens = dataset.schema_, lens_of(dataset, schema)
    if dataset.source.format == "parquet":
        return ColumnSurvey(lens, dataset.source, named=dataset.output.files == "one_to_one")
    fixed = schema.version > 0 and not rules.evolves
    return Survey(lens, dataset.source, rules.max_columns, fixed, rules.flatten.explode_path)


def settle(dataset: Dataset, known: Schema, seen: Node) -> tuple[Schema, tuple[Change, ...]]:
    """The schema of a manifest's rows, and what it adds to the known one.

    Raises:
        SchemaConflict: what was seen breaks the dataset's rules, or the known columns were another format's.
    """
    schema, changes = evolve(known, seen, dataset.schema_, reserved_names(dataset.output), dataset.transform)
    if dataset.source.format != "parquet":
        for column in schema.columns:
            if needs_parquet(column.type):
                raise SchemaConflict(
                    f"column {column.name!r} is {type_name(column.type)}, which no {dataset.source.format} value is:"
                    " source.format was parquet, and a table's columns never change; declare another dataset"
                )
    return schema, changes
