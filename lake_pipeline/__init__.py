"""An open auto-loader for S3 lakes, on Dagster."""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # The Dagster component goes by `lake_pipeline.LakeDataset`; loading Dagster waits until somebody asks for it.
    if name == "LakeDataset":
        from lake_pipeline.defs.component import LakeDataset

        return LakeDataset
    if name == "open_table":
        from lake_pipeline.tables import open_table

        return open_table
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
