"""S3 through boto3: listings, conditional deletes, copies in parts, and keys that obstore's paths cannot say.

S3 takes any key of up to 1,024 bytes. obstore takes paths: a key with an empty segment, `.` or `..`, a slash at an end
or a control character is refused, and one such key in a listing ends it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lake_pipeline.errors import ObjectChanged, ObjectMissing, StoreError
from lake_pipeline.store.objects import PAGE, StoredObject, batched, translate
from lake_pipeline.store.paths import is_path
from lake_pipeline.store.s3_clients import S3Clients

_COPY_PART = 256 * 2**20
_GONE = ("404", "NoSuchKey")
_CHANGED = ("412", "PreconditionFailed", "ConditionalRequestConflict")
_DIGESTS = (None, "AES256")  # of these encryptions the ETag is the MD5 of the bytes


class S3Requests:
    """One bucket below a prefix; keys are relative to it."""

    def __init__(self, clients: S3Clients, largest_copy: int) -> None:
        self._clients = clients
        self._largest_copy = largest_copy

    def list(self, folder: str, after: str) -> Iterator[list[StoredObject]]:
        prefix = self._clients.prefix
        resume = {"StartAfter": prefix + after} if after else {}
        pages = self._clients.boto3.get_paginator("list_objects_v2").paginate(
            Bucket=self._clients.bucket, Prefix=prefix + folder, **resume
        )
        with _translated(folder or self._clients.bucket):
            for page in pages:
                if found := page.get("Contents"):
                    yield [
                        StoredObject(
                            item["Key"][len(prefix) :], item["Size"], item["ETag"].strip('"'), item["LastModified"]
                        )
                        for item in found
                    ]

    def head(self, key: str) -> StoredObject:
        found = self._head(key)
        return StoredObject(key, found["ContentLength"], found["ETag"].strip('"'), found["LastModified"])

    def is_digest(self, key: str) -> bool:
        """Whether the object's ETag is the MD5 of its bytes, which a copy keeps."""
        found = self._head(key)
        return "-" not in found["ETag"] and found.get("ServerSideEncryption") in _DIGESTS

    def _head(self, key: str) -> dict[str, Any]:
        with _translated(key):
            found: dict[str, Any] = self._clients.boto3.head_object(**self._named(key))
            return found

    def get(self, key: str, etag: str | None, range_: str | None = None) -> Any:
        """The object's body, as botocore's stream."""
        conditions = ({"IfMatch": f'"{etag}"'} if etag else {}) | ({"Range": range_} if range_ else {})
        with _translated(key):
            return self._clients.boto3.get_object(**self._named(key), **conditions)["Body"]

    def put(self, key: str, data: bytes) -> None:
        with _translated(key):
            self._clients.boto3.put_object(**self._named(key), Body=data, **self._clients.write_headers)

    def upload(self, path: Path, key: str) -> None:
        named = self._named(key)
        with _translated(key):
            self._clients.boto3.upload_file(
                str(path), named["Bucket"], named["Key"], ExtraArgs=self._clients.write_headers
            )

    def copy(self, source: str, target: str, size: int, etag: str | None = None) -> str | None:
        """Copy inside of S3, in parts where it is large; with an `etag` only that version. The copy's ETag, if told.

        Raises:
            ObjectChanged: the source has another ETag.
        """
        extra = self._clients.write_headers | ({"CopySourceIfMatch": f'"{etag}"'} if etag else {})
        with _translated(source):
            if size > self._largest_copy:
                self._copy_in_parts(source, target, extra)
                return None
            done = self._clients.boto3.copy_object(**self._named(target), CopySource=self._named(source), **extra)
            return str(done["CopyObjectResult"]["ETag"]).strip('"')

    def _copy_in_parts(self, source: str, target: str, extra: dict[str, str]) -> None:
        from boto3.s3.transfer import TransferConfig

        part = min(_COPY_PART, self._largest_copy)
        named = self._named(target)
        self._clients.boto3.copy(
            self._named(source),
            named["Bucket"],
            named["Key"],
            ExtraArgs=extra,
            Config=TransferConfig(multipart_threshold=part, multipart_chunksize=part),
        )

    def delete(self, versions: Sequence[tuple[str, str | None]]) -> dict[str, StoreError]:
        """Delete keys, 1,000 a request, each only while it has the ETag named with it; why some were not.

        A key whose ETag is another by now is left alone, and is no error. AWS judges the condition; a store that does
        not know it deletes what it holds.
        """
        refused: dict[str, StoreError] = {}
        for batch in batched([version for version in versions if is_path(version[0])], PAGE):
            refused |= self._delete_many(batch)
        for key, etag in versions:
            if not is_path(key):  # XML has no way to say some of them
                condition = {"IfMatch": f'"{etag}"'} if etag else {}
                try:
                    with _translated(key):
                        self._clients.boto3.delete_object(**self._named(key), **condition)
                except (ObjectMissing, ObjectChanged):
                    continue
                except StoreError as error:
                    refused[key] = error
        return refused

    def _delete_many(self, versions: Sequence[tuple[str, str | None]]) -> dict[str, StoreError]:
        objects = [
            {"Key": self._clients.prefix + key} | ({"ETag": f'"{etag}"'} if etag else {}) for key, etag in versions
        ]
        with _translated(versions[0][0]):
            answer = self._clients.boto3.delete_objects(
                Bucket=self._clients.bucket, Delete={"Objects": objects, "Quiet": True}
            )
        return {
            (key := item["Key"][len(self._clients.prefix) :]): StoreError(f"{key}: {item['Code']}: {item['Message']}")
            for item in answer.get("Errors", [])
            if item["Code"] not in (*_GONE, *_CHANGED)
        }

    def _named(self, key: str) -> dict[str, str]:
        return {"Bucket": self._clients.bucket, "Key": self._clients.prefix + key}


@contextmanager
def _translated(key: str) -> Iterator[None]:
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code")
        if code in _GONE:
            raise ObjectMissing(key) from error
        if code in _CHANGED:
            raise ObjectChanged(f"{key} is another version by now") from error
        raise translate(error, key) from error
    except Exception as error:
        raise translate(error, key) from error
