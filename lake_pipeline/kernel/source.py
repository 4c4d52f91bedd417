"""A raw file as UTF-8 text in chunks: decompressed, byte order mark removed, UTF-16 and UTF-32 translated."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

CHUNK_BYTES = 8 * 2**20
_SUFFIXES = {".gz": "gzip", ".zst": "zstd"}
# UTF-32's little-endian mark begins with UTF-16's, so it is looked for first.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


# Why a file without a record is unreadable.
EMPTY = "the file is empty"


class Unreadable(Exception):
    """The file cannot be read as a whole; the message says why."""


class TooLarge(Unreadable):
    """The file would unpack to more than the declaration allows; the message names the field."""


@dataclass(frozen=True)
class Span:
    """Whole lines of a file: its bytes from `start` up to `end`, and the 1-based number of the first line.

    The number is 1 for as long as nobody has counted the lines before it.
    """

    start: int
    end: int
    line: int = 1


@dataclass(frozen=True)
class RawFile:
    """A raw file of the manifest, or a span of one, at hand as a local file, which may be one of the span alone."""

    id: int
    key: str
    path: Path
    span: Span | None = None
    alone: bool = False


def text_chunks(file: RawFile, limit: int) -> Iterator[bytes]:
    """The file's text, about 8 MiB at a time. Its key says by its suffix (.gz, .zst) how it is compressed.

    Raises:
        TooLarge: the compressed data unpacks to more than `limit` bytes.
        Unreadable: it is broken or ends early, or the text is not what its byte order mark says.
    """
    chunks = _bytes(file, limit) if file.span is None else _span(file.path, file.span, file.alone)
    if file.span and file.span.start:
        yield from chunks
        return
    head = next(chunks, b"")
    if head.startswith(codecs.BOM_UTF8):
        head = head[len(codecs.BOM_UTF8) :]
    encoding = encoding_of(head)
    if encoding is None:
        if head:
            yield head
        yield from chunks
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        yield decoder.decode(head).encode()
        for chunk in chunks:
            yield decoder.decode(chunk).encode()
        decoder.decode(b"", final=True)
    except UnicodeError as error:
        raise Unreadable(f"not {encoding.upper()}, as its byte order mark says: {error}") from None


def count_lines(file: RawFile) -> int:
    """How many line ends there are in a span, or in a file that is not compressed."""
    return sum(chunk.count(b"\n") for chunk in text_chunks(file, 0))


def compression_of(key: str) -> str | None:
    """How a file of that name is compressed."""
    return _SUFFIXES.get(Path(key).suffix.lower())


def encoding_of(head: bytes) -> str | None:
    """The encoding that a byte order mark at the head announces, if it is not UTF-8."""
    return next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)


def _span(path: Path, span: Span, alone: bool) -> Iterator[bytes]:
    with path.open("rb") as raw:
        raw.seek(0 if alone else span.start)
        left = span.end - span.start
        while chunk := raw.read(min(CHUNK_BYTES, left)):
            left -= len(chunk)
            yield chunk


def _bytes(file: RawFile, limit: int) -> Iterator[bytes]:
    compression = compression_of(file.key)
    with file.path.open("rb") as raw:
        if compression is None:
            while chunk := raw.read(CHUNK_BYTES):
                yield chunk
            return
        if not raw.read(1):
            return
        raw.seek(0)
        try:
            with pa.CompressedInputStream(pa.PythonFile(raw, "r"), compression) as stream:
                unpacked = 0
                while chunk := stream.read(CHUNK_BYTES):
                    unpacked += len(chunk)
                    if unpacked > limit:
                        raise TooLarge(f"it unpacks to more than source.max_unpacked_bytes, {limit:,}")
                    yield chunk
        except OSError as error:
            raise Unreadable(f"the {compression} data is broken or ends early: {error}") from None
