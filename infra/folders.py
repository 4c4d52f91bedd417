"""The folders of the lake, by what is done with them: those that the declarations name, and the platform's own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lake_pipeline.catalog.athena import RESULTS
from lake_pipeline.catalog.symlinks import SYMLINKS
from lake_pipeline.dataset import Dataset
from lake_pipeline.documents import ROOT
from lake_pipeline.engines.task import STAGING

# The platform's own, which no declaration may name.
EXTRACTS = "extracts/"
GLUE = "glue/"  # what `make glue-bundle` builds
MANIFESTS = "manifests/"
QUARANTINE = "quarantine/"
OWN = (EXTRACTS, MANIFESTS, QUARANTINE, ROOT, RESULTS, STAGING, SYMLINKS)
# In the bucket of reports, where S3 puts below it the lake's bucket and the report's id.
INVENTORY = "inventory/"
INVENTORY_ID = "daily"


@dataclass(frozen=True)
class Folders:
    """Prefixes below the store's root, each once and in order."""

    raw: tuple[str, ...]
    kept: tuple[str, ...]  # those raw ones whose files stay where they landed
    archive: tuple[str, ...]
    output: tuple[str, ...]

    @classmethod
    def of(cls, datasets: Iterable[Dataset]) -> Folders:
        """Those of the declared datasets."""
        found = list(datasets)
        return cls(
            raw=_once(item.source.prefix for item in found),
            kept=_once(item.source.prefix for item in found if item.archive.prefix is None),
            archive=_once(item.archive.prefix for item in found if item.archive.prefix is not None),
            output=_once(item.output.stem for item in found),
        )

    @property
    def told(self) -> tuple[str, ...]:
        """The raw prefixes that are below no other: S3 takes no two rules for the same key."""
        return tuple(one for one in self.raw if not any(one != other and one.startswith(other) for other in self.raw))


def _once(prefixes: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(prefixes)))
