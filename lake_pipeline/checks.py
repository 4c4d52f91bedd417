"""Declared checks: what must hold of the rows of every manifest."""

from __future__ import annotations

from pydantic import Field, model_validator

from lake_pipeline.notation import NAME
from lake_pipeline.strict import Strict


class RowCount(Strict):
    """Bounds on the rows of a manifest."""

    min: int = Field(1, ge=0, description="rows that a manifest must have at least")
    max: int | None = Field(None, ge=0, description="rows that a manifest may have at most")


class Range(Strict):
    """Bounds on a column's values, both included."""

    min: float | str | None = Field(None, description="the least value")
    max: float | str | None = Field(None, description="the greatest value")


class Checks(Strict):
    """What must hold of the rows of every manifest; NULL offends only against `required`."""

    required: list[str] = Field(default_factory=list, description="columns that may not be NULL")
    unique: list[str] = Field(default_factory=list, description="columns that together tell rows apart")
    row_count: RowCount | None = Field(None, description="see `checks.row_count` below")
    ranges: dict[str, Range] = Field(default_factory=dict, description="column to {min, max}")
    patterns: dict[str, str] = Field(
        default_factory=dict, description="text column to a regular expression (RE2) that it must match somewhere"
    )
    sql: dict[str, str] = Field(
        default_factory=dict, description="name to a DuckDB expression that must be true of every row"
    )
    blocking: list[str] = Field(
        default_factory=list, description="checks of these that publish nothing where they fail: required, unique, …"
    )

    @property
    def names(self) -> list[str]:
        """The declared checks, in the order they are evaluated."""
        lists = {name: getattr(self, name) for name in ("required", "unique", "row_count", "ranges", "patterns")}
        return [*(name for name, declared in lists.items() if declared), *self.sql]

    @model_validator(mode="after")
    def _names_are_checks(self) -> Checks:
        for name in self.sql:
            if not NAME.fullmatch(name) or name in ("required", "unique", "row_count", "ranges", "patterns"):
                raise ValueError(f"sql check {name!r}: take a name of lower-case letters, digits and underscores")
        for name in self.blocking:
            if name not in self.names:
                raise ValueError(f"blocking names {name!r}, which is no check of this dataset")
        return self
