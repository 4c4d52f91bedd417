"""The rules that a dataset may declare for its schema: how types are set, and how nested keys become columns."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, field_validator, model_validator

from lake_pipeline.strict import Strict as _Strict


class Flatten(_Strict):
    """How nested records become columns."""

    depth: PositiveInt = Field(
        3, description="levels of nested objects that become columns; deeper ones stay JSON text"
    )
    arrays: Literal["keep", "json"] = Field("keep", description="keep: a list column; json: a column of JSON text")
    explode: str | None = Field(
        None,
        min_length=1,
        description="dotted source path to the one array that becomes a row for each of its elements, whose keys"
        " become columns; the record's other values are repeated in each",
    )
    rename: dict[str, str] = Field(default_factory=dict, description="dotted source path to column name")
    keep_json: list[str] = Field(
        default_factory=list, description="dotted source paths kept as one column of JSON text"
    )

    @field_validator("rename")
    @classmethod
    def _new_names_are_apart(cls, value: dict[str, str]) -> dict[str, str]:
        names = [name.lower() for name in value.values()]
        if "" in names or len(set(names)) != len(names):
            raise ValueError("each new name must be a name of its own, and letter case does not tell columns apart")
        return value

    @property
    def explode_path(self) -> tuple[str, ...]:
        """The keys on the way to the array that is exploded; none where no array is."""
        return tuple(self.explode.split(".")) if self.explode else ()

    @model_validator(mode="after")
    def _an_exploded_array_is_looked_into(self) -> Flatten:
        if self.explode is None:
            return self
        if kept := [path for path in self.keep_json if f"{self.explode}.".startswith(f"{path}.")]:
            raise ValueError(f"explode: {self.explode} is in {kept[0]}, which keep_json keeps in one column")
        if len(self.explode_path) > self.depth:
            raise ValueError(f"explode: {self.explode} is deeper than depth, {self.depth}, so it is inside JSON text")
        return self


class SchemaRules(_Strict):
    """How types are set and what happens when data changes."""

    mode: Literal["evolve", "rescue", "strict", "strings"] = Field(
        "evolve",
        description="evolve: new keys become columns; rescue: they go to _rescued; strict: a change fails the"
        " manifest; strings: evolve, with every column a string that holds values as they were written",
    )
    hints: dict[str, Literal["string", "bigint", "double", "boolean", "timestamp", "json"]] = Field(
        default_factory=dict, description="dotted source path to type"
    )
    flatten: Flatten = Field(default_factory=Flatten)
    max_columns: PositiveInt = Field(
        2000, description="columns at most; more means that data is used as keys: name it under keep_json"
    )

    @property
    def evolves(self) -> bool:
        """Whether new keys become columns of a known schema."""
        return self.mode in ("evolve", "strings")

    @model_validator(mode="after")
    def _strings_need_no_hints(self) -> SchemaRules:
        if self.mode == "strings" and self.hints:
            raise ValueError("schema.mode is strings, so every column is one and hints have no place")
        return self
