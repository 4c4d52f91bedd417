"""`lake datasets`: the declarations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lake_pipeline.commands.options import Json
from lake_pipeline.declarations import load_dataset, load_datasets, schema_json
from lake_pipeline.errors import DeclarationError
from lake_pipeline.reports import print_json, print_table, say
from lake_pipeline.settings import load_settings

app = typer.Typer(pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def datasets(context: typer.Context, json: Json = False) -> None:
    """Show the declared datasets, or check declarations.

    JSON: an object with one entry a dataset, its declaration with all defaults.
    """
    if context.invoked_subcommand is not None:
        return
    declared = load_datasets(load_settings().datasets)
    if json:
        print_json({name: dataset.model_dump(mode="json", by_alias=True) for name, dataset in declared.items()})
        return
    print_table(
        ["dataset", "raw files", "format", "landing group", "table", "partitioned by", "description"],
        [
            [
                name,
                dataset.source.prefix,
                dataset.source.format,
                dataset.source.group,
                dataset.output.prefix,
                ", ".join(dataset.output.partition_by),
                dataset.description,
            ]
            for name, dataset in declared.items()
        ],
    )


@app.command(epilog="Example: lake datasets validate my-datasets/events.yaml")
def validate(
    path: Annotated[Path, typer.Argument(help="A declaration, or a directory of them.")],
) -> None:
    """Check declarations; print each problem with its file, line and field."""
    try:
        found = list(load_datasets(path).values()) if path.is_dir() else [load_dataset(path)]
    except DeclarationError as error:
        say(error.detail)
        raise typer.Exit(1) from None
    say(f"{path}: {', '.join(dataset.name for dataset in found)}: no problems")


@app.command("json-schema", epilog="Example: lake datasets json-schema > dataset.schema.json")
def json_schema() -> None:
    """Print the JSON Schema of a declaration, for editors."""
    print_json(schema_json())
