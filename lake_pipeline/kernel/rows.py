"""Record texts on their way to DuckDB: plain ones as they stand, others repaired or quarantined."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lake_pipeline.kernel.exact import BadRecord, beginning
from lake_pipeline.kernel.groups import Group
from lake_pipeline.kernel.matching import text_of
from lake_pipeline.kernel.repair import Repairer
from lake_pipeline.kernel.sorting import Sorted, Sorting
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
    """Records of some files, whose keys `owners` names by place, and where among its file's records each stands."""

    keys: list[str]
    owners: npt.NDArray[np.int32]
    texts: pa.StringArray
    rescued: pa.StringArray
    positions: npt.NDArray[np.int64]

    def at(self, places: npt.NDArray[np.intp], texts: pa.StringArray, rescued: pa.StringArray) -> _Part:
        """Other texts for the records at these places."""
        return _Part(self.keys, self.owners[places], texts, rescued, self.positions[places])


class RowStream:
    """Batches for the COPY, and on the way the counts by file id and the quarantined records."""

    def __init__(self, sorting: Sorting, repairer: Repairer, quarantine: Path) -> None:
        self._sorting = sorting
        self._repairer = repairer
        self._quarantine_path = quarantine
        self._quarantine: TextIO | None = None
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
        try:
            for group, sorted_ in self._sorting.sort(files, pool, depth):
                for part in self._parts(group, sorted_):
                    if len(part.texts):
                        held.append(part)
                        size += part.texts.nbytes
                if size >= BATCH_BYTES:
                    yield _batch(held)
                    held, size = [], 0
            if held:
                yield _batch(held)
        finally:
            if self._quarantine:
                self._quarantine.close()

    def _parts(self, group: Group, sorted_: Sorted) -> Iterator[_Part]:
        spans = []
        for piece in group.pieces:
            id_ = piece.file.id
            start = self.rows_read[id_] + self.rows_exploded[id_]
            spans.append(np.arange(start, start + piece.records))
            self.rows_read[id_] += piece.records - piece.exploded
            self.rows_exploded[id_] += piece.exploded
        keys, nothing = [piece.file.key for piece in group.pieces], pa.nulls(len(group), pa.string())
        mask, parted = sorted_.plain, sorted_.parted
        whole = _Part(keys, group.owners, sorted_.texts, nothing, np.concatenate([np.array([], np.int64), *spans]))
        if mask.all():
            yield whole
            return
        plain = sorted_.texts.filter(pa.array(mask))
        yield _Part(keys, whole.owners[mask], plain, nothing.slice(0, len(plain)), whole.positions[mask])
        done = mask.copy()
        if parted:
            yield whole.at(parted.places, parted.texts, parted.rescued)
            for owner in whole.owners[parted.places]:
                self.rows_rescued[group.pieces[owner].file.id] += 1
            done[parted.places] = True
        places: list[int] = []
        repaired: list[str] = []
        misfits: list[str | None] = []
        for index in map(int, np.flatnonzero(~done)):
            text, file = text_of(group.block, index), group.pieces[whole.owners[index]].file
            try:
                fitting, rescued = self._repairer.split(text)
            except BadRecord as error:
                self._set_aside(file, int(group.block.lines[index]), str(error), text)
                continue
            places.append(index)
            repaired.append(fitting)
            misfits.append(rescued)
            self.rows_rescued[file.id] += rescued is not None
        yield whole.at(np.array(places, np.intp), pa.array(repaired, pa.string()), pa.array(misfits, pa.string()))

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


def _batch(parts: list[_Part]) -> pa.RecordBatch:
    starts = np.cumsum([0, *(len(part.keys) for part in parts)], dtype=np.int32)
    keys = pa.array([key for part in parts for key in part.keys], pa.string())
    indices = np.concatenate([part.owners + start for part, start in zip(parts, starts, strict=False)])
    return pa.record_batch(
        [
            _joined([part.texts for part in parts]),
            pa.DictionaryArray.from_arrays(pa.array(indices), keys),
            _joined([part.rescued for part in parts]),
            pa.array(np.concatenate([part.positions for part in parts])),
        ],
        schema=ARROW_SCHEMA,
    )


def _joined(arrays: list[pa.StringArray]) -> pa.StringArray:
    return arrays[0] if len(arrays) == 1 else pa.concat_arrays(arrays)
