"""What a Parquet file must be before it is converted."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lake_pipeline.notation import Size
from lake_pipeline.strict import Strict


class Expectation(Strict):
    """What a Parquet file must be before any of it is converted; a file that is not is quarantined whole."""

    min_bytes: Size = Field(1, description="the least size of a file")
    max_bytes: Size | None = Field(None, description="the greatest size of a file")
    columns: dict[
        str,
        Literal["string", "bigint", "double", "boolean", "timestamp", "date", "time", "binary", "decimal", "json"],
    ] = Field(
        default_factory=dict,
        description="dotted source path to type: columns that every file must have. An integer passes for double and"
        " for decimal, anything for json, and a column that has only nulls for every type",
    )

    @model_validator(mode="after")
    def _sizes_leave_room(self) -> Expectation:
        if self.max_bytes is not None and self.max_bytes < self.min_bytes:
            raise ValueError("max_bytes is less than min_bytes")
        return self
