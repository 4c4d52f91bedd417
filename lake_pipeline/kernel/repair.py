"""The exact path's second half: a parsed record split into what fits its columns and what is rescued."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lake_pipeline.kernel import exact
from lake_pipeline.kernel.exact import BadRecord, Duplicated, JsonObject, Number
from lake_pipeline.kernel.instants import is_instant
from lake_pipeline.kernel.layout import Layout
from lake_pipeline.schemas import ListOf, Path, StructOf, Type


def fits(value: Any, type_: Type) -> bool:
    """Whether a column of this type holds the value unchanged; null fits every type."""
    if value is None:
        return True
    match type_:
        case "json":
            return exact.is_portable(value)
        case "text":
            return not isinstance(value, str) or exact.is_text(value)
        case "string":
            return isinstance(value, str) and not isinstance(value, Number) and exact.is_text(value)
        case "timestamp":
            return isinstance(value, str) and not isinstance(value, Number) and exact.is_timestamp(value)
        case "bigint":
            return isinstance(value, Number) and exact.is_bigint(value)
        case "double":
            return isinstance(value, Number) and exact.is_double(value)
        case "boolean":
            return isinstance(value, bool)
        case ListOf(element):
            return isinstance(value, list) and all(fits(item, element) for item in value)
        case StructOf(fields):
            types = dict(fields)
            return (
                isinstance(value, dict)
                and bool(value)
                and not isinstance(value, Duplicated)
                and all(key in types and fits(item, types[key]) for key, item in value.items())
            )
        case _:
            raise AssertionError(type_)


def _duplicate(value: Any, type_: Type) -> str | None:
    """A key that comes twice in the value; JSON text keeps such keys, so those inside it do not count."""
    match type_:
        case "json" | "text":
            return None
        case ListOf(element) if isinstance(value, list):
            return next((key for item in value if (key := _duplicate(item, element)) is not None), None)
        case StructOf(fields) if isinstance(value, dict) and not isinstance(value, Duplicated):
            types: dict[str, Type] = dict(fields)
            keys = (_duplicate(item, types[key]) for key, item in value.items() if key in types)
            return next((key for key in keys if key is not None), None)
        case _:
            return exact.first_duplicate(value)


@dataclass(frozen=True)
class Repairer:
    """Splits records for one layout."""

    layout: Layout

    def split(self, text: bytes) -> tuple[str, str | None]:
        """(a record of which every value fits its column, the rest as a JSON object or None).

        Raises:
            BadRecord: the text is no record, or holds a duplicate key where columns come from.
        """
        fitting: JsonObject = {}
        rescued: JsonObject = {}
        self._walk(exact.parse(text), (), fitting, fitting, rescued)
        return exact.dumps(fitting), exact.dumps(rescued) if rescued else None

    def _walk(self, value: JsonObject, path: Path, target: JsonObject, root: JsonObject, rescued: JsonObject) -> None:
        if isinstance(value, Duplicated):
            raise BadRecord(f"duplicate key {value.key!r}")
        for key, item in value.items():
            here = (*path, key)
            column = self.layout.columns.get(here)
            inside = isinstance(item, dict) and bool(item) and here in self.layout.parents
            if column and not inside:
                if (duplicate := _duplicate(item, column.type)) is not None:
                    raise BadRecord(f"duplicate key {duplicate!r}")
                held = exact.as_text(item) if column.type == "text" else item
                fitting = item is None or is_instant(item) if here in self.layout.instants else fits(item, column.type)
                if not fitting or (held is not None and here in self.layout.labels and not exact.is_label(held)):
                    _rescue(rescued, column.name, item)
                elif here in self.layout.doors:
                    root[self.layout.doors[here]] = held
                else:
                    target[key] = held
            elif inside:
                inner: JsonObject = {}
                self._walk(item, here, inner, root, rescued)
                if inner:
                    target[key] = inner
            elif item is not None:  # a null that has no column is what an absent key is
                _rescue(rescued, ".".join(here), item)


def _rescue(rescued: JsonObject, name: str, value: Any) -> None:
    """Keep a value under its name, or under `name_2`, … where two source paths are spelled alike."""
    free, number = name, 2
    while free in rescued:
        free, number = f"{name}_{number}", number + 1
    rescued[free] = value
