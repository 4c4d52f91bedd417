"""What a conversion must have done, worked out from the sources by Python's json and from the output by pyarrow.

Nothing here uses the kernel's own reading: the rules of types are written down a second time.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.parquet as pq

from lake_pipeline.dataset import Dataset
from lake_pipeline.kernel.convert import RECORDS, Job, convert
from lake_pipeline.kernel.results import FileResult, Results
from lake_pipeline.manifests import Manifest, ManifestFile
from lake_pipeline.schemas import Column, ListOf, Schema, StructOf, Type
from lake_pipeline.store import Store

MAX_DEPTH = 200
_NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"
_DATE_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?|\.\d{1,6})?(Z|[+-](0\d|1[0-4]):?[0-5]\d)?", re.ASCII
)


class Num(str):
    """A number as it was written."""

    __slots__ = ()


class Pairs(list[tuple[str, Any]]):
    """An object, with keys that come twice."""

    def as_dict(self) -> dict[str, Any]:
        return dict(self)

    @property
    def doubled(self) -> bool:
        return len(dict(self)) != len(self)


def read_json(text: str | bytes) -> Any:
    """Python's reading: objects as `Pairs`, numbers as `Num`.

    Raises:
        ValueError: not JSON, by the letter of RFC 8259.
    """

    def refuse(word: str) -> Any:
        raise ValueError(word)

    text = text.decode("utf-8") if isinstance(text, bytes) else text
    try:
        return json.loads(text, parse_int=Num, parse_float=Num, parse_constant=refuse, object_pairs_hook=Pairs)
    except RecursionError:
        raise ValueError("too deep") from None


@dataclass
class Converted:
    """A conversion's results and what it left in the staging folder."""

    dataset: Dataset
    results: Results
    sources: Mapping[str, bytes]
    rows: list[dict[str, Any]]
    quarantined: list[dict[str, Any]]
    staging: Path
    columns: list[Column] = field(init=False)

    def __post_init__(self) -> None:
        self.columns = list(self.results.schema.columns)

    def file(self, key: str) -> FileResult:
        return next(file for file in self.results.files if file.key == key)

    def only_file(self) -> FileResult:
        (file,) = self.results.files
        return file

    def types(self) -> dict[str, Type]:
        return {column.name: column.type for column in self.columns}

    def values(self, column: str) -> list[Any]:
        """A column's values, in no stated order."""
        return [row.get(column) for row in self.rows]

    def rescued(self) -> list[dict[str, Any]]:
        """What was rescued, by row; numbers as they were written."""
        return [read_json(row["_rescued"]).as_dict() for row in self.rows if row["_rescued"] is not None]


def dataset(**parts: Any) -> Dataset:
    """A declaration; `schema`, `source` and `output` add to the defaults here."""
    source = {"prefix": "raw/", "format": "ndjson"} | parts.get("source", {})
    output = {"prefix": "curated/"} | parts.get("output", {})
    return Dataset.model_validate(
        {"name": "things", "source": source, "output": output, "schema": parts.get("schema", {})}
    )


def land(root: Path, files: Mapping[str, bytes], manifest_id: str = "g.0001") -> tuple[Store, Manifest]:
    """Write the files into a store below `root` and list them in a manifest."""
    store = Store(str(root / "store"))
    listed = []
    for number, (name, data) in enumerate(files.items(), 1):
        stored = store.put(f"raw/{name}", data)
        listed.append(ManifestFile(number, stored.key, stored.etag, stored.size, stored.key))
    return store, Manifest("things", manifest_id, "g", tuple(listed))


def run(
    root: Path, store: Store, manifest: Manifest, declared: Dataset, schema: Schema | None = None, threads: int = 2
) -> Converted:
    """Convert a manifest whose files are in the store, and read what was staged."""
    staging = root / "staging" / manifest.manifest_id
    job = Job(declared, manifest, schema or Schema(), 1, staging, root / "scratch", threads, "2GiB")
    results = convert(job, store)
    rows = [row for output in results.outputs for row in read_rows(staging / "data", output.path, results.schema)]
    records = staging / RECORDS
    assert records.exists() == results.quarantined_records
    text = records.read_text("utf-8") if records.exists() else ""
    quarantined = [json.loads(line) for line in text.split("\n") if line]
    sources = {}
    for file in manifest.files:
        path = root / "store" / file.location
        if path.is_file():
            sources[file.key] = path.read_bytes()
    assert Results.from_json(json.loads(json.dumps(results.to_json()))) == results
    return Converted(declared, results, sources, rows, quarantined, staging)


def convert_files(
    root: Path, files: Mapping[str, bytes], *, known: Schema | None = None, check: bool = True, **parts: Any
) -> Converted:
    """Land the files, convert them, and hold the outcome to the oracle."""
    store, manifest = land(root, files)
    converted = run(root, store, manifest, dataset(**parts), known)
    if check:
        agree(converted)
    return converted


def convert_lines(root: Path, *lines: str | bytes, **parts: Any) -> Converted:
    """One NDJSON file of these lines."""
    data = b"\n".join(line.encode() if isinstance(line, str) else line for line in lines) + b"\n"
    return convert_files(root, {"a.ndjson": data}, **parts)


# ---- what was written, by pyarrow


def read_rows(data: Path, path: str, schema: Schema) -> list[dict[str, Any]]:
    """The rows of one staged file, with the columns that its folders name."""
    table = pq.ParquetFile(data / path).read()
    types = {column.name.lower(): column.type for column in schema.columns}
    folders: dict[str, Any] = {}
    for part in Path(path).parent.parts:
        key, _, value = part.partition("=")
        folders[key] = None if value == _NULL_FOLDER else _from_folder(unquote(value), types.get(key.lower()))
    names = {column.name.lower(): column.name for column in schema.columns}
    rows = []
    for row in table.to_pylist():
        both = {names.get(key.lower(), key): value for key, value in (row | folders).items()}
        rows.append(both)
    for column in table.schema:
        assert not pa.types.is_null(column.type), column
    return rows


def _from_folder(text: str, type_: Type | None) -> Any:
    match type_:
        case "bigint" | None:
            return int(text)
        case "double":
            return float(text)
        case "boolean":
            return {"true": True, "false": False}[text]
        case "timestamp":
            return datetime.fromisoformat(text + ":00")
        case _:
            return text


# ---- what was there, by Python's json


def decompressed(key: str, data: bytes) -> bytes:
    if key.endswith(".gz"):
        return gzip.decompress(data)
    if key.endswith(".zst"):
        return bytes(pa.CompressedInputStream(pa.BufferReader(data), "zstd").read())
    return data


def decoded(data: bytes) -> bytes:
    """UTF-8 without a byte order mark."""
    for mark, encoding in ((b"\xff\xfe\0\0", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return data.decode(encoding).encode()
    return data.removeprefix(b"\xef\xbb\xbf")


def record_texts(converted: Converted, key: str) -> list[bytes]:
    """The texts of a readable file's records; documents are written out again with every number as it stood."""
    text = decoded(decompressed(key, converted.sources[key]))
    source = converted.dataset.source
    lines = [line for line in text.split(b"\n") if line.strip()]
    if source.format == "ndjson":
        return lines
    try:
        document = read_json(text)
    except ValueError:
        return lines
    for part in source.records.split(".") if source.records else ():
        document = document.as_dict()[part]
    if isinstance(document, list) and not isinstance(document, Pairs):
        return [write_json(element).encode("utf-8", "surrogatepass") for element in document]
    return [text]


def write_json(value: Any) -> str:
    match value:
        case Num():
            return str(value)
        case Pairs():
            return "{" + ",".join(f"{json.dumps(key)}:{write_json(item)}" for key, item in value) + "}"
        case list():
            return "[" + ",".join(map(write_json, value)) + "]"
        case _:
            return json.dumps(value)


def depth(value: Any) -> int:
    """Levels of brackets, without recursion."""
    deepest, level = 0, [value]
    while level := [item for item in level if isinstance(item, list)]:
        deepest += 1
        level = [inner for item in level for inner in ([v for _, v in item] if isinstance(item, Pairs) else item)]
    return deepest


def fits(value: Any, type_: Type) -> bool:
    """Whether a column of the type holds the value as it is."""
    if value is None:
        return True
    text = isinstance(value, str) and not isinstance(value, Num)
    integer = isinstance(value, Num) and re.fullmatch(r"-?\d+", value) is not None
    match type_:
        case "text":
            return not text or _is_utf8(value)
        case "string":
            return text and _is_utf8(value)
        case "boolean":
            return isinstance(value, bool)
        case "bigint":
            return integer and len(value) < 25 and -(2**63) <= int(value) < 2**63
        case "double":
            if not isinstance(value, Num):
                return False
            if integer:
                return len(value) < 25 and abs(int(value)) <= 2**53
            return _is_double(value)
        case "timestamp":
            return text and _instant(value) is not None
        case "json":
            return _fits_json(value)
        case ListOf(element):
            return type(value) is list and all(fits(item, element) for item in value)
        case StructOf(fields):
            types = dict(fields)
            return (
                isinstance(value, Pairs)
                and len(value) > 0
                and all(key in types and fits(item, types[key]) for key, item in value)
            )
    raise AssertionError(type_)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_double(text: str) -> bool:
    digits = Decimal(text).as_tuple().digits
    significant = "".join(map(str, digits)).strip("0")
    return len(significant) <= 17 and (not significant or 2.2250738585072014e-308 <= abs(float(text)) < float("inf"))


def _instant(text: str) -> datetime | None:
    """The instant a timestamp names; without a zone it is UTC."""
    if not _DATE_TIME.fullmatch(text) or not "0001-01-02" <= text[:10] <= "9999-12-30":
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _fits_json(value: Any) -> bool:
    match value:
        case Num():
            return fits(value, "bigint") or (
                ((not fits(value, "bigint") and "." in value) or "e" in value.lower()) and (_is_double(value))
            )
        case str():
            return _is_utf8(value)
        case Pairs():
            return all(_fits_json(item) for _, item in value)
        case list():
            return all(map(_fits_json, value))
        case _:
            return True


def _plain(value: Any) -> Any:
    """A JSON value such that equal values, and only they, are equal: 1 is not 1.0, -0.0 is not 0.0."""
    match value:
        case bool() | None:
            return value
        case Num():
            return ("int", int(value)) if re.fullmatch(r"-?\d{1,25}", value) else ("float", repr(float(value)))
        case str():
            return ("text", value)
        case Pairs():
            return ("object", tuple((key, _plain(item)) for key, item in value))
        case list():
            return ("array", tuple(map(_plain, value)))
    raise AssertionError(value)


def _raw(value: Any) -> Any:
    """The same with every number as it was written."""
    match value:
        case Num():
            return ("number", str(value))
        case Pairs():
            return ("object", tuple((key, _raw(item)) for key, item in value))
        case list():
            return ("array", tuple(map(_raw, value)))
        case str():
            return ("text", value)
        case _:
            return value


def _source_value(value: Any, type_: Type) -> Any:
    """What a column of the type must hold for a value that fits."""
    if value is None:
        return None
    match type_:
        case "text":
            return ("str", as_written(value))
        case "json":
            return _plain(value)
        case "bigint":
            return int(value)
        case "double":
            return repr(float(int(value)) if re.fullmatch(r"-?\d+", value) else float(value))
        case "timestamp":
            return _instant(value)
        case ListOf(element):
            return tuple(_source_value(item, element) for item in value)
        case StructOf(fields):
            members = value.as_dict()
            return tuple((name, _source_value(members.get(name), inner)) for name, inner in fields)
        case _:
            return (type(value).__name__, value)


def _column_value(value: Any, type_: Type) -> Any:
    """The same of what pyarrow read."""
    if value is None:
        return None
    match type_:
        case "json":
            return _plain(read_json(value))
        case "bigint":
            assert type(value) is int
            return value
        case "double":
            assert type(value) is float
            return repr(value)
        case "timestamp":
            assert isinstance(value, datetime)
            assert value.tzinfo is not None
            return value.astimezone(UTC)
        case ListOf(element):
            return tuple(_column_value(item, element) for item in value)
        case StructOf(fields):
            assert list(value) == [name for name, _ in fields]
            return tuple((name, _column_value(value[name], inner)) for name, inner in fields)
        case _:
            return (type(value).__name__, value)


def as_written(value: Any, inside: bool = False) -> str:
    """A value as a text column holds it: bare strings as they are, all else as compact JSON with its number texts."""
    match value:
        case Num():
            return str(value)
        case str():
            return json.dumps(value, ensure_ascii=not _is_utf8(value)) if inside else value
        case Pairs():
            return "{" + ",".join(f"{as_written(key, True)}:{as_written(item, True)}" for key, item in value) + "}"
        case list():
            return "[" + ",".join(as_written(item, True) for item in value) + "]"
        case _:
            return json.dumps(value)


class Quarantined(Exception):
    """The record must be set aside."""


def _labels(converted: Converted) -> set[str]:
    return {name.lower() for name in converted.dataset.output.partition_by if "(" not in name}


def expected_row(converted: Converted, text: bytes) -> dict[str, Any]:
    """The row that a record must become.

    Raises:
        Quarantined: it can be no row.
    """
    columns = {column.path: column for column in converted.columns}
    parents = {path[:length] for path in columns for length in range(1, len(path))}
    labels = _labels(converted)
    row: dict[str, Any] = {}
    rescued: dict[str, Any] = {}

    def rescue(name: str, value: Any) -> None:
        free, number = name, 2
        while free in rescued:
            free, number = f"{name}_{number}", number + 1
        rescued[free] = _raw(value)

    def walk(value: Pairs, path: tuple[str, ...]) -> None:
        if value.doubled:
            raise Quarantined("duplicate key")
        for key, item in value:
            here = (*path, key)
            column = columns.get(here)
            inside = isinstance(item, Pairs) and len(item) > 0 and here in parents
            if column and not inside:
                if _holds_doubled(item, column.type):
                    raise Quarantined("duplicate key")
                label = as_written(item) if column.type == "text" and item is not None else item
                long = (
                    column.name.lower() in labels
                    and isinstance(label, str)
                    and not 0 < len(quote(label, safe="")) <= 192
                )
                if not fits(item, column.type) or (long and column.type in ("string", "text")):
                    rescue(column.name, item)
                elif item is not None:
                    row[column.name] = _source_value(item, column.type)
            elif inside:
                walk(item, here)
            elif item is not None:
                rescue(".".join(here), item)

    try:
        record = read_json(text)
    except (ValueError, UnicodeDecodeError):
        raise Quarantined("not JSON") from None
    if not isinstance(record, Pairs) or depth(record) > MAX_DEPTH or _holds_odd_key(record):
        raise Quarantined("no record")
    walk(record, ())
    return row | ({"_rescued": rescued} if rescued else {})


def _holds_doubled(value: Any, type_: Type | None = None) -> bool:
    """A key that comes twice, JSON text apart."""
    if type_ in ("json", "text"):
        return False
    if isinstance(value, Pairs):
        fields = dict(type_.fields) if isinstance(type_, StructOf) else {}
        if isinstance(type_, StructOf) and not value.doubled:
            return any(_holds_doubled(item, fields[key]) for key, item in value if key in fields)
        return value.doubled or any(_holds_doubled(item) for _, item in value)
    element = type_.element if isinstance(type_, ListOf) else None
    return isinstance(value, list) and any(_holds_doubled(item, element) for item in value)


def _holds_odd_key(value: Any) -> bool:
    """A key that no column name can hold."""
    if isinstance(value, Pairs):
        return any("\0" in key or not _is_utf8(key) or _holds_odd_key(item) for key, item in value)
    return isinstance(value, list) and any(map(_holds_odd_key, value))


def actual_row(converted: Converted, row: dict[str, Any]) -> dict[str, Any]:
    """What a row says, in the terms of `expected_row`."""
    result = {}
    for column in converted.columns:
        if row[column.name] is not None:
            result[column.name] = _column_value(row[column.name], column.type)
    if row["_rescued"] is not None:
        rescued = read_json(row["_rescued"])
        assert not rescued.doubled
        result["_rescued"] = {key: _raw(value) for key, value in rescued}
    return result


def _frozen(row: dict[str, Any]) -> Any:
    return tuple(
        sorted((key, repr(sorted(value.items())) if key == "_rescued" else repr(value)) for key, value in row.items())
    )


def agree(converted: Converted) -> None:
    """Every record of every file is a row that says the same, or is quarantined with its reason; nothing else is.

    The files that were not to be read at all (QUARANTINED, FAILED) must have no rows and a reason.
    """
    hive = {item.partition("(")[0].lower() for item in converted.dataset.output.partition_by}
    names = {column.name for column in converted.columns} | {"_source_file", "_rescued"}
    lowered = [name.lower() for name in names]
    assert len(set(lowered)) == len(lowered), f"names that differ only in case: {names}"
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in converted.rows:
        assert names <= set(row) <= names | hive, set(row) ^ names
        rows.setdefault(row["_source_file"], []).append(row)
    quarantined = Counter(entry["file"] for entry in converted.quarantined)
    for file in converted.results.files:
        found = rows.pop(file.key, [])
        assert file.rows_read == file.rows_written + file.rows_quarantined
        assert (file.rows_written, file.rows_quarantined) == (len(found), quarantined[file.key])
        assert file.rows_rescued == sum(row["_rescued"] is not None for row in found)
        if file.status != "SUCCEEDED":
            assert file.rows_read == 0
            assert file.error_message
            assert file.error_class
            continue
        assert file.error_message is None
        expected = []
        bad = 0
        for text in record_texts(converted, file.key):
            try:
                expected.append(_frozen(expected_row(converted, text)))
            except Quarantined:
                bad += 1
        assert bad == file.rows_quarantined
        actual = Counter(_frozen(actual_row(converted, row)) for row in found)
        assert actual == Counter(expected)
    assert not rows, f"rows of files that are not in the manifest: {list(rows)}"
    for entry in converted.quarantined:
        assert entry["reason"]
        assert entry["line"] >= 1
