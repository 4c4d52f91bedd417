"""Conservation: what became of every record of every file, from what was seen, read and written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from lake_pipeline.erasures import ERASED
from lake_pipeline.errors import ConservationError, ObjectMissing
from lake_pipeline.kernel.results import FileResult
from lake_pipeline.kernel.survey import Observation
from lake_pipeline.manifests import ManifestFile

Dropped: TypeAlias = dict[str, dict[str, int]]  # rows by source key and rule


@dataclass
class Counts:
    """Records and rows of a part: by file id, and by source key those in the staged files themselves."""

    read: Counter[int] = field(default_factory=Counter)
    exploded: Counter[int] = field(default_factory=Counter)
    rescued: Counter[int] = field(default_factory=Counter)
    quarantined: Counter[int] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)
    dropped: Dropped = field(default_factory=dict)

    def add(self, other: Counts) -> None:
        """Add another part's."""
        self.read.update(other.read)
        self.exploded.update(other.exploded)
        self.rescued.update(other.rescued)
        self.quarantined.update(other.quarantined)
        self.written.update(other.written)
        for key, rules in other.dropped.items():
            self.dropped[key] = dict(Counter(self.dropped.get(key, {})) + Counter(rules))


def failed_files(files: Iterable[ManifestFile], found: Observation) -> list[FileResult]:
    """The outcome of files that went away while they were looked at."""
    return [
        FileResult(
            file.id, file.key, "FAILED", error_class=ObjectMissing.__name__, error_message=found.vanished[file.id]
        )
        for file in files
        if file.id in found.vanished
    ]


def file_results(files: Iterable[ManifestFile], found: Observation, counts: Counts) -> Iterator[FileResult]:
    """The outcome of files that were looked at whole.

    Raises:
        ConservationError: a file's records are not all accounted for.
    """
    for file in files:
        if file.id in found.unreadable:
            kind = "TooLarge" if file.id in found.too_large else "Unreadable"
            yield FileResult(
                file.id, file.key, "QUARANTINED", error_class=kind, error_message=found.unreadable[file.id]
            )
        elif file.id in found.rows:
            yield _accounted(file, found, counts)


def _accounted(file: ManifestFile, found: Observation, counts: Counts) -> FileResult:
    dropped = dict(counts.dropped.get(file.key, {}))
    erased = dropped.pop(ERASED, 0)
    result = FileResult(
        file.id,
        file.key,
        "SUCCEEDED",
        rows_read=counts.read[file.id],
        rows_exploded=counts.exploded[file.id],
        rows_written=counts.written[file.key],
        rows_rescued=counts.rescued[file.id],
        rows_quarantined=counts.quarantined[file.id],
        dropped=dropped,
        rows_erased=erased,
    )
    seen = found.rows[file.id], found.exploded[file.id]
    if seen != (result.rows_read, result.rows_exploded) or not result.is_conserved:
        raise ConservationError(f"{seen[0]:,} records and {seen[1]:,} more elements seen; {result.account}")
    return result
