"""Arguments and options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

DatasetName = Annotated[str, typer.Argument(help="A declared dataset, such as events.")]
MaybeDatasetName = Annotated[str | None, typer.Argument(help="Only this dataset; all of them if left out.")]
DatasetNames = Annotated[list[str] | None, typer.Argument(help="Only these datasets; all of them if left out.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
