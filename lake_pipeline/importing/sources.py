"""Where an old system's table is: in files, CSV, JSON or Parquet, in an export of DynamoDB, or in Postgres."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import msgspec
import psycopg
import pyarrow as pa
from psycopg import sql

from lake_pipeline.errors import ImportInvalid
from lake_pipeline.importing.old_table import Relation
from lake_pipeline.kernel.quoting import identifier, literal
from lake_pipeline.ledger.postgres import shown_url
from lake_pipeline.store import Store

_EXPORT = "manifest-files.json"
_FORMATS = {".csv": "csv", ".ndjson": "json", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}
_PACKED = {".gz": "gzip", ".zst": "zstd"}
_ROWS = 50_000
_LOOKED_AT = 10_000  # rows, for the names of their columns: in JSON and DynamoDB each has its own
# A member of an object, and an attribute of an item, which DynamoDB puts into an object of its type.
_MEMBER = "json ->> '$.\"{}\"'"
_ATTRIBUTE = "coalesce(" + ", ".join(f"json ->> '$.Item.\"{{}}\".{type_}'" for type_ in ("S", "N", "BOOL")) + ")"


class _DataFile(msgspec.Struct, rename="camel"):
    """A line of manifest-files.json (Amazon DynamoDB Developer Guide, DynamoDB table export output format)."""

    item_count: int
    md5_checksum: str = msgspec.field(name="md5Checksum")
    data_file_s3_key: str = msgspec.field(name="dataFileS3Key")


def relations(source: str, connection: duckdb.DuckDBPyConnection, scratch: Path) -> Iterator[Relation]:
    """The rows of a file, of every file of a folder, or of a DynamoDB export; each is gone when the next is asked for.

    `source` is a path, or s3://bucket/key.

    Raises:
        ImportInvalid: there is nothing that can be read.
    """
    store, key = _place(source)
    keys = [item.key for page in store.list(key) for item in page] or ([key] if store.exists(key) else [])
    exports = [found for found in keys if found.rpartition("/")[2] == _EXPORT]
    if len(exports) > 1:
        raise ImportInvalid(f"{source} holds {len(exports)} exports of DynamoDB; name one of them")
    for manifest in exports:
        for file in _data_files(store, manifest):
            # Keys are from the bucket's root, and an export may have been copied elsewhere.
            folder, slash, _ = manifest.rpartition("/")
            exported = f"{folder}{slash}data/{file.data_file_s3_key.rpartition('/')[2]}"
            with _fetched(store, exported, scratch) as path:
                _check(path, exported, file)
                yield _exported(path, exported, connection)
    files = [] if exports else [found for found in keys if _format(found)[0]]
    for found in files:
        with _fetched(store, found, scratch) as path:
            yield _file(path, found, connection)
    if not exports and not files:
        raise ImportInvalid(
            f"{source} is no file, nor a folder of files, that ends in {', '.join(_FORMATS)}, packed by .gz or .zst or"
            f" not, nor an export of DynamoDB to S3 with its {_EXPORT}"
        )


def table_rows(url: str, table: str, connection: duckdb.DuckDBPyConnection) -> Relation:
    """The rows of a Postgres table, every column as text; read in one transaction that writes nothing.

    Raises:
        ImportInvalid: the server cannot be reached, or has no such table.
    """
    name = sql.Identifier(*table.split("."))
    try:
        with psycopg.connect(url, connect_timeout=10, application_name="lake import") as server:
            server.read_only = True
            found = server.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(name)).description or []
            columns = [column.name for column in found]
            texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column)) for column in columns)
            connection.execute(
                f"CREATE TABLE fetched ({', '.join(f'{identifier(column)} VARCHAR' for column in columns)})"
            )
            with server.cursor("import") as cursor:
                cursor.itersize = _ROWS
                cursor.execute(sql.SQL("SELECT {} FROM {}").format(texts, name))
                schema = pa.schema([(column, pa.string()) for column in columns])
                while rows := cursor.fetchmany(_ROWS):
                    lists = [pa.array(values, pa.string()) for values in zip(*rows, strict=True)]
                    connection.register("batch", pa.table(lists, schema))
                    connection.execute("INSERT INTO fetched SELECT * FROM batch")
                    connection.unregister("batch")
    except psycopg.Error as error:
        raise ImportInvalid(f"{shown_url(url)}, table {table}: {error}") from error
    return Relation("fetched", columns, '"{}"')


def _place(source: str) -> tuple[Store, str]:
    url = urlsplit(source)
    if url.scheme == "s3" and url.netloc:
        return Store(f"s3://{url.netloc}"), url.path.lstrip("/")
    path = Path(source).expanduser().absolute()
    return (Store(str(path)), "") if path.is_dir() else (Store(str(path.parent)), path.name)


def _format(key: str) -> tuple[str | None, str]:
    name = Path(key.lower())
    packed = _PACKED.get(name.suffix, "none")
    return _FORMATS.get(Path(name.stem).suffix if packed != "none" else name.suffix), packed


@contextmanager
def _fetched(store: Store, key: str, scratch: Path) -> Iterator[Path]:
    path = store.fetch(key, scratch)
    yield path
    if store.root is None:
        path.unlink()


def _file(path: Path, key: str, connection: duckdb.DuckDBPyConnection) -> Relation:
    kind, packed = _format(key)
    name = literal(str(path))
    if kind == "json":
        return _json(f"read_json_objects({name}, compression = '{packed}')", _MEMBER, "json", connection, key)
    # Every column as text: a number may have begun with zeros.
    text = f"read_csv({name}, header = true, all_varchar = true, compression = '{packed}')"
    relation = text if kind == "csv" else f"read_parquet({name})"
    try:
        columns = connection.sql(f"SELECT * FROM {relation} LIMIT 0").columns
    except duckdb.Error as error:
        raise ImportInvalid(f"{key}: {error}") from error
    return Relation(relation, columns, 'CAST("{}" AS VARCHAR)')


def _data_files(store: Store, manifest: str) -> list[_DataFile]:
    try:
        return [msgspec.json.decode(line, type=_DataFile) for line in store.lines(manifest) if line]
    except msgspec.DecodeError as error:
        raise ImportInvalid(f"{manifest} is no list of an export's files: {error}") from error


def _check(path: Path, key: str, file: _DataFile) -> None:
    with path.open("rb") as data:
        found = hashlib.file_digest(data, lambda: hashlib.md5(usedforsecurity=False))
    if file.md5_checksum != b64encode(found.digest()).decode():
        raise ImportInvalid(f"{key} is not the file that its export's {_EXPORT} tells of: its MD5 is another")


def _exported(path: Path, key: str, connection: duckdb.DuckDBPyConnection) -> Relation:
    relation = f"read_ndjson_objects({literal(str(path))}, compression = 'gzip')"
    return _json(relation, _ATTRIBUTE, "json -> '$.Item'", connection, key)


def _json(relation: str, text: str, document: str, connection: duckdb.DuckDBPyConnection, key: str) -> Relation:
    looked_at = f"(SELECT {document} AS document FROM {relation} LIMIT {_LOOKED_AT})"
    try:
        names = connection.execute(f"SELECT DISTINCT unnest(json_keys(document)) FROM {looked_at}").fetchall()
    except duckdb.Error as error:
        raise ImportInvalid(f"{key}: {error}") from error
    return Relation(relation, [name for (name,) in names], text, is_json=True)
