"""Differences kept on disk until all are known: a repair begins when nothing is streamed any more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from lake_pipeline.audit.classes import Difference


def spooled(differences: Iterable[Difference], folder: Path) -> Iterator[Difference]:
    """The same differences, once the last of them is known."""
    path = folder / "differences.ndjson"
    with path.open("wb") as file:
        for difference in differences:
            file.write(msgspec.json.encode(difference) + b"\n")
    with path.open("rb") as lines:
        for line in lines:
            yield msgspec.json.decode(line, type=Difference)
