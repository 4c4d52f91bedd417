"""Raw files without some of their records: which give rows that match a predicate, and those files written anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from lake_pipeline.dataset import Dataset, Source
from lake_pipeline.kernel.columnar import ColumnStream
from lake_pipeline.kernel.layout import Layout
from lake_pipeline.kernel.matching import text_of
from lake_pipeline.kernel.means import Means
from lake_pipeline.kernel.quoting import identifier
from lake_pipeline.kernel.raw_parquet import without_rows
from lake_pipeline.kernel.records import MAX_DOCUMENT_BYTES, array_place, read_blocks
from lake_pipeline.kernel.references import References
from lake_pipeline.kernel.repair import Repairer
from lake_pipeline.kernel.rows import RowStream
from lake_pipeline.kernel.settling import survey_of
from lake_pipeline.kernel.sorting import SecondPass
from lake_pipeline.kernel.source import RawFile, compression_of, text_chunks
from lake_pipeline.kernel.transform import POSITION
from lake_pipeline.kernel.writing import Recipe
from lake_pipeline.schemas import Schema


def matching_records(
    files: list[RawFile], dataset: Dataset, schema: Schema, references: References, condition: str, means: Means
) -> tuple[dict[str, set[int]], dict[str, str]]:
    """Places of the records, from 0, whose rows match, by key; and why files cannot be read.

    A row that a rule of the declaration would drop counts too: its record is in the file all the same.
    """
    with ThreadPoolExecutor(max(means.threads, 1)) as pool:
        survey = survey_of(dataset, schema)
        survey.look(files, pool, means.threads)
        survey.found.settle()
        readable = [file for file in files if file.id in survey.found.rows]
        recipe = Recipe.of(dataset, schema, schema, references, survey.found.root)
        layout = Layout.of(schema, dataset.output, dataset.transform, references, condition)

        typed = dataset.source.format == "parquet"

        def records(careful: bool) -> RowStream | ColumnStream:
            if typed:
                return ColumnStream(layout, strict=False)
            unreadable = means.scratch / "unreadable.ndjson"
            sorting = SecondPass(dataset.source, (), recipe.pattern, recipe.quoted, recipe.misfits, careful=careful)
            return RowStream(sorting, Repairer(layout), unreadable)

        def search(careful: bool) -> dict[str, set[int]]:
            stream = records(careful)
            found: dict[str, set[int]] = {}
            with means.connect() as connection:
                connection.register("records", stream.reader(readable, pool, means.threads))
                place = identifier(POSITION)
                rows = connection.execute(
                    f"SELECT _source_file, {place} FROM ({layout.select('records', typed=typed)}) WHERE {condition}"
                )
                while page := rows.fetchmany(10_000):
                    for key, position in page:
                        found.setdefault(key, set()).add(position)
            return found

        means.scratch.mkdir(parents=True, exist_ok=True)
        reasons = survey.found.unreadable | survey.found.vanished
        unreadable = {file.key: reasons[file.id] for file in files if file.id in reasons}
        try:
            return search(careful=False), unreadable
        except duckdb.InvalidInputException:
            return search(careful=True), unreadable


def without_records(file: RawFile, source: Source, erased: Set[int], target: Path) -> int:
    """Write a raw file without the records at these places, compressed as it was; how many are left.

    Records keep their text. Blank lines, a byte order mark and UTF-16 do not stay, for UTF-8 needs none of them.

    Raises:
        Unreadable: it cannot be written anew as it is.
    """
    if source.format == "parquet":
        return without_rows(file.path, erased, target)
    head, tail, separator = _surroundings(file, source)
    left = 0
    with _writer(file.key, target) as write:
        write(head)
        for text in _texts(file, source, erased):
            write((separator if left else b"") + text)
            left += 1
        write(tail if left or separator != b"\n" else b"")
    return left


def _texts(file: RawFile, source: Source, erased: Set[int]) -> Iterator[bytes]:
    place = 0
    # A record that is too long to be converted stays as a whole; `read_blocks` would cut it off.
    whole = source.model_copy(update={"max_record_bytes": MAX_DOCUMENT_BYTES})
    for block in read_blocks(file, whole):
        for index in range(len(block)):
            if place not in erased:
                yield text_of(block, index).rstrip(b"\r\n")
            place += 1


def _surroundings(file: RawFile, source: Source) -> tuple[bytes, bytes, bytes]:
    """What stands before a file's first record, after its last, and between two."""
    array = array_place(file, source)
    if array is None:
        return b"", b"\n", b"\n"
    text = b"".join(text_chunks(file, source.max_unpacked_bytes))
    return text[: array[0]] + b"[\n", b"\n]" + text[array[1] :], b",\n"


@contextmanager
def _writer(key: str, target: Path) -> Iterator[Callable[[bytes], object]]:
    """What writes bytes to the target, compressed as the key says."""
    target.parent.mkdir(parents=True, exist_ok=True)
    compression = compression_of(key)
    with pa.OSFile(str(target), "wb") as raw:
        if compression is None:
            yield raw.write
            return
        with pa.CompressedOutputStream(raw, compression) as compressed:
            yield compressed.write
