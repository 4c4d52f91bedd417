"""A JSON array at the root of a file, taken apart as its text comes in, so that it need not be held whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lake_pipeline.kernel.source import CHUNK_BYTES, TooLarge

_WHITESPACE = b" \t\r\n"
# White space around a comma, as far as it is looked for; and how many commas are tried before more text is read.
_AROUND = 64
_TRIES = 32

Elements = list[msgspec.Raw]


def parts(chunks: Iterator[bytes], decode: Callable[[bytes], Elements], most: int) -> Iterator[tuple[bytes, Elements]]:
    """The array in parts that are arrays themselves, as text and as elements; the text's line ends are all there.

    `decode` reads the last part, or all of it, and raises what it raises for text that is no array. Where no comma
    between two objects can be found, the text is held until there is one.

    Raises:
        TooLarge: that was more than `most` bytes.
    """
    held, size, wanted, cut = list[bytes](), 0, CHUNK_BYTES, False
    for chunk in chunks:
        held.append(chunk)
        size += len(chunk)
        if size > most:
            raise TooLarge("a JSON array that is no list of objects, of over 2 GiB; NDJSON has no such limit")
        if size < wanted:
            continue
        text = b"".join(held)
        if found := _beginning(text):
            comma, elements = found
            yield text[:comma], elements
            held, wanted, cut = [b"[" + text[comma + 1 :]], CHUNK_BYTES, True
            size = len(held[0])
        else:
            held, wanted = [text], 2 * size
    text = b"".join(held)
    # After a comma there must be another element.
    yield text, decode(b"[,]" if cut and text[1:].lstrip(_WHITESPACE)[:1] == b"]" else text)


def _beginning(text: bytes) -> tuple[int, Elements] | None:
    """The last comma found between two elements, and those before it: what is an array up to there ends in one."""
    for number, comma in enumerate(_commas(text)):
        if number == _TRIES:
            return None
        try:
            return comma, msgspec.json.decode(b"".join((memoryview(text)[:comma], b"]")), type=Elements)
        except (msgspec.MsgspecError, RecursionError):
            continue
    return None


def _commas(text: bytes) -> Iterator[int]:
    """Commas between a closing and an opening brace, from the end on; some are inside of elements."""
    end = len(text)
    while (end := text.rfind(b"{", 0, end)) > 0:
        start = max(end - _AROUND, 0)
        before = text[start:end].rstrip(_WHITESPACE)
        if before.endswith(b",") and before[:-1].rstrip(_WHITESPACE).endswith(b"}"):
            yield start + len(before) - 1


def evenly_spaced(text: bytes, raw: Elements, limit: int) -> tuple[pa.StringArray, npt.NDArray[np.int64]] | None:
    """The elements as one array without a copy each, and where they start; None where there are none, one is longer
    than `limit`, or what stands between them is not always the same. Each text ends in as many line ends as the
    separator has characters."""
    lengths = np.fromiter(map(len, map(memoryview, raw)), np.int64, len(raw))  # type: ignore[arg-type]
    if not raw or lengths.max() > limit:
        return None
    first = bytes(raw[0])
    start = text.find(first, 1)
    second = text.find(bytes(raw[1]), start + len(first)) if len(raw) > 1 else start + len(first)
    separator = text[start + len(first) : second]
    ends = start + np.cumsum(lengths) + len(separator) * np.arange(len(raw))
    starts = ends - lengths
    if text[1:start].strip(_WHITESPACE) or ends[-1] > len(text):
        return None
    characters = np.frombuffer(text, np.uint8).copy()
    # Each element is where it is looked for, if the one before it is: after the separator there is either the element,
    # which does not begin with white space, or more white space.
    if np.isin(characters[starts], np.frombuffer(_WHITESPACE, np.uint8)).any():
        return None
    for offset, character in enumerate(separator):
        if (characters[ends[:-1] + offset] != character).any():
            return None
        characters[ends[:-1] + offset] = ord("\n")
    offsets = np.append(starts, ends[-1]).astype(np.int32)
    return pa.StringArray.from_buffers(len(raw), pa.py_buffer(offsets), pa.py_buffer(characters)), starts
