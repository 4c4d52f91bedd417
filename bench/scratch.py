"""A folder for a benchmark's lake."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lake_pipeline.ledger.embedded import attach


@contextmanager
def scratch_lake(parent: Path | None) -> Iterator[Path]:
    """A folder whose `home` becomes a lake's, deleted at the end, once its embedded Postgres has stopped."""
    with tempfile.TemporaryDirectory(prefix="lake-bench-", dir=parent) as name:
        folder = Path(name)
        folder.chmod(0o755)
        try:
            yield folder
        finally:
            attach(folder / "home").release()
