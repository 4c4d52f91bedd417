"""S3 as a file system of fsspec, for readers with no store of their own: DuckDB without its extension, and pyarrow.

DuckDB's httpfs would be downloaded when first used, and each would look for credentials in its own way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, BinaryIO

from fsspec.spec import AbstractFileSystem

from lake_pipeline.errors import ObjectMissing
from lake_pipeline.store.objects import StoredObject
from lake_pipeline.store.store import Store

# How a character that a pattern gives a meaning to is said to mean itself.
_LITERAL = re.compile(r"\[([*?\[])\]")


class S3FileSystem(AbstractFileSystem):  # type: ignore[misc] # fsspec ships no types
    """Objects by `s3://bucket/key`, or `bucket/key`, for reading. What was once looked at is taken to stay as it is."""

    protocol = "s3"
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self._stores: dict[str, Store] = {}
        self._found: dict[str, StoredObject] = {}

    def _place(self, path: str) -> tuple[Store, str]:
        bucket, _, key = path.removeprefix("s3://").partition("/")
        if bucket not in self._stores:
            self._stores[bucket] = Store(f"s3://{bucket}")
        return self._stores[bucket], key

    def _head(self, path: str) -> StoredObject:
        if path not in self._found:
            store, key = self._place(path)
            try:
                self._found[path] = store.head(key)
            except ObjectMissing as error:
                raise FileNotFoundError(path) from error
        return self._found[path]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        return {"name": path, "size": self._head(path).size, "type": "file"}

    def modified(self, path: str) -> datetime:
        return self._head(path).last_modified

    def glob(self, path: str, **_: Any) -> Iterable[str]:
        """The path itself, what is between brackets taken literally: tables name their files, and match none."""
        return [_LITERAL.sub(r"\1", path)]

    def open(self, path: str, mode: str = "rb", **_: Any) -> BinaryIO:
        if mode != "rb":
            raise PermissionError(f"{path}: only for reading")
        store, key = self._place(path)
        return store.open(key, self._head(path))
