"""What the records of a manifest were seen to be: kinds of values at every path, and the orders of keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lake_pipeline.kernel.exact import BadRecord, Duplicated, JsonObject, Number, is_label, is_timestamp
from lake_pipeline.kernel.ordering import KeyOrder, note_order

# Stands for "each element" in the path of what is inside a list; no source key contains it.
ELEMENT = "\x00each"


@dataclass
class Node:
    """One path: the kinds of values seen there, with the file and line that first showed each.

    Kinds: boolean, int (to 15 digits), long (to 64 bits), huge (a larger integer), float, string, timestamp (where
    hinted), array, object, and any (kept as JSON text, not looked into). Null and absent are no kinds. In Parquet,
    where a column's type is looked at and not its values, int is every integer, and there are date, time, binary and
    decimal(p, s).
    """

    examples: dict[str, str] = field(default_factory=dict)
    children: dict[str, Node] = field(default_factory=dict)
    columns: KeyOrder = field(default_factory=KeyOrder)  # by the objects that had a key first, and no others
    orders: list[KeyOrder] = field(default_factory=list)
    taught: list[tuple[str, ...]] = field(default_factory=list)  # the keys of objects that changed the orders
    element: Node | None = None
    seen: int = 0  # objects seen here
    present: int = 0  # how many of the parent's objects had this key
    short: bool = False  # whether strings here are to be labels, short enough for a folder's name

    @property
    def kinds(self) -> set[str]:
        return set(self.examples)

    @property
    def example(self) -> str:
        """Where this path was first seen to hold a value."""
        own = next(iter(self.examples.values()), "")
        return own or next((child.example for child in self.children.values()), "")

    def items(self) -> Iterator[tuple[str, Node]]:
        """Children in the order that their keys come in the source.

        Each key has its place by the first object that had it. Objects without a new key have no say: a survey does not
        look at all of them, and which ones it passes over depends on how the manifest is cut.
        """
        return ((key, self.children[key]) for key in self.columns.keys)

    def size(self) -> int:
        """Paths seen here and below."""
        below = sum(child.size() for child in self.children.values())
        return 1 + below + (self.element.size() if self.element else 0)

    def note_order(self, keys: Mapping[str, Any]) -> bool:
        """Take in the order of an object's keys; True if that showed anything new."""
        new = note_order(self.orders, keys)
        if new:
            self.taught.append(tuple(keys))
            if not set(self.columns.keys).issuperset(keys) and not self.columns.take(keys):
                self.columns.append(keys)
        return new

    def add(self, later: Node) -> None:
        """Add what was seen here in a later part of the manifest, as if one process had seen both."""
        if later.examples:
            self.short = later.short and (self.short or not self.examples)
        for kind, where in later.examples.items():
            self.examples.setdefault(kind, where)
        self.seen += later.seen
        self.present += later.present
        for keys in later.taught:
            self.note_order(dict.fromkeys(keys))
        for key, child in later.children.items():
            self.children.setdefault(key, Node()).add(child)
        if later.element:
            self.element = self.element or Node()
            self.element.add(later.element)

    def move(self, lines: int) -> None:
        """Name the examples by lines of their file, where they were counted from a later line on."""
        for kind, where in self.examples.items():
            key, _, line = where.rpartition(":")
            self.examples[kind] = f"{key}:{int(line) + lines}"
        for child in [*self.children.values(), *([self.element] if self.element else [])]:
            child.move(lines)


@dataclass(frozen=True)
class Lens:
    """What decides how a path is looked at.

    `opaque`: paths kept as JSON text; `timestamps`: paths hinted so; `labels`: paths that will most likely name
    folders; `depth`: levels of objects that become columns; `arrays`: whether arrays are looked into.
    """

    opaque: frozenset[tuple[str, ...]] = frozenset()
    timestamps: frozenset[tuple[str, ...]] = frozenset()
    labels: frozenset[tuple[str, ...]] = frozenset()
    depth: int = 3
    arrays: bool = True

    def kind(self, value: Any, path: tuple[str, ...]) -> str:
        """The kind of a value that is not null."""
        if path in self.opaque:
            return "any"
        match value:
            case bool():
                return "boolean"
            case Number():
                return value.kind
            case str():
                return "timestamp" if path in self.timestamps and is_timestamp(value) else "string"
            case list():
                return "array" if self.arrays and path.count(ELEMENT) < self.depth else "any"
            case _:
                start = path.index(ELEMENT) + 1 if ELEMENT in path else 1
                return "object" if len(path) - start < self.depth else "any"


def observe(root: Node, record: JsonObject, where: str, lens: Lens) -> bool:
    """Add one record to what was seen; True if it showed anything new.

    Raises:
        BadRecord: an object that is looked into has a duplicate key; nothing was added.
    """
    _refuse_duplicates(record, lens, ())
    return _observe_object(root, record, where, lens, ())


def _refuse_duplicates(value: Any, lens: Lens, path: tuple[str, ...]) -> None:
    if isinstance(value, Duplicated):
        raise BadRecord(f"duplicate key {value.key!r}")
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, dict | list) and lens.kind(item, (*path, key)) != "any":
                _refuse_duplicates(item, lens, (*path, key))
    else:
        here = (*path, ELEMENT)
        for item in value:
            if isinstance(item, dict | list) and lens.kind(item, here) != "any":
                _refuse_duplicates(item, lens, here)


def _observe(node: Node, value: Any, where: str, lens: Lens, path: tuple[str, ...]) -> bool:
    if value is None:
        return False
    kind = lens.kind(value, path)
    new = kind not in node.examples
    if new:
        node.examples[kind] = where
        node.short = path in lens.labels
    if node.short and kind == "string" and not is_label(value):
        node.short = False
        new = True
    if kind == "object":
        new |= _observe_object(node, value, where, lens, path)
    elif kind == "array" and value:
        if node.element is None:
            node.element = Node()
            new = True
        for item in value:
            new |= _observe(node.element, item, where, lens, (*path, ELEMENT))
    return new


def _observe_object(node: Node, value: Mapping[str, Any], where: str, lens: Lens, path: tuple[str, ...]) -> bool:
    # The shape must learn that a key is optional when the first object comes that lacks it.
    lacks = len(value) < len(node.children) or any(key not in node.children for key in value)
    new = lacks and any(child.present == node.seen and key not in value for key, child in node.children.items())
    new |= node.note_order(value)
    for key, item in value.items():
        child = node.children.get(key)
        if child is None:
            child = node.children[key] = Node()
            new = True
        child.present += 1
        new |= _observe(child, item, where, lens, (*path, key))
    node.seen += 1
    return new
