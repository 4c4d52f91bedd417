"""Declared transforms: what a YAML file may say under `transform`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from lake_pipeline.strict import Strict

Scalar: TypeAlias = str | int | Annotated[float, Field(allow_inf_nan=False)] | bool
_REFERENCE = re.compile(r"[a-z][a-z0-9_-]{0,62}")


class Position(Strict):
    """The columns that hold a row's WGS 84 coordinates, in degrees."""

    lat: str = Field(description="column of the latitude")
    lon: str = Field(description="column of the longitude")


class Enrichment(Strict):
    """Columns from the area of a reference that a row lies in; NULL outside all of them, or without coordinates."""

    reference: str = Field(
        description="GeoJSON areas: references/<name>.geojson below the store's root, or else a bundled one"
    )
    match: Position
    add: list[str] = Field(min_length=1, description="text properties of the areas that become columns")

    @field_validator("reference")
    @classmethod
    def _name(cls, value: str) -> str:
        if not _REFERENCE.fullmatch(value):
            raise ValueError(f"{value!r} is no reference: a name of lower-case letters, digits, - and _")
        return value


class Deduplicate(Strict):
    """Of the rows with equal keys one stays; a row with a NULL among its keys has no equal."""

    keys: list[str] = Field(min_length=1, description="columns that together tell rows apart")
    keep: Literal["latest", "first"] = Field(
        "latest",
        description="latest: the row with the greatest `by`; first: with the least; NULL comes after all others",
    )
    by: str = Field(description="the column that orders equal rows; ties go to the last source key")


class Transform(Strict):
    """Rules applied to every row, in the order of this table, whatever the order in the file."""

    utc: list[str] = Field(
        default_factory=list,
        description="columns of timestamps in several notations (see docs/transforms.md), which become UTC",
    )
    fill_nulls: dict[str, Scalar] = Field(default_factory=dict, description="column to the value that replaces NULL")
    standardise: dict[str, Literal["title", "upper", "lower", "trim"]] = Field(
        default_factory=dict,
        description="text column to: trim (no white space around), lower, upper, or title (Each Word, single spaces)",
    )
    enrich: list[Enrichment] = Field(default_factory=list, description="see `transform.enrich` below")
    drop_nulls: list[str] = Field(
        default_factory=list, description="a row with a NULL in one of these columns is dropped"
    )
    deduplicate: Deduplicate | None = Field(None, description="see `transform.deduplicate` below")

    @property
    def added(self) -> tuple[str, ...]:
        """The columns that enrichment adds, in order."""
        return tuple(name for enrichment in self.enrich for name in enrichment.add)

    @property
    def drops(self) -> bool:
        """Whether a rule may drop rows."""
        return bool(self.drop_nulls or self.deduplicate)

    @field_validator("fill_nulls", "standardise")
    @classmethod
    def _columns_are_apart(cls, value: dict[str, Any]) -> dict[str, Any]:
        if len({name.lower() for name in value}) != len(value):
            raise ValueError("letter case does not tell columns apart")
        return value

    @model_validator(mode="after")
    def _added_names_are_apart(self) -> Transform:
        names = [name.lower() for name in self.added]
        if "" in names or len(set(names)) != len(names):
            raise ValueError("each column that enrich adds must have a name of its own")
        earlier = {name.lower() for name in (*self.utc, *self.fill_nulls, *self.standardise)}
        if both := earlier & set(names):
            raise ValueError(f"{min(both)} is added by enrich, which comes after utc, fill_nulls and standardise")
        return self
