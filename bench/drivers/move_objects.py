"""Publishes and archives objects in S3, as the lake's store does or in a loop of boto3; prints the seconds of each.

    python bench/drivers/move_objects.py store 5000

The loop asks for as little as a loop can: a copy to publish, a copy and a delete to archive, nothing verified.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from lake_pipeline.aws import client
from lake_pipeline.aws_local.resources import make_bucket
from lake_pipeline.store import Copy, Move, Store, StoredObject

BUCKET = "bench"


def by_store(store: Store, raw: list[StoredObject]) -> dict[str, float]:
    start = time.monotonic()
    store.publish_all([Copy(item.key, f"curated/{item.key}", item.size) for item in raw])
    published = time.monotonic()
    targets = [f"archive/{item.key}" for item in raw]
    assert not any(store.heads(targets))  # an older version must stay, so archiving looks first
    moves = [Move(item.key, target, item.size, item.etag) for item, target in zip(raw, targets, strict=True)]
    assert not any(store.move_all(moves))
    return {"publish": published - start, "archive": time.monotonic() - published}


def by_loop(raw: list[StoredObject]) -> dict[str, float]:
    s3 = client("s3")

    def copy(key: str, target: str) -> None:
        s3.copy_object(Bucket=BUCKET, Key=f"lake/{target}", CopySource={"Bucket": BUCKET, "Key": f"lake/{key}"})

    start = time.monotonic()
    for item in raw:
        copy(item.key, f"curated/{item.key}")
    published = time.monotonic()
    for item in raw:
        copy(item.key, f"archive/{item.key}")
        s3.delete_object(Bucket=BUCKET, Key=f"lake/{item.key}")
    return {"publish": published - start, "archive": time.monotonic() - published}


def main() -> None:
    peer, count = sys.argv[1], int(sys.argv[2])
    store = Store(make_bucket(BUCKET))
    keys = [f"raw/2026/week07/{number:06}.json" for number in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "event").write_bytes(b'{"id": 1}\n')
        store.upload_all([(Path(folder) / "event", key) for key in keys])
    raw = [item for item in store.heads(keys) if item is not None]
    seconds = by_store(store, raw) if peer == "store" else by_loop(raw)
    there = [
        len([item for item in store.heads([f"{prefix}{key}" for key in keys]) if item])
        for prefix in ("curated/", "archive/", "")
    ]
    assert there == [count, count, 0], f"{peer}: {there}"
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
