"""A manifest in parts of a stated size: neighbouring files together, a large file of lines cut at line ends."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from lake_pipeline.dataset import Source
from lake_pipeline.errors import StoreError
from lake_pipeline.kernel.records import MAX_DOCUMENT_BYTES, is_lines
from lake_pipeline.kernel.source import CHUNK_BYTES, Span, compression_of, encoding_of
from lake_pipeline.manifests import ManifestFile
from lake_pipeline.store import Store

_MARK_BYTES = 2**12
# More small files than these are a part of their own, however few their bytes: each costs a request or two.
MAX_FILES = 1000


@dataclass(frozen=True)
class Part:
    """Whole files of a manifest, or a span of one file."""

    files: tuple[ManifestFile, ...]
    span: Span | None = None


def plan_parts(files: Iterable[ManifestFile], size: int, cuts: Mapping[int, list[int]]) -> list[Part]:
    """Parts of up to `size` bytes in the manifest's order; pure.

    `cuts` says where files are cut, by file id; one that is larger and is not cut is a part of its own.
    """
    parts: list[Part] = []
    held: list[ManifestFile] = []
    for file in files:
        split = cuts.get(file.id)
        if held and (split or len(held) == MAX_FILES or sum(other.size for other in held) + file.size > size):
            parts.append(Part(tuple(held)))
            held = []
        if split:
            parts += [Part((file,), Span(start, end)) for start, end in pairwise([0, *split, file.size])]
        else:
            held.append(file)
    return [*parts, Part(tuple(held))] if held else parts


def find_cuts(file: ManifestFile, source: Source, store: Store, size: int) -> list[int]:
    """Where a file is to be cut so that each span is about `size` bytes of whole lines; empty where it stays whole.

    Parquet, compressed files, arrays, documents and text that is not UTF-8 stay whole; so does what cannot be read,
    for whoever reads all of it says best why.
    """
    if source.format == "parquet" or file.size <= size or compression_of(file.key):
        return []
    try:
        # Whether a document is lines is told by as much of it as `read_blocks` looks at.
        length = _MARK_BYTES if source.format == "ndjson" else CHUNK_BYTES
        head = store.get_range(file.location, 0, min(length, file.size)).removeprefix(codecs.BOM_UTF8)
        if encoding_of(head) or head.isspace() or not is_lines(head, source):
            return []
        cuts: list[int] = []
        while (cuts[-1] if cuts else 0) + size < file.size:
            cut = _line_start(file, store, (cuts[-1] if cuts else 0) + size, size)
            if cut is None:
                return []
            if cut == file.size:
                break
            cuts.append(cut)
    except StoreError:
        return []
    return cuts


def _line_start(file: ManifestFile, store: Store, offset: int, size: int) -> int | None:
    """The first byte from `offset` on that begins a line, or the file's end; None where that is too far away."""
    # A search begins small: most lines are short, and each byte is read from the store.
    position, step = offset - 1, 2**16
    while position < file.size:
        if position - offset > MAX_DOCUMENT_BYTES - size:
            return None
        data = store.get_range(file.location, position, min(step, file.size - position))
        if (found := data.find(b"\n")) >= 0:
            return position + found + 1
        position, step = position + len(data), CHUNK_BYTES
    return file.size
