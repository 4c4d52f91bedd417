"""Lists of committed files, one a Hive partition, that Athena reads in place of a folder; pure.

Athena reads every file below a partition's location. A folder of curated files may hold files that were published and
not committed yet, and those that a replay has just replaced; so a table's locations are folders of the lake's own, each
with one text file that names the committed ones (Hive's SymlinkTextInputFormat, which Athena reads for S3 Inventory and
for Delta Lake's manifests). One PUT changes what a partition shows, all at once.
"""

from __future__ import annotations

SYMLINKS = "_symlinks/"
FILE = "symlink.txt"


def table_folder(dataset: str) -> str:
    """Where a table's lists lie, below the store's root."""
    return f"{SYMLINKS}{dataset}/"


def partition_folder(dataset: str, partition: str) -> str:
    """Where the list of a partition such as `year=2026/mode=bike` lies; the table's own folder where it has none."""
    return f"{table_folder(dataset)}{partition}/" if partition else table_folder(dataset)


def listing(store_url: str, paths: list[str]) -> bytes:
    """The text that names the files: one URL a line."""
    return "".join(f"{store_url}/{path}\n" for path in paths).encode()
