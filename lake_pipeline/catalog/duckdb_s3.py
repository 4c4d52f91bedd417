"""DuckDB on a store in S3, without httpfs, which would be downloaded."""

from __future__ import annotations

import duckdb


def read_s3(connection: duckdb.DuckDBPyConnection) -> None:
    """Let a connection read `s3://` as the lake's store does."""
    from lake_pipeline.store.filesystem import S3FileSystem  # fsspec takes a moment to import

    connection.register_filesystem(S3FileSystem())
