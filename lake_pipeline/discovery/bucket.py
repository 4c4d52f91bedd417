"""Where in S3 a lake is: what tells its events and reports from another's."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from lake_pipeline.errors import SettingsError


@dataclass(frozen=True)
class LakeBucket:
    """A lake's bucket, and the prefix of all its keys there: empty, or with a slash at its end."""

    name: str
    prefix: str

    @staticmethod
    def of(store_url: str, what_for: str) -> LakeBucket:
        """The bucket of an `s3://bucket[/prefix]`.

        Raises:
            SettingsError: the store is a directory, of which no `what_for` tells.
        """
        url = urlsplit(store_url)
        if url.scheme != "s3":
            raise SettingsError(f"LAKE_STORE={store_url}: {what_for} tells of S3, and this is a directory")
        prefix = url.path.strip("/")
        return LakeBucket(url.netloc, f"{prefix}/" if prefix else "")
