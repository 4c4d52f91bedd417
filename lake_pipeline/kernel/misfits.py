"""Records that would be plain but for one value, taken apart many at a time; Python parses and splits the others.

The value is replaced by a mark that no JSON text holds, and an expression tells whether that left a plain record with
the mark in the place of the column's value. Only values are looked for that fit no spelling of the column's type.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lake_pipeline.kernel import shape
from lake_pipeline.kernel.exact import dumps
from lake_pipeline.kernel.layout import Layout
from lake_pipeline.kernel.matching import matched, not_utf8
from lake_pipeline.kernel.observed import Node
from lake_pipeline.kernel.records import Block
from lake_pipeline.kernel.segments import Pattern
from lake_pipeline.schemas import Column, Path

# Each column is looked for in every record that is not plain.
_MOST_COLUMNS = 16
# Each column's records are copied; with more bytes than these, Python takes one record at a time.
_MOST_BYTES = 2**25
# Values by their kind in observed.py, spelled as they are written again in `_rescued`; none but what the expression for
# all that was seen takes.
_VALUES = {
    "float": shape.DECIMAL,
    "int": shape.INT,
    "boolean": "true|false",
    "string": r'"[^"\\\x00-\x1f]*"',
}
_NO_TIMESTAMP = r'"(?:[^"\\\x00-\x1f0-9][^"\\\x00-\x1f]*)?"'
# Kinds of which no value fits; of texts in a column of timestamps it is those that `_NO_TIMESTAMP` tells.
_MISFITS = {
    "bigint": {"string", "boolean", "float"},
    "double": {"string", "boolean"},
    "boolean": {"string", "int", "float"},
    "string": {"boolean", "int", "float"},
    "timestamp": {"string", "boolean", "int", "float"},
}


@dataclass(frozen=True)
class Misfits:
    """`pattern` is of plain records with a mark for a value of one of the `columns`: (how the rescued object begins,
    the expression for its key and such a value)."""

    pattern: Pattern
    columns: tuple[tuple[str, str], ...]

    @staticmethod
    def of(seen: Node, layout: Layout) -> Misfits | None:
        """What was `seen` in columns that do not hold it; None where that is nothing."""
        marked = shape.narrow(seen, layout)
        by_key: dict[str, tuple[Column, Node, str]] = {}
        for column, node, values in _columns(seen, marked, layout):
            by_key.setdefault(column.path[-1], (column, node, values))  # the mark must tell which column it stands for
        chosen = list(by_key.values())[:_MOST_COLUMNS]
        for _, node, _ in chosen:
            node.examples[shape.MARKED] = ""
        pattern = shape.pattern(marked, in_runs=False) if chosen else None
        if pattern is None:
            return None
        return Misfits(
            pattern,
            tuple(
                (f"{{{dumps(column.name)}:", f"(?P<key>{shape.key_and_colon(column.path[-1])})(?P<value>{values})")
                for column, _, values in chosen
            ),
        )


def _columns(seen: Node, plain: Node, layout: Layout, path: Path = ()) -> Iterator[tuple[Column, Node, str]]:
    """Columns in which a value was seen that is taken apart here, with the node of what they hold and the expression
    for such values: of the kinds that were seen, so that there is nothing to learn from them."""
    for key, node in plain.children.items():
        here, child = (*path, key), seen.children[key]
        column = layout.columns.get(here)
        if column is None and here in layout.parents:
            yield from _columns(child, node, layout, here)
        elif column and here not in layout.parents and here not in layout.doors and here not in layout.instants:
            kinds = child.kinds & _MISFITS.get(str(column.type), set()) - ({"string"} if child.short else set())
            values = _VALUES | ({"string": _NO_TIMESTAMP} if column.type == "timestamp" else {})
            if kinds:
                yield column, node, "|".join(values[kind] for kind in values if kind in kinds)


@dataclass(frozen=True)
class Parted:
    """Records at these places, ascending: what fits, as a text that DuckDB can read, and the rest as a JSON object."""

    places: npt.NDArray[np.intp]
    texts: pa.StringArray
    rescued: pa.StringArray


def parted(block: Block, rest: npt.NDArray[np.intp], misfits: Misfits | None) -> Parted | None:
    """Those of the records at the places `rest` that have one value that does not fit; None where there are none."""
    if misfits is None or not len(rest):
        return None
    texts = block.texts.take(pa.array(rest))
    if texts.nbytes > _MOST_BYTES:
        return None
    usable = ~np.asarray(pc.match_substring(texts, shape.MARK).to_numpy(zero_copy_only=False), bool)
    usable[list(not_utf8(texts))] = False
    rest, texts = rest[usable], texts.filter(pa.array(usable))
    places: list[npt.NDArray[np.intp]] = []
    marked: list[pa.StringArray] = []
    rescued: list[pa.StringArray] = []
    size = 0
    for begins, expression in misfits.columns:
        values = pc.extract_regex(texts, expression)
        found = pc.is_valid(values)
        if (size := size + texts.nbytes) > _MOST_BYTES:
            break
        if found.true_count:
            held, value = texts.filter(found), values.filter(found).field("value")
            places.append(rest[found.to_numpy(zero_copy_only=False)])
            marked.append(pc.replace_substring_regex(held, expression, rf"\1{shape.MARK}", max_replacements=1))
            rescued.append(pc.binary_join_element_wise(begins, value, "}", ""))
    if not places:
        return None
    where, candidates = np.concatenate(places), pa.concat_arrays(marked)
    fits = np.flatnonzero(matched(Block(candidates, where), misfits.pattern)[1])
    where, first = np.unique(where[fits], return_index=True)
    chosen = pa.array(fits[first])
    fitting = pc.replace_substring(candidates.take(chosen), shape.MARK, "null")
    return Parted(where, fitting, pa.concat_arrays(rescued).take(chosen))
