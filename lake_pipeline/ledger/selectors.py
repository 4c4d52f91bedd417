"""Which files to do again: selectors that must all hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from lake_pipeline.errors import LedgerError
from lake_pipeline.ledger.models import FileStatus


class Selectors(TypedDict, total=False):
    """What files are chosen by; what is None or left out chooses nothing and excludes nothing.

    `key` is one raw file's, or any of several; `group` a landing group; `partition` a Hive partition such as
    `year=2026/month=2`, which stands for the manifests with outputs under it.
    """

    key: str | Sequence[str] | None
    status: FileStatus | None
    error_class: str | None
    manifest: str | None
    group: str | None
    partition: str | None


def selector_parameters(selectors: Selectors) -> dict[str, Any]:
    """The selectors as a query takes them.

    Raises:
        LedgerError: there is none.
    """
    key = selectors.get("key")
    keys = [key] if isinstance(key, str) else list(key or ())
    partition = (selectors.get("partition") or "").strip("/")
    parameters = {
        "keys": keys or None,
        "status": selectors.get("status"),
        "error_class": selectors.get("error_class"),
        "manifest_id": selectors.get("manifest"),
        "landing_group": selectors.get("group"),
        "partition": f"/{partition}/" if partition else None,
    }
    if not any(value is not None for value in parameters.values()):
        raise LedgerError("name a key, a status, an error class, a manifest, a group or a partition to requeue")
    return parameters


def selectors_text(selectors: Selectors) -> str:
    """What was asked for, in words: `key raw/a.json and status FAILED`."""
    given: Mapping[str, Any] = selectors
    words = []
    for name, value in given.items():
        if value:
            shown = value if isinstance(value, str) else " or ".join(value)
            words.append(f"{name.replace('_', ' ')} {shown}")
    return " and ".join(words)
