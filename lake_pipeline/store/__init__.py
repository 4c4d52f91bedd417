"""The object store: a directory or an S3 bucket behind one interface."""

from __future__ import annotations

from lake_pipeline.store.objects import TRIED, Copy, Move, StoredObject, batched, each
from lake_pipeline.store.store import Store

__all__ = ["TRIED", "Copy", "Move", "Store", "StoredObject", "batched", "each"]
