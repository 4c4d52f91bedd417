"""The declarations of datasets."""

from __future__ import annotations

from collections.abc import Iterator

from lake_pipeline.declarations import load_datasets
from lake_pipeline.doctor.examined import Examined
from lake_pipeline.doctor.findings import Finding, bad, good
from lake_pipeline.errors import DeclarationError


def look(at: Examined) -> Iterator[Finding]:
    folder = at.settings.datasets
    try:
        found = load_datasets(folder)
    except DeclarationError as error:
        yield bad("LAKE_DATASETS", error.detail.splitlines()[0], f"lake datasets validate {folder}")
        return
    if found:
        yield good("LAKE_DATASETS", ", ".join(found))
    else:
        yield bad("LAKE_DATASETS", f"{folder} declares none", "put a declaration there: docs/declaration.md")
