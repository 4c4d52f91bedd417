"""A raw file as UTF-8 text in chunks: decompressed, byte order mark removed, UTF-16 and UTF-32 translated."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
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


class Unreadable(Exception):
    """The file cannot be read as a whole; the message says why."""


def text_chunks(path: Path, name: str) -> Iterator[bytes]:
    """The file's text, about 8 MiB at a time. `name` says by its suffix (.gz, .zst) how it is compressed.

    Raises:
        Unreadable: the compressed data is broken or ends early, or the text is not what its byte order mark says.
    """
    chunks = _bytes(path, name)
    head = next(chunks, b"")
    if head.startswith(codecs.BOM_UTF8):
        head = head[len(codecs.BOM_UTF8) :]
    encoding = next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)
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


def _bytes(path: Path, name: str) -> Iterator[bytes]:
    compression = _SUFFIXES.get(Path(name).suffix.lower())
    with path.open("rb") as raw:
        if compression is None:
            while chunk := raw.read(CHUNK_BYTES):
                yield chunk
            return
        if not raw.read(1):
            return
        raw.seek(0)
        try:
            with pa.CompressedInputStream(pa.PythonFile(raw, "r"), compression) as stream:
                while chunk := stream.read(CHUNK_BYTES):
                    yield chunk
        except OSError as error:
            raise Unreadable(f"the {compression} data is broken or ends early: {error}") from None
