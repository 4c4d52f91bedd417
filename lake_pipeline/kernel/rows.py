"""The second pass: record texts on their way to DuckDB, plain ones as they stand, others repaired or quarantined."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Container, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lake_pipeline.dataset import Source
from lake_pipeline.kernel.exact import BadRecord, beginning
from lake_pipeline.kernel.explode import exploded
from lake_pipeline.kernel.matching import Mask, ahead, matched, text_of
from lake_pipeline.kernel.records import Block, read_blocks
from lake_pipeline.kernel.repair import Repairer
from lake_pipeline.kernel.shape import quoted
from lake_pipeline.kernel.source import RawFile

ARROW_SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("file", pa.dictionary(pa.int32(), pa.string())),
        ("rescued", pa.string()),
        ("position", pa.int64()),
    ]
)
# Small files share a batch of about this much text, so that 20,000 of them do not make 20,000 batches.
BATCH_BYTES = 4 * 2**20


@dataclass(frozen=True)
class _Part:
    """Records of one file, and where among the file's records each of them stands."""

    key: str
    texts: pa.StringArray
    rescued: pa.StringArray
    positions: npt.NDArray[np.int64]


class RowStream:
    """Batches for the COPY, and on the way the counts by file id and the quarantined records.

    `quoted`: the pattern of records whose numbers were put between quotes; None where no column is text.
    `plain_blocks`: (file id, block number) of blocks that are known to match the pattern, so need no second look.
    `careful` has DuckDB itself check every plain record first: needed only where one matched the expression and yet
    is no JSON.
    """

    def __init__(
        self,
        source: Source,
        explode: tuple[str, ...],
        pattern: str | None,
        quoted: str | None,
        plain_blocks: Container[tuple[int, int]],
        repairer: Repairer,
        quarantine: Path,
        careful: bool,
    ) -> None:
        self._source = source
        self._explode = explode
        self._pattern = pattern
        self._quoted = quoted
        self._plain_blocks = plain_blocks
        self._repairer = repairer
        self._quarantine_path = quarantine
        self._quarantine: TextIO | None = None
        self._careful = careful
        self.rows_read: Counter[int] = Counter()
        self.rows_exploded: Counter[int] = Counter()
        self.rows_rescued: Counter[int] = Counter()
        self.rows_quarantined: Counter[int] = Counter()

    @property
    def has_quarantined(self) -> bool:
        return self.rows_quarantined.total() > 0

    def reader(self, files: list[RawFile], pool: Executor, depth: int) -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(ARROW_SCHEMA, self._batches(files, pool, depth))

    def _batches(self, files: list[RawFile], pool: Executor, depth: int) -> Iterator[pa.RecordBatch]:
        held: list[_Part] = []
        size = 0
        self._quarantine_path.unlink(missing_ok=True)
        for (file, block, _), found in ahead(pool, lambda item: self._plain(*item[1:]), self._blocks(files), depth):
            for part in self._parts(file, block, *found):
                if len(part.texts):
                    held.append(part)
                    size += part.texts.nbytes
            if size >= BATCH_BYTES:
                yield _batch(held)
                held, size = [], 0
        if held:
            yield _batch(held)
        if self._quarantine:
            self._quarantine.close()

    def _blocks(self, files: list[RawFile]) -> Iterator[tuple[RawFile, Block, bool]]:
        for file in files:
            blocks = read_blocks(file, self._source)
            for number, block in enumerate(exploded(blocks, self._explode, self._source.max_unpacked_bytes)):
                yield file, block, (file.id, number) in self._plain_blocks

    def _plain(self, block: Block, known_plain: bool) -> tuple[pa.StringArray, Mask]:
        """The record texts that DuckDB can read, and which of them these are."""
        mask = np.ones(len(block), bool) if known_plain else matched(block, self._pattern)[1]
        texts = block.texts
        if self._quoted and not mask.all():
            texts, mask = _with_quoted(block, mask, self._quoted)
        if self._careful and mask.any():
            plain = pa.table({"text": texts.filter(pa.array(mask))})  # noqa: F841 - DuckDB reads it by name
            with duckdb.connect() as connection:
                valid = connection.execute("SELECT json_valid(text) AS valid FROM plain").fetchnumpy()["valid"]
            mask[np.flatnonzero(mask)] = valid
        return texts, mask

    def _parts(self, file: RawFile, block: Block, texts: pa.StringArray, mask: Mask) -> Iterator[_Part]:
        positions = np.arange(len(block)) + self.rows_read[file.id] + self.rows_exploded[file.id]
        self.rows_read[file.id] += len(block) - block.exploded
        self.rows_exploded[file.id] += block.exploded
        if mask.all():
            yield _Part(file.key, texts, pa.nulls(len(block), pa.string()), positions)
            return
        plain = texts.filter(pa.array(mask))
        yield _Part(file.key, plain, pa.nulls(len(plain), pa.string()), positions[mask])
        repaired: list[tuple[str, str | None]] = []
        places: list[int] = []
        for index in np.flatnonzero(~mask):
            text = text_of(block, int(index))
            try:
                repaired.append(self._repairer.split(text))
                places.append(positions[index])
            except BadRecord as error:
                self._set_aside(file, int(block.lines[index]), str(error), text)
        self.rows_rescued[file.id] += sum(rescued is not None for _, rescued in repaired)
        yield _Part(
            file.key,
            pa.array([text for text, _ in repaired], pa.string()),
            pa.array([rescued for _, rescued in repaired], pa.string()),
            np.array(places, np.int64),
        )

    def _set_aside(self, file: RawFile, line: int, reason: str, text: bytes) -> None:
        self.rows_quarantined[file.id] += 1
        entry: dict[str, Any] = {"file": file.key, "line": line, "reason": reason}
        text = beginning(text)
        try:
            entry["raw"] = text.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            entry["raw_base64"] = base64.b64encode(text).decode()
        if self._quarantine is None:
            self._quarantine = self._quarantine_path.open("w", encoding="utf-8")
        self._quarantine.write(json.dumps(entry, ensure_ascii=False) + "\n")


def _with_quoted(block: Block, mask: Mask, pattern: str) -> tuple[pa.StringArray, Mask]:
    """The texts, those whose numbers had to be quoted so, and which of them are plain now."""
    rest = np.flatnonzero(~mask)
    try:
        spelled = quoted(block.texts.take(pa.array(rest)))
    except pa.ArrowInvalid:
        return block.texts, mask  # not UTF-8: every record takes the exact path
    found = matched(Block(spelled, block.lines[rest]), pattern)[1]
    mask = mask.copy()
    mask[rest] = found
    places = np.zeros(len(block), bool)
    places[rest[found]] = True
    return pc.replace_with_mask(block.texts, pa.array(places), spelled.filter(pa.array(found))), mask


def _batch(parts: list[_Part]) -> pa.RecordBatch:
    keys = pa.array([part.key for part in parts], pa.string())
    indices = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part.texts) for part in parts])
    return pa.record_batch(
        [
            pa.concat_arrays([part.texts for part in parts]),
            pa.DictionaryArray.from_arrays(pa.array(indices), keys),
            pa.concat_arrays([part.rescued for part in parts]),
            pa.array(np.concatenate([part.positions for part in parts])),
        ],
        schema=ARROW_SCHEMA,
    )
