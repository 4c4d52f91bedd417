"""A raw file as blocks of record texts, each with the line it starts on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lake_pipeline.dataset import Source
from lake_pipeline.kernel import arrays, exact
from lake_pipeline.kernel.source import EMPTY, RawFile, TooLarge, Unreadable, text_chunks

# A JSON document is held whole (records of NDJSON and of arrays are not); Arrow's offsets end at 2 GiB.
MAX_DOCUMENT_BYTES = 2**31 - 2**24
_WHITESPACE = b" \t\r\n"


@dataclass(frozen=True)
class Block:
    """Record texts (a string array whose UTF-8 is not checked yet) and the 1-based lines they start on.

    `exploded` of them are no records of the file, but elements after the first of a record's exploded array.
    """

    texts: pa.StringArray
    lines: npt.NDArray[np.int64]
    exploded: int = 0

    def __len__(self) -> int:
        return len(self.texts)

    def only(self, mask: npt.NDArray[np.bool_]) -> Block:
        """The records that the mask holds."""
        return Block(self.texts.filter(pa.array(mask)), self.lines[mask])


def read_blocks(file: RawFile, source: Source) -> Iterator[Block]:
    """The records of one raw file in order; a blank line is no record, and one over the limit is cut off.

    Raises:
        TooLarge: it unpacks to more than the declaration allows, or is a document that cannot be held.
        Unreadable: the file as a whole is not what its format says, or holds nothing.
    """
    chunks, limit = text_chunks(file, source.max_unpacked_bytes), source.max_record_bytes
    if file.span:
        return _lines(chunks, limit, file.span.line)
    line = 1
    for head in chunks:
        if not head.isspace():
            break
        line += head.count(b"\n")
    else:
        raise Unreadable(EMPTY)
    text = chain([head], chunks)
    if is_lines(head, source):
        return _lines(text, limit, line)
    first = head.lstrip(_WHITESPACE)[:1]
    if first not in (b"[", b"{"):
        raise Unreadable(f"not JSON: it starts with {head.lstrip(_WHITESPACE)[:8]!r}")
    if source.records is None and first == b"[":
        return _array(_within(text, source.max_unpacked_bytes), limit, line)
    if source.records is not None:
        return _document(_whole(text, source.max_unpacked_bytes), source.records, limit, line)
    return _document_or_lines(_whole(text, source.max_unpacked_bytes), limit, line)


def array_place(file: RawFile, source: Source) -> tuple[int, int] | None:
    """Where in a file's text its array of records begins and ends; None where its records are lines, or it is one.

    Raises:
        Unreadable: there is no array of records.
    """
    if source.format == "ndjson":
        return None
    text = _whole(text_chunks(file, source.max_unpacked_bytes), source.max_unpacked_bytes)
    if source.records is not None:
        array = _array_at(text, source.records.split("."))
        return (start := _offset(text, array)), start + len(memoryview(array))
    start = len(text) - len(text.lstrip(_WHITESPACE))
    return (start, len(text.rstrip(_WHITESPACE))) if text[start : start + 1] == b"[" else None


def is_lines(head: bytes, source: Source) -> bool:
    """Whether a file that begins so, with more than white space, has one record a line."""
    return source.format == "ndjson" or (source.records is None and any(map(_is_record, _first_lines(head, 1))))


def _within(chunks: Iterator[bytes], limit: int) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise TooLarge(f"a JSON array or document of more than source.max_unpacked_bytes, {limit:,}")
        yield chunk


def _whole(chunks: Iterator[bytes], limit: int) -> bytes:
    held: list[bytes] = []
    size = 0
    for chunk in _within(chunks, limit):
        size += len(chunk)
        if size > MAX_DOCUMENT_BYTES:
            raise TooLarge("a JSON document of over 2 GiB; NDJSON has no such limit")
        held.append(chunk)
    return b"".join(held)


def _array(chunks: Iterator[bytes], limit: int, line: int) -> Iterator[Block]:
    """The elements of the array at the root."""
    for text, raw in arrays.parts(chunks, _elements, MAX_DOCUMENT_BYTES):
        ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))
        if (spaced := arrays.evenly_spaced(text, raw, limit)) is not None:
            texts, starts = spaced
            yield Block(texts, np.searchsorted(ends, starts) + line)
        elif raw:
            elements = list(map(bytes, raw))
            yield _cut_off(elements, limit, _starts(text, 0, elements) + (line - 1))
        line += len(ends)


def _elements(text: bytes) -> list[msgspec.Raw]:
    found: list[msgspec.Raw] = _decode(text, list[msgspec.Raw], "not a JSON array")
    return found


def _cut_off(elements: list[bytes], limit: int, lines: npt.NDArray[np.int64]) -> Block:
    cut = [exact.cut_off(element, limit) if len(element) > limit else element for element in elements]
    return Block(_strings(cut), lines)


def _first_lines(text: bytes, count: int) -> list[bytes]:
    """The first lines that are not blank."""
    start = 0
    lines: list[bytes] = []
    while len(lines) < count and start < len(text):
        end = text.find(b"\n", start) + 1 or len(text)
        line = text[start:end].strip(_WHITESPACE)
        lines += [line] if line else []
        start = end
    return lines


def _is_record(line: bytes) -> bool:
    return line.startswith(b"{") and _is_json(line)


def _document_or_lines(text: bytes, limit: int, line: int) -> Iterator[Block]:
    """One document that spans lines; or else lines, if the second of them shows that the first is only a bad one."""
    if _is_json(text) or not any(map(_is_record, _first_lines(text, 2))):
        return _document(text, None, limit, line)
    return _lines(iter([text]), limit, line)


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def _lines(chunks: Iterator[bytes], limit: int, line: int) -> Iterator[Block]:
    carry: list[bytes] = []
    size = 0
    for chunk in chain(chunks, [b""]):
        end = chunk.rfind(b"\n") + 1
        if chunk and not end:
            # Of a line over the limit only as much is held as shows that it is one.
            carry.append(chunk[: max(limit + 1 - size, 0)])
            size += len(carry[-1])
            continue
        # What is copied here is copied for every byte there is.
        data = chunk if end == len(chunk) and not size else b"".join([*carry, memoryview(chunk)[:end]])
        carry, size = [chunk[end:]], len(chunk) - end
        if data:
            block, line = _split(data, limit, line)
            if len(block):
                yield block


def _split(data: bytes, limit: int, first_line: int) -> tuple[Block, int]:
    """The lines of the data as a block that shares its memory, and the number of the line after them."""
    if data.isspace():
        return Block(pa.array([], pa.string()), np.array([], np.int64)), first_line + data.count(b"\n")
    buffer = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(buffer == ord("\n")) + 1
    if not len(ends) or ends[-1] != len(data):
        ends = np.append(ends, len(data))
    offsets = np.concatenate(([0], ends)).astype(np.int32)
    texts = pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(data))
    too_long = np.diff(offsets) > limit
    if too_long.any():
        cut = [exact.cut_off(data[offsets[i] : offsets[i + 1]], limit) for i in np.flatnonzero(too_long)]
        texts = pc.replace_with_mask(texts, pa.array(too_long), _strings(cut))
    lines = np.arange(first_line, first_line + len(ends), dtype=np.int64)
    # A blank line starts with white space; few others do, so few are looked at.
    suspects = np.flatnonzero(buffer[offsets[:-1]] <= ord(" "))
    blank = np.array([i for i in suspects if data[offsets[i] : offsets[i + 1]].isspace()], np.int64)
    if len(blank):
        keep = np.ones(len(ends), bool)
        keep[blank] = False
        return Block(texts.filter(pa.array(keep)), lines[keep]), first_line + len(ends)
    return Block(texts, lines), first_line + len(ends)


def _document(text: bytes, records: str | None, limit: int, line: int) -> Iterator[Block]:
    """The elements of the array at the path `records`, or the document itself, as one record."""
    if records is None:
        start, elements = 0, [bytes(_decode(text, msgspec.Raw, "not JSON"))]
    else:
        array = _array_at(text, records.split("."))
        start, reason = _offset(text, array), f"no array of records at {records!r}"
        elements = list(map(bytes, _decode(array, list[msgspec.Raw], reason)))
    if elements:
        yield _cut_off(elements, limit, _starts(text, start, elements) + (line - 1))


def _decode(text: bytes | msgspec.Raw, type_: Any, otherwise: str) -> Any:
    try:
        return msgspec.json.decode(text, type=type_)
    except msgspec.ValidationError as error:
        raise Unreadable(f"{otherwise}: {error}") from None
    except msgspec.DecodeError as error:
        raise Unreadable(f"not JSON: {error}") from None
    except RecursionError:
        raise Unreadable("not JSON that can be read: nested too deeply") from None


def _array_at(text: bytes, path: list[str]) -> msgspec.Raw:
    """The value at the path.

    Raises:
        Unreadable: there is none, or a key on the way to it comes twice.
    """
    shape: Any = msgspec.Raw
    for key in reversed(path):
        shape = msgspec.defstruct("Envelope", [("inner", shape)], rename={"inner": key})
    outer = _decode(text, shape, f"no array of records at {'.'.join(path)!r}")
    for _ in path:
        outer = outer.inner
    value: msgspec.Raw = outer
    # Of a key that comes twice msgspec takes the last, and the records under the first would be lost.
    start = _offset(text, value)
    try:
        envelope = exact.parse(text[:start] + b"null" + text[start + len(memoryview(value)) :])
    except exact.BadRecord as error:
        raise Unreadable(str(error)) from None
    for key in path:
        if isinstance(envelope, exact.Duplicated):
            raise Unreadable(f"duplicate key {envelope.key!r} on the way to the records")
        envelope = envelope[key]
    return value


def _offset(text: bytes, part: msgspec.Raw) -> int:
    """Where the part stands in the text that it was decoded from."""
    return int(np.frombuffer(part, np.uint8).ctypes.data - np.frombuffer(text, np.uint8).ctypes.data)


def _strings(values: list[bytes]) -> pa.StringArray:
    binary = pa.array(values, pa.binary())
    return pa.StringArray.from_buffers(len(values), binary.buffers()[1], binary.buffers()[2])


def _starts(text: bytes, position: int, elements: list[bytes]) -> npt.NDArray[np.int64]:
    """The line each element starts on; from `position` they come in order, with only separators between them."""
    lines = np.empty(len(elements), np.int64)
    line = 1 + text.count(b"\n", 0, position)
    for index, element in enumerate(elements):
        start = text.index(element, position)
        line += text.count(b"\n", position, start)
        lines[index] = line
        line += element.count(b"\n")
        position = start + len(element)
    return lines
