"""What a conversion found and wrote: the results document, written to the store and read by the orchestrator."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from lake_pipeline.schemas import Schema

# The folder of staged rows, and the records that were set aside, below an attempt's staging prefix.
DATA = "data"
RECORDS = "records.ndjson"


@dataclass(frozen=True)
class FileResult:
    """What became of one raw file: rows_read + rows_exploded = rows_written + rows_quarantined + rows_dropped +
    rows_erased.

    `rows_read` are its records; `rows_exploded` what `flatten.explode` adds, an array's elements after its first.
    `dropped` counts rows by the declared rule that dropped them; `rows_rescued` is of the rows that were read;
    `rows_erased` counts those that a request to erase keeps out.
    """

    id: int
    key: str
    status: Literal["SUCCEEDED", "QUARANTINED", "FAILED"]
    rows_read: int = 0
    rows_exploded: int = 0
    rows_written: int = 0
    rows_rescued: int = 0
    rows_quarantined: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    rows_erased: int = 0
    error_class: str | None = None
    error_message: str | None = None

    @property
    def rows_dropped(self) -> int:
        return sum(self.dropped.values())

    @property
    def is_conserved(self) -> bool:
        """Whether every row is accounted for."""
        left_out = self.rows_quarantined + self.rows_dropped + self.rows_erased
        return self.rows_read + self.rows_exploded == self.rows_written + left_out

    @property
    def account(self) -> str:
        """The file's rows in words."""
        return (
            f"{self.key}: {self.rows_read:,} read, {self.rows_exploded:,} added by exploding,"
            f" {self.rows_written:,} written, {self.rows_quarantined:,} quarantined, {self.rows_dropped:,} dropped,"
            f" {self.rows_erased:,} erased"
        )


@dataclass(frozen=True)
class StagedFile:
    """A curated file: its path below the output prefix, and its key below the attempt's staging prefix.

    `file_id` is that of the raw file, where one file becomes one file. Where no key is given, the file lies in `data/`
    under the path that it will have.
    """

    path: str
    rows: int
    bytes: int
    file_id: int | None = None
    staged: str = ""

    @property
    def key(self) -> str:
        return self.staged or f"{DATA}/{self.path}"


@dataclass(frozen=True)
class CheckOutcome:
    """A declared check on the staged rows: how many offend, and a few of them."""

    name: str
    passed: bool
    blocking: bool
    offending: int
    sample: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Results:
    """One attempt's outcome. `schema` is what the table must have for these rows; `changes` is what that adds.

    `seconds` are wall-clock, by step; `quarantined_records` says whether the staging folder holds records.ndjson.
    """

    files: tuple[FileResult, ...]
    outputs: tuple[StagedFile, ...]
    schema: Schema
    base_version: int
    changes: tuple[dict[str, str], ...]
    quarantined_records: bool
    bytes_read: int
    seconds: dict[str, float]
    checks: tuple[CheckOutcome, ...] = ()

    @property
    def rows_written(self) -> int:
        return sum(output.rows for output in self.outputs)

    @property
    def dropped(self) -> dict[str, int]:
        """Rows of all files by the rule that dropped them."""
        counted: Counter[str] = Counter()
        for file in self.files:
            counted.update(file.dropped)
        return {rule: rows for rule, rows in counted.items() if rows}

    def to_json(self) -> dict[str, Any]:
        # `asdict` copies whatever it finds, which takes half a second for ten thousand files.
        listed = {name: [vars(item) for item in getattr(self, name)] for name in ("files", "outputs", "checks")}
        return vars(self) | listed | {"schema": self.schema.to_json()}

    @staticmethod
    def from_json(document: dict[str, Any]) -> Results:
        return Results(
            **document
            | {
                "files": tuple(FileResult(**item) for item in document["files"]),
                "outputs": tuple(StagedFile(**item) for item in document["outputs"]),
                "schema": Schema.from_json(document["schema"]),
                "changes": tuple(document["changes"]),
                "checks": tuple(CheckOutcome(**item) for item in document["checks"]),
            }
        )
