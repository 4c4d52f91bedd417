"""How curated files are laid out: the declaration's `output`, and the partition keys in it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from lake_pipeline.notation import Prefix
from lake_pipeline.strict import Strict as _Strict


class ProjectedKey(_Strict):
    """How Athena computes a key's values: first to last, each of `values`, or, with neither, as every query says."""

    first: int | None = Field(None, description="the first number, such as 2020")
    last: int | None = Field(None, description="the last number, such as 2035")
    values: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]] | None = Field(
        None, description="each value, of letters, digits, `_`, `.` and `-`"
    )

    @property
    def numbers(self) -> range | None:
        """The numbers, where it has a first and a last one."""
        return None if self.first is None or self.last is None else range(self.first, self.last + 1)

    @model_validator(mode="after")
    def _one_way_at_most(self) -> ProjectedKey:
        if (self.first is None) != (self.last is None) or self.numbers == range(0):
            raise ValueError("a key with numbers has a first and a last, which is not smaller")
        if self.values is not None and (self.numbers is not None or not self.values):
            raise ValueError("values are texts, one at least, in place of first and last")
        return self


_EXPRESSION = re.compile(r"(?:(year|month|day|hour)\()?([^()]+?)(\))?")


class Output(_Strict):
    """How curated files are laid out."""

    format: Literal["parquet", "json"] = Field(
        "parquet", description="of the curated files; json: JSON lines, which need files: one_to_one"
    )
    files: Literal["merged", "one_to_one"] = Field(
        "merged",
        description="merged: rows of many raw files together; one_to_one: each raw Parquet file becomes one file of its"
        " own relative name, with the suffix .json in place of .parquet",
    )
    prefix: Prefix = Field(
        description="where curated files are published, below the store's root; may hold placeholders of source.group"
    )
    partition_by: list[str] = Field(
        default_factory=list, description="columns, or year(c), month(c), day(c), hour(c) of one"
    )
    compression: Literal["zstd", "snappy", "gzip", "uncompressed"] = Field("zstd", description="of Parquet pages")
    projection: dict[str, ProjectedKey] | None = Field(
        None,
        description="Athena computes the partitions from this, by Hive key, in place of looking them up in Glue; see"
        " aws-catalogue.md",
    )

    @property
    def stem(self) -> str:
        """The prefix up to its first placeholder: all curated files are below it."""
        return self.prefix.partition("{")[0]

    @model_validator(mode="after")
    def _files_suit_the_format(self) -> Output:
        if (self.format == "json") != (self.files == "one_to_one"):
            raise ValueError(
                f"format is {self.format} and files is {self.files}: JSON lines are written one file to one file, and"
                " nothing else is"
            )
        if self.files == "one_to_one" and self.partition_by:
            raise ValueError("partition_by divides a file's rows, and files is one_to_one")
        return self

    @field_validator("partition_by")
    @classmethod
    def _expressions(cls, value: list[str]) -> list[str]:
        for item in value:
            match = _EXPRESSION.fullmatch(item)
            if not match or bool(match[1]) != bool(match[3]):
                raise ValueError(f"{item!r} is neither a column nor year(c), month(c), day(c) or hour(c)")
        names = [name for name, _, _ in partition_keys(value)]
        if len(set(names)) != len(names):
            raise ValueError("two partition keys have the same name")
        return value

    @model_validator(mode="after")
    def _projection_is_of_every_key(self) -> Output:
        if self.projection is None:
            return self
        keys = {name: part for name, part, _ in partition_keys(self.partition_by)}
        if set(self.projection) != set(keys):
            raise ValueError(f"projection must have each partition key and nothing else: {', '.join(keys) or 'none'}")
        for name, key in self.projection.items():
            if (keys[name] is None) != (key.numbers is None):
                raise ValueError(f"projection.{name}: only year, month, day and hour have first and last, and must")
        return self


def partition_keys(partition_by: list[str]) -> list[tuple[str, str | None, str]]:
    """(Hive key, date part or None, column) of each item: `year(date)` is ("year", "year", "date")."""
    matches = [_EXPRESSION.fullmatch(item) for item in partition_by]
    return [(m[1] or m[2], m[1], m[2]) for m in matches if m]
