"""Two streams in the order of one key, side by side. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import TypeVar

from lake_pipeline.store import StoredObject

_Row = TypeVar("_Row")


def merged(
    objects: Iterable[StoredObject], rows: Iterable[_Row], key_of: Callable[[_Row], str]
) -> Iterator[tuple[str, StoredObject | None, _Row | None]]:
    """Each key with its object and the first of its rows, where there are any; both in the order of the keys' bytes.

    Python compares texts by code points, as UTF-8's bytes, S3 and the collation "C" do.
    """
    first_rows = ((key, next(group)) for key, group in groupby(rows, key_of))
    left, right = iter(objects), first_rows
    found, known = next(left, None), next(right, None)
    while found is not None or known is not None:
        if known is None or (found is not None and found.key < known[0]):
            assert found is not None
            yield found.key, found, None
            found = next(left, None)
        elif found is None or known[0] < found.key:
            yield known[0], None, known[1]
            known = next(right, None)
        else:
            yield found.key, found, known[1]
            found, known = next(left, None), next(right, None)
