"""Looking at objects by their keys, many at once."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from lake_pipeline.errors import ObjectMissing, StoreError
from lake_pipeline.store import Store, StoredObject

_AT_ONCE = 32


def look(store: Store, keys: Collection[str]) -> tuple[dict[str, StoredObject], dict[str, StoreError]]:
    """The objects that are there, and why others could not be looked at; a key in neither holds no object."""

    def head(key: str) -> StoredObject | StoreError | None:
        try:
            return store.head(key)
        except ObjectMissing:
            return None
        except StoreError as error:
            return error

    if not keys:
        return {}, {}
    with ThreadPoolExecutor(min(_AT_ONCE, len(keys))) as pool:
        answers = list(zip(keys, pool.map(head, keys), strict=True))
    return (
        {key: answer for key, answer in answers if isinstance(answer, StoredObject)},
        {key: answer for key, answer in answers if isinstance(answer, StoreError)},
    )
