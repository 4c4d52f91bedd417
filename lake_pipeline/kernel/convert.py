"""The conversion of one manifest: a plain function of (manifest, schema, dataset)."""

from __future__ import annotations

import logging
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import duckdb
import pyarrow as pa

from lake_pipeline.dataset import Dataset, partition_keys
from lake_pipeline.errors import ConservationError, ObjectChanged, ObjectMissing, SchemaConflict, StoreError
from lake_pipeline.evolution import evolve
from lake_pipeline.kernel import columnar, json_lines, shape
from lake_pipeline.kernel.columnar import ColumnStream, ColumnSurvey
from lake_pipeline.kernel.json_lines import count_lines
from lake_pipeline.kernel.layout import Layout, reserved_names
from lake_pipeline.kernel.observed import Lens
from lake_pipeline.kernel.quality import evaluate
from lake_pipeline.kernel.quoting import identifier, literal
from lake_pipeline.kernel.references import load_references
from lake_pipeline.kernel.repair import Repairer
from lake_pipeline.kernel.results import FileResult, Results, StagedFile
from lake_pipeline.kernel.rows import RowStream
from lake_pipeline.kernel.survey import RawFile, Survey
from lake_pipeline.kernel.transform import DROPPED
from lake_pipeline.manifests import Manifest, ManifestFile
from lake_pipeline.notation import bytes_of
from lake_pipeline.schemas import Schema, needs_parquet, type_name
from lake_pipeline.store import Store

_log = logging.getLogger(__name__)
RECORDS = "records.ndjson"
# DuckDB builds several row groups at once; a fourth of its memory for two threads' was too much, an eighth was not.
_ROW_GROUPS_IN_MEMORY = 16
_ESCAPED_UTF8 = re.compile("(?:%[89A-F][0-9A-F])+")
_Dropped = dict[str, dict[str, int]]  # rows by source key and rule


@dataclass(frozen=True)
class Job:
    """One attempt at one manifest.

    `staging` is a local folder that is filled with `data/` and, where records were set aside, `records.ndjson`;
    `scratch` is a local folder for copies and spilling; `memory` is DuckDB's limit, such as `2GiB`.
    """

    dataset: Dataset
    manifest: Manifest
    schema: Schema
    attempt: int
    staging: Path
    scratch: Path
    threads: int
    memory: str


def convert(job: Job, store: Store, on_progress: Callable[[str], None] = _log.info) -> Results:
    """Read every raw file of the manifest and stage its rows, as Parquet or JSON lines.

    Raises:
        CheckInvalid: a declared check cannot be evaluated.
        ReferenceInvalid: a reference for enrichment cannot be used.
        SchemaConflict: the data breaks the dataset's rules for schemas.
        ConservationError: a row is missing or doubled; nothing may be published.
        ObjectChanged: a raw file changed while it was read.
    """
    clock = _Clock()
    transform = job.dataset.transform
    references = load_references(transform, store)
    data = job.staging / "data"
    data.mkdir(parents=True, exist_ok=True)
    job.scratch.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max(job.threads, 1)) as pool:
        with clock.step("fetch"):
            raw, failed = _fetch(job, store)
        on_progress(f"{len(raw):,} files at hand, {len(failed)} missing or changed")
        with clock.step("survey"):
            fixed = job.schema.version > 0 and not job.dataset.schema_.evolves
            survey = survey_of(job.dataset, job.schema, fixed=fixed)
            survey.look(raw, pool, job.threads)
        failed += [_gone(file, survey.vanished[file.id]) for file in raw if file.id in survey.vanished]
        raw = [file for file in raw if file.id not in survey.vanished]
        readable = [file for file in raw if file.id not in survey.unreadable]
        on_progress(f"{sum(survey.rows.values()):,} records seen, {len(survey.unreadable)} files unreadable")
        reserved = reserved_names(job.dataset.output)
        schema, changes = evolve(job.schema, survey.root, job.dataset.schema_, reserved, transform)
        _check_types(job.dataset, schema)
        layout = Layout.of(schema, job.dataset.output, transform, references)
        with clock.step("write"):
            stream, outputs, dropped = _write(job, layout, survey, readable, pool, data)
        on_progress(f"{sum(output.rows for output in outputs):,} rows staged in {len(outputs)} files")
    with clock.step("verify"):
        written = _rows_by_file(job, outputs, data)
        _check_unchanged(job.manifest.files, store, {file.id for file in readable})
        files = [*failed, *_outcomes(raw, survey, stream, written, dropped)]
    with clock.step("checks"):
        keys = {file.id: file.key for file in job.manifest.files}
        checks = evaluate(job.dataset.checks, job.dataset.output, schema, data, outputs, keys)
    return Results(
        files=tuple(files),
        outputs=outputs,
        schema=schema,
        base_version=job.schema.version,
        changes=tuple(change.to_json() for change in changes),
        quarantined_records=stream.has_quarantined,
        bytes_read=sum(file.path.stat().st_size for file in raw),
        seconds=clock.seconds,
        checks=checks,
    )


def _check_types(dataset: Dataset, schema: Schema) -> None:
    if dataset.source.format != "parquet":
        for column in schema.columns:
            if needs_parquet(column.type):
                raise SchemaConflict(
                    f"column {column.name!r} is {type_name(column.type)}, which no {dataset.source.format} value is:"
                    " source.format was parquet, and a table's columns never change; declare another dataset"
                )


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - start, 3)


def _fetch(job: Job, store: Store) -> tuple[list[RawFile], list[FileResult]]:
    """The manifest's files at hand, and the outcome of those that are gone or are another version by now."""

    def fetch(file: ManifestFile) -> RawFile | FileResult:
        try:
            # A copy in the archive may have an ETag of its own, so only the original is held to it.
            etag = file.etag if file.location == file.key else None
            local = store.fetch(file.location, job.scratch, size=file.size, etag=etag)
            return RawFile(file.id, file.key, local)
        except StoreError as error:
            return FileResult(file.id, file.key, "FAILED", error_class=type(error).__name__, error_message=str(error))

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(fetch, job.manifest.files))
    raw = [outcome for outcome in outcomes if isinstance(outcome, RawFile)]
    return raw, [outcome for outcome in outcomes if isinstance(outcome, FileResult)]


def _check_unchanged(files: tuple[ManifestFile, ...], store: Store, ids: set[int]) -> None:
    if store.root is None:
        return  # what was read is a copy of its own
    for file in files:
        if file.id in ids:
            with suppress(ObjectMissing):  # it was read whole before it went
                now = store.head(file.location)
                if now.size != file.size or (file.location == file.key and now.etag != file.etag):
                    raise ObjectChanged(f"{file.location} was {file.size:,} bytes with ETag {file.etag} when listed")


def lens_of(dataset: Dataset, schema: Schema) -> Lens:
    """How a dataset's records are looked at where these columns are known."""
    rules = dataset.schema_
    hints = {tuple(path.split(".")): type_ for path, type_ in rules.hints.items()}
    known = {column.path: column.type for column in schema.columns}
    types = hints | known
    folders = {name for name, part, _ in partition_keys(dataset.output.partition_by) if part is None}
    labels = {(name,) for name in folders} | {column.path for column in schema.columns if column.name in folders}
    labels |= {tuple(path.split(".")) for path, name in rules.flatten.rename.items() if name in folders}
    parents = schema.parents()
    return Lens(
        opaque=frozenset(
            path for path, type_ in types.items() if type_ == "json" or (type_ == "text" and path not in parents)
        )
        | {path for name in rules.flatten.keep_json if (path := tuple(name.split("."))) not in known},
        timestamps=frozenset(path for path, type_ in types.items() if type_ == "timestamp"),
        labels=frozenset(labels),
        depth=rules.flatten.depth,
        arrays=rules.flatten.arrays == "keep" and rules.mode != "strings",
    )


def survey_of(dataset: Dataset, schema: Schema, *, fixed: bool) -> Survey | ColumnSurvey:
    """The first pass over files of the dataset's format; `fixed`: no new column may come."""
    lens = lens_of(dataset, schema)
    if dataset.source.format == "parquet":
        return ColumnSurvey(lens, dataset.source, named=dataset.output.files == "one_to_one")
    rules = dataset.schema_
    return Survey(lens, dataset.source, rules.max_columns, fixed, rules.flatten.explode_path)


def _gone(file: RawFile, reason: str) -> FileResult:
    return FileResult(file.id, file.key, "FAILED", error_class=ObjectMissing.__name__, error_message=reason)


def _write(
    job: Job, layout: Layout, survey: Survey | ColumnSurvey, files: list[RawFile], pool: ThreadPoolExecutor, data: Path
) -> tuple[RowStream | ColumnStream, tuple[StagedFile, ...], _Dropped]:
    if isinstance(survey, ColumnSurvey):
        columns = ColumnStream(layout, strict=job.schema.version > 0 and job.dataset.schema_.mode == "strict")
        try:
            return columns, *_copy(job, layout, columns, files, pool, data)
        except duckdb.Error:
            if columns.error:
                raise columns.error from None
            raise
    # Without columns DuckDB parses nothing, so it is no judge of what is JSON.
    plain = shape.narrow(survey.root, layout)
    pattern = shape.pattern(plain) if layout.columns else None
    texts_only = all(column.type == "text" for column in layout.columns.values())
    quoted = shape.pattern(plain, numbers=True) if layout.columns and texts_only else None
    plain_blocks = survey.plain if pattern == survey.pattern else frozenset[tuple[int, int]]()
    repairer = Repairer(layout)
    explode = job.dataset.schema_.flatten.explode_path
    for careful in (False, True):
        quarantine = job.staging / RECORDS
        stream = RowStream(job.dataset.source, explode, pattern, quoted, plain_blocks, repairer, quarantine, careful)
        try:
            return stream, *_copy(job, layout, stream, files, pool, data)
        except duckdb.InvalidInputException:
            if careful:
                raise
            _log.info("a record has the shape of its neighbours and is not JSON; checking each one")
            for leftover in sorted(data.rglob("*.parquet")):
                leftover.unlink()
    raise AssertionError("unreachable")


def _copy(
    job: Job,
    layout: Layout,
    stream: RowStream | ColumnStream,
    files: list[RawFile],
    pool: ThreadPoolExecutor,
    data: Path,
) -> tuple[tuple[StagedFile, ...], _Dropped]:
    if not files:
        return (), {}
    name = f"{job.manifest.manifest_id}-a{job.attempt}"
    if job.dataset.output.files == "one_to_one":
        return _copy_each(job, layout, stream, files, pool, data)
    with duckdb.connect() as connection:
        _configure(connection, job)
        rows, dropped = _cleaned(connection, job, layout, stream.reader(files, pool, job.threads))
        row_group_bytes = bytes_of(job.memory) // _ROW_GROUPS_IN_MEMORY
        written = connection.execute(layout.copy(rows, str(data), name, row_group_bytes)).fetchall()
    staged = (StagedFile(_spelled_for_hive(path, data), rows, size) for path, rows, size, *_ in written)
    return tuple(sorted((output for output in staged if output.rows), key=lambda output: output.path)), dropped


def _copy_each(
    job: Job,
    layout: Layout,
    stream: RowStream | ColumnStream,
    files: list[RawFile],
    pool: ThreadPoolExecutor,
    data: Path,
) -> tuple[tuple[StagedFile, ...], _Dropped]:
    """Each file's rows as JSON lines under its own name, in the order that they have there."""
    staged, dropped = list[StagedFile](), _Dropped()
    for file in files:
        name = file.key.removeprefix(job.dataset.source.prefix).removesuffix(columnar.SUFFIX) + json_lines.SUFFIX
        with duckdb.connect() as connection:
            _configure(connection, job)
            connection.execute("SET preserve_insertion_order = true")
            rows, found = _cleaned(connection, job, layout, stream.reader([file], pool, job.threads))
            written = json_lines.write_lines(connection, rows, layout.schema.columns, data / name)
        staged.append(StagedFile(name, written, (data / name).stat().st_size, file.id))
        dropped |= found
    return tuple(staged), dropped


def _cleaned(
    connection: duckdb.DuckDBPyConnection, job: Job, layout: Layout, records: pa.RecordBatchReader
) -> tuple[str, _Dropped]:
    """A query of the rows that stay, and those that do not, counted."""
    connection.register("records", records)
    rows = layout.select("records", typed=job.dataset.source.format == "parquet")
    if not job.dataset.transform.drops:
        return rows, _Dropped()
    # Held once, for what is dropped must be counted, and the records can be read only once.
    connection.execute(f"CREATE TEMP TABLE cleaned AS {rows}")
    return layout.kept("cleaned"), _dropped(connection)


def _spelled_for_hive(path: str, data: Path) -> str:
    """The file's path below `data`, its folders renamed to what Hive, Spark and Athena read.

    They take each escaped byte for a character of its own, so only ASCII characters may be escaped.
    """
    name = os.path.relpath(path, data)
    spelled = _ESCAPED_UTF8.sub(lambda match: unquote(match[0]), name)
    if spelled != name:
        (data / spelled).parent.mkdir(parents=True, exist_ok=True)
        (data / name).rename(data / spelled)
    return spelled


def _dropped(connection: duckdb.DuckDBPyConnection) -> _Dropped:
    rule = identifier(DROPPED)
    query = f"SELECT _source_file, {rule}, count(*) FROM cleaned WHERE {rule} IS NOT NULL GROUP BY ALL ORDER BY ALL"
    dropped = _Dropped()
    for key, name, rows in connection.execute(query).fetchall():
        dropped.setdefault(key, {})[name] = rows
    return dropped


def _configure(connection: duckdb.DuckDBPyConnection, job: Job) -> None:
    connection.execute(f"SET threads = {job.threads}")
    connection.execute(f"SET memory_limit = {literal(job.memory)}")
    connection.execute(f"SET temp_directory = {literal(str(job.scratch / 'spill'))}")
    connection.execute("SET preserve_insertion_order = false")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET autoinstall_known_extensions = false")


def _rows_by_file(job: Job, outputs: tuple[StagedFile, ...], data: Path) -> Counter[str]:
    """Rows by source key, counted in the staged files themselves."""
    if job.dataset.output.format == "json":
        keys = {file.id: file.key for file in job.manifest.files}
        lines = ((output.file_id, count_lines(data / output.path)) for output in outputs)
        return Counter({keys[id_]: rows for id_, rows in lines if id_ is not None})
    if not outputs:
        return Counter()
    paths = ", ".join(literal(str(data / output.path)) for output in outputs)
    query = f"SELECT _source_file, count(*) FROM read_parquet([{paths}], hive_partitioning = false) GROUP BY 1"
    with duckdb.connect() as connection:
        return Counter(dict(connection.execute(query).fetchall()))


def _outcomes(
    raw: list[RawFile],
    survey: Survey | ColumnSurvey,
    stream: RowStream | ColumnStream,
    written: Counter[str],
    dropped: _Dropped,
) -> Iterator[FileResult]:
    for file in raw:
        if file.id in survey.unreadable:
            yield FileResult(
                file.id, file.key, "QUARANTINED", error_class="Unreadable", error_message=survey.unreadable[file.id]
            )
            continue
        result = FileResult(
            file.id,
            file.key,
            "SUCCEEDED",
            rows_read=stream.rows_read[file.id],
            rows_exploded=stream.rows_exploded[file.id],
            rows_written=written[file.key],
            rows_rescued=stream.rows_rescued[file.id],
            rows_quarantined=stream.rows_quarantined[file.id],
            dropped=dropped.get(file.key, {}),
        )
        seen = survey.rows[file.id], survey.exploded[file.id]
        if seen != (result.rows_read, result.rows_exploded) or not result.is_conserved:
            raise ConservationError(f"{seen[0]:,} records and {seen[1]:,} more elements seen; {result.account}")
        yield result
