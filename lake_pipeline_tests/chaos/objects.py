"""The lake's objects as whoever uploads and whoever checks sees them: plain files, or S3 by boto3."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import boto3


class Objects(Protocol):
    def put(self, key: str, data: bytes) -> None:
        """All of it at once: no reader sees half."""

    def keys(self, prefix: str) -> list[str]: ...

    def read(self, key: str) -> bytes: ...


class DirectoryObjects:
    """Files below a directory; `aside` is where uploads are written before they are renamed in."""

    def __init__(self, root: Path, aside: Path) -> None:
        self._root, self._aside = root, aside
        aside.mkdir(parents=True, exist_ok=True)

    def put(self, key: str, data: bytes) -> None:
        path, written = self._root / key, self._aside / key.replace("/", "~")
        written.write_bytes(data)
        while True:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                written.replace(path)
            except FileNotFoundError:  # the folder was cleared away meanwhile
                continue
            return

    def keys(self, prefix: str) -> list[str]:
        folder = self._root / prefix
        return sorted(str(path.relative_to(self._root)) for path in folder.rglob("*") if path.is_file())

    def read(self, key: str) -> bytes:
        return (self._root / key).read_bytes()


class S3Objects:
    """Objects of `s3://bucket/prefix` where the environment's AWS is."""

    def __init__(self, url: str, environment: dict[str, str]) -> None:
        self._bucket, self._root = urlsplit(url).netloc, urlsplit(url).path.strip("/") + "/"
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            region_name=environment["AWS_DEFAULT_REGION"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        )

    def put(self, key: str, data: bytes) -> None:
        self._client.put_object(Bucket=self._bucket, Key=self._root + key, Body=data)

    def keys(self, prefix: str) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._root + prefix)
        return [item["Key"].removeprefix(self._root) for page in pages for item in page.get("Contents", [])]

    def read(self, key: str) -> bytes:
        data: bytes = self._client.get_object(Bucket=self._bucket, Key=self._root + key)["Body"].read()
        return data
