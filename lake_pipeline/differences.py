"""What was seen and has no place in a schema. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lake_pipeline.kernel.observed import Node
from lake_pipeline.schemas import Column, ListOf, Path, Schema, StructOf, Type, decimal_of, type_name


@dataclass(frozen=True)
class Difference:
    """Something seen that a schema has no place for: a value of a known path, or a new key (`type` is None)."""

    path: str
    column: str
    type: str | None
    kind: str
    example: str

    def __str__(self) -> str:
        if self.type is None:
            return f"{self.example}: new key {self.path!r} ({self.kind}), and schema.mode is strict"
        if self.type == "object":
            return (
                f"{self.example}: {self.path!r} is an object whose keys are columns, and this value is {self.kind}"
                " (schema.mode is strict)"
            )
        return (
            f"{self.example}: column {self.column!r} is {self.type}, and this value is or holds {self.kind}"
            " (schema.mode is strict)"
        )


def differences(schema: Schema, seen: Node) -> Iterator[Difference]:
    """What was seen and has no place in the schema, in the order of the source; a new key once."""
    return _differences(seen, schema.by_path(), schema.parents())


def _differences(
    seen: Node, known: Mapping[Path, Column], parents: frozenset[Path], path: Path = ()
) -> Iterator[Difference]:
    for key, child in seen.items():
        here = (*path, key)
        label = ".".join(here)
        if here in known:
            column = known[here]
            for kind, example in _misfits(child, column.type):
                yield Difference(label, column.name, type_name(column.type), kind, example)
        elif here in parents:
            for kind, example in child.examples.items():
                if kind != "object":
                    yield Difference(label, label, "object", kind, example)
            yield from _differences(child, known, parents, here)
        elif child.kinds:
            yield Difference(label, label, None, " or ".join(sorted(child.kinds)), child.example)


def _misfits(seen: Node, type_: Type) -> Iterator[tuple[str, str]]:
    """Each kind of value that was seen and has no place in the type, and where."""
    for kind, example in seen.examples.items():
        if not admits(type_, kind):
            yield kind, example
    match type_:
        case ListOf(element) if seen.element:
            yield from _misfits(seen.element, element)
        case StructOf(fields):
            types = dict(fields)
            for key, child in seen.items():
                if key in types:
                    yield from _misfits(child, types[key])
                elif child.kinds:
                    yield f"a new key {key!r}", child.example


def admits(type_: Type, kind: str) -> bool:
    """Whether a value of this kind can fit the type at all; whether it does is for `kernel.exact.fits`."""
    match type_:
        case ListOf():
            return kind == "array"
        case StructOf():
            return kind == "object"
        case "json" | "text":
            return True
        case "double":
            return kind in ("int", "float")
        case "bigint":
            return kind in ("int", "long")
        case _ if decimal_of(type_):
            return kind == "int" or decimal_of(kind) is not None
        case _:
            return kind == type_
