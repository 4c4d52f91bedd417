r"""The fast path's proof: a regular expression that only records of a known shape match.

A record that matches has known keys only, each once, in one of a few known orders, and values whose type and spelling
DuckDB reads without changing them. Anything else, however valid, is left to exact.py. RE2 matches in time linear in
the text, at about the speed of memory, so checking every record costs little beside parsing it.

The expression may accept text that is no JSON (a comma missing or leading); DuckDB's parser refuses that itself.
It must not accept what that parser silently takes: NaN, a trailing comma, a duplicate key, a value of another type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from lake_pipeline.kernel.instants import PATTERN
from lake_pipeline.kernel.layout import Layout
from lake_pipeline.kernel.observed import Node
from lake_pipeline.kernel.ordering import KeyOrder
from lake_pipeline.kernel.segments import PART_CHARS, Pattern
from lake_pipeline.schemas import ListOf, Path, StructOf, Type

_S = r"[ \t\r\n]*"
_S_IN_LINE = r"[ \t\r]*"
_COMMA = f"{_S},?{_S}"
_HEX = "[0-9a-fA-F]"
# Escapes of characters that DuckDB keeps: no NUL, and surrogates in pairs only.
_ESCAPE = (
    r'\\(?:["\\/bfnrt]'
    rf"|u(?:0(?:0(?:0[1-9a-fA-F]|[1-9a-fA-F]{_HEX})|[1-9a-fA-F]{_HEX}{{2}})|[1-9a-cA-CefEF]{_HEX}{{3}}|[dD][0-7]{_HEX}{{2}}"
    rf"|[dD][89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}}))"
)
_STRING = rf'"(?:[^"\\\x00-\x1f]|{_ESCAPE})*"'
# The word boundary keeps `12` from passing for `1` and `2` where the comma between elements is optional.
_LONG = r"-?(?:[1-8][0-9]{18}|[1-9][0-9]{0,17}|0)\b"
INT = r"(?:-[1-9][0-9]{0,13}|[1-9][0-9]{0,14}|-?0)\b"


def _decimal(digits: int) -> str:
    """Any number of digits, a point, and at least one digit, no more than `digits` digits in all.

    By halves: one alternative for each number of digits before the point would take RE2 twice as long to make ready.
    """
    if digits == 1:
        return r"\.[0-9]"
    half = digits // 2
    options = [rf"[0-9]{{0,{half}}}\.[0-9]{{1,{digits - half}}}", rf"{_decimal(half)}[0-9]{{{digits - half}}}"]
    if digits - half > 1:
        options.append(rf"[0-9]{{{half + 1}}}{_decimal(digits - half - 1)}")
    return f"(?:{'|'.join(options)})"


_POINT = r"\.0{0,4}[0-9]{1,17}"
_EXPONENT = "(?:[eE][-+]?[0-9]{1,2})"
# Integers of up to 15 digits are below 2**53, decimals have no more than 17: exact.is_double, as an expression.
_DOUBLE = rf"-?(?:0(?:{_POINT})?|[1-9](?:[0-9]{{0,14}}|{_decimal(16)})){_EXPONENT}?\b"
# Those of them that are no integers.
DECIMAL = rf"-?(?:(?:0{_POINT}|[1-9]{_decimal(16)}){_EXPONENT}?|(?:0|[1-9][0-9]{{0,14}}){_EXPONENT})\b"
_DAY = r"[12][0-9]{3}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
_TIMESTAMP = (
    rf'"{_DAY}[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{{1,6}})?)?'
    r'(?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])?"'
)
# What a Hive key's value may be for its folder's name to stay short, however it is encoded: less than exact.is_label.
_LABEL = r'"(?:[ !#-\[\]-~]{1,64}|[^"\\\x00-\x1f]{1,16})"'
_ANY_DEPTH = 4
# Of what a text column holds, only what DuckDB writes as it was spelled: integers of up to 18 digits, decimals of up
# to 14 without a needless zero or an exponent, strings inside arrays and objects without \\u escapes.
_EXACT_NUMBER = (
    r"(?:-?[1-9][0-9]{0,17}\b|0\b|-?(?:0\.(?:0|0{0,3}[1-9](?:[0-9]{0,10}[1-9])?)|"
    + "|".join(rf"[1-9][0-9]{{{digits - 1}}}\.(?:0|[0-9]{{0,{14 - digits}}}[1-9])" for digits in range(1, 15))
    + r")\b)"
)
_EXACT_STRING = r'"(?:[^"\\\x00-\x1f]|\\["\\bfnrt])*"'
# Other numbers are put between quotes by `quoted`, with the first digit as an escape: the same text, but a spelling
# that is taken for nothing else. Those are the numbers with a zero at the end, an exponent, or very many digits.
_BARE_NUMBER = (
    rf'("{_S}:{_S})(-?)([0-9])((?:[0-9]*\.[0-9]+0|[0-9]*(?:\.[0-9]+)?[eE][-+]?[0-9]+|\.0000[0-9]*'
    r"|[0-9]*\.[0-9]{8,}|[0-9]{6,}\.[0-9]+|[0-9]{18,})\b)"
)
_QUOTED_NUMBER = r'"-?\\u003(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?"'
_SHORT_QUOTED_NUMBER = r'"-?\\u003(?:0|[1-9][0-9]{0,29})(?:\.[0-9]{1,30})?(?:[eE][-+]?[0-9]{1,3})?"'
# Stands for a value that was taken out; as a kind, for that this may be. No JSON text holds it.
MARK = "\x01"
MARKED = "marked"
# Each optional key multiplies what the matcher must keep in mind (measured: 400 of them are 300 times slower).
MAX_OPTIONAL = 40


def _any(scalar: str = f"{_STRING}|{_DOUBLE}|{_LONG}|true|false|null", depth: int = _ANY_DEPTH) -> str:
    if depth == 0:
        return f"(?:{scalar})"
    return rf"(?:{scalar}|[\[{{](?:[,:]?{_S}(?:{_any(scalar, depth - 1)}){_S})*[\]}}])"


def quoted(texts: pa.StringArray) -> pa.StringArray:
    """Records with numbers after a key as strings, where DuckDB would spell them anew in a text column.

    Where a string or an array holds what looks like one, no expression takes the outcome: a backslash stands outside
    of strings, or an escape where `_EXACT_STRING` has none.
    """
    return pc.replace_substring_regex(texts, _BARE_NUMBER, r'\1"\2\\u003\3\4"')


def narrow(seen: Node, layout: Layout, path: Path = ()) -> Node:
    """What was seen, less the kinds that have no place in the layout: a record with one of them is not plain."""
    result = Node(seen=seen.seen, orders=seen.orders)
    for key, child in seen.items():
        here = (*path, key)
        column = layout.columns.get(here)
        if column and here not in layout.doors:
            kept = _narrow_value(child, column.type)
            kept.short = here in layout.labels
            if here in layout.parents:
                kept.examples.pop("any", None)  # it would take the objects that have columns of their own
            if here in layout.instants:
                kept.examples = {"instant": ""}
        elif here in layout.parents:
            kept = narrow(child, layout, here)
            kept.examples = {"object": ""}
        elif child.kinds and child.present < seen.seen:
            continue
        else:
            kept = Node()  # null only
        kept.present = child.present
        result.children[key] = kept
    return result


def covers(seen: Node, plain: Node) -> bool:
    """Whether a record of the shape `plain`, which is what was `seen` narrowed, is sure to be of the shape seen."""
    if not plain.kinds <= seen.kinds or (seen.short and not plain.short and "string" in plain.kinds):
        return False
    if plain.element and not (seen.element and covers(seen.element, plain.element)):
        return False
    # Where every key is optional, which one must be there depends on what keys there are.
    same = len(plain.children) == len(seen.children) or any(
        child.present == plain.seen for child in plain.children.values()
    )
    return same and all(covers(seen.children[key], child) for key, child in plain.children.items())


def _narrow_value(seen: Node, type_: Type) -> Node:
    result = Node(seen=seen.seen)
    match type_:
        case "json":
            result.examples = {"any": ""}
        case "text":
            result.examples = {"text": ""} | seen.examples
        case "double":
            result.examples = dict.fromkeys(({"float"} & seen.kinds) or ({"int"} & seen.kinds), "")
        case "bigint":
            result.examples = dict.fromkeys({"int", "long"} & seen.kinds, "")
        case ListOf(element):
            result.examples = dict.fromkeys({"array"} & seen.kinds, "")
            result.element = _narrow_value(seen.element, element) if seen.element else None
        case StructOf(fields):
            result.examples = dict.fromkeys({"object"} & seen.kinds, "")
            types = dict(fields)
            result.orders = seen.orders
            for key, child in seen.items():
                if key in types:
                    result.children[key] = _narrow_value(child, types[key])
                    result.children[key].present = child.present
        case _:
            result.examples = dict.fromkeys({type_} & seen.kinds, "")
    return result


def pattern(root: Node, numbers: bool = False, *, in_runs: bool = True) -> Pattern | None:
    """The expression for whole records; None where there is nothing to look for, or none would be fast enough.

    `numbers`: it is for records that went through `quoted`; `in_runs`: most records will match it.
    """
    if not root.children:
        return None
    try:
        record = f"{_S}{_object(root, numbers)}{_S}"
        parts = _parts(root, numbers) if len(record) > PART_CHARS else ()
        # No record holds a line's end, or two broken ones could make one that is none.
        run = rf"^(?:{record.replace(_S, _S_IN_LINE)}(?:\n+|$))*$" if in_runs and not parts else None
        return Pattern(f"^{record}$", run, parts)
    except _TooWide:
        return None


def _parts(root: Node, numbers: bool) -> tuple[tuple[bytes, str], ...]:
    """The expression cut before keys that are in every record, and nowhere but at the root as far as is known."""
    if len(root.orders) > 1:
        return ()
    parts: list[tuple[bytes, str]] = []
    below = {key for child in root.children.values() for key in _keys_below(child)}
    begins, part = b"", rf"{_S}\{{"
    for key, member, required in _members(root, root.orders[0], numbers):
        quoted_key = json.dumps(key)
        sure = required and key not in below and quoted_key == json.dumps(key, ensure_ascii=False)
        if sure and len(part) > PART_CHARS:
            parts.append((begins, f"^{part}{_COMMA}$"))
            begins, part = quoted_key.encode(), ""
        else:
            part += _COMMA if required else ""
        part += member if required else f"(?:{_COMMA}{member})?"
    return (*parts, (begins, rf"^{part}{_S}\}}{_S}$"))


def _keys_below(node: Node) -> Iterator[str]:
    for key, child in node.children.items():
        yield key
        yield from _keys_below(child)
    if node.element:
        yield from _keys_below(node.element)


class _TooWide(Exception):
    pass


def _value(node: Node, numbers: bool) -> str:
    kinds = node.kinds
    if "text" in kinds:
        return _text(node, numbers)
    if "any" in kinds:
        return _any()
    options = ["null"]
    if "float" in kinds:
        options.append(_DOUBLE)
    if "long" in kinds:
        options.append(_LONG)
    elif "int" in kinds and "float" not in kinds:
        options.append(INT)
    if "boolean" in kinds:
        options += ["true", "false"]
    if "string" in kinds:
        options.append(_LABEL if node.short else _STRING)
    elif "timestamp" in kinds:
        options.append(_TIMESTAMP)
    if "instant" in kinds:
        options += [PATTERN, _TIMESTAMP]
    if "array" in kinds:
        items = rf"(?:,?{_S}{_value(node.element, numbers)}{_S})*" if node.element else ""
        options.append(rf"\[{_S}{items}\]")
    if "object" in kinds and node.children:
        options.append(_object(node, numbers))
    if MARKED in kinds:
        options.append(MARK)
    return f"(?:{'|'.join(options)})"


def _text(node: Node, numbers: bool) -> str:
    """The values of a text column."""
    kinds = node.kinds
    options = ["null"]
    if "string" in kinds:
        options.append(_LABEL if node.short else _STRING)
    if {"int", "long", "huge", "float"} & kinds:
        options.append(_EXACT_NUMBER)
        if numbers:
            options.append(_SHORT_QUOTED_NUMBER if node.short else _QUOTED_NUMBER)
    if "boolean" in kinds:
        options += ["true", "false"]
    if "any" in kinds and not node.short:
        inside = f"{_EXACT_STRING}|{_EXACT_NUMBER}|true|false|null"
        options.append(rf"[\[{{](?:[,:]?{_S}{_any(inside, _ANY_DEPTH - 1)}{_S})*[\]}}]")
        options += [_STRING, _EXACT_NUMBER, "true", "false", *([_QUOTED_NUMBER] if numbers else [])]
    return f"(?:{'|'.join(options)})"


def _object(node: Node, numbers: bool) -> str:
    """Keys in one of their orders, each at most once; at least one is required, so that `{}` does not pass for it."""
    alternatives = []
    for order in node.orders:
        members = (
            f"{_COMMA}{member}" if required else f"(?:{_COMMA}{member})?"
            for _, member, required in _members(node, order, numbers)
        )
        if inside := "".join(members):
            alternatives.append(rf"\{{{inside}{_S}\}}")
    return f"(?:{'|'.join(dict.fromkeys(alternatives))})"


def _members(node: Node, order: KeyOrder, numbers: bool) -> Iterator[tuple[str, str, bool]]:
    """Each key in order, the expression for it and its value, and whether it must be there."""
    optional = {key for key, child in node.children.items() if child.present < node.seen}
    if len(optional) > MAX_OPTIONAL:
        raise _TooWide
    keys = [key for key in order.keys if key in node.children]
    required = {key for key in keys if key not in optional}
    if keys and not required:
        required = {max(keys, key=lambda key: node.children[key].present)}
    for key in keys:
        yield key, f"{key_and_colon(key)}{_value(node.children[key], numbers)}", key in required


def key_and_colon(key: str) -> str:
    """The expression for a key in every spelling that is looked for, up to its value."""
    spellings = {json.dumps(key, ensure_ascii=False), json.dumps(key)}
    return f"(?:{'|'.join(sorted(_quote(spelling) for spelling in spellings))}){_S}:{_S}"


def _quote(text: str) -> str:
    # RE2 takes an escaped punctuation character, and no escaped letter beyond its own classes.
    return re.sub(r"([^\w\s\x80-\U0010ffff])", r"\\\1", text)
