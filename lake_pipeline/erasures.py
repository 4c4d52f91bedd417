"""What every conversion must know of a request to erase rows: it stands, or a replay would bring them back. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from lake_pipeline.manifests import Manifest

# How the rows that a conversion leaves out are counted, among those that rules drop.
ERASED = "erased"


@dataclass(frozen=True)
class Erasure:
    """Rows of files up to `last_file_id`, a ledger id, of which the SQL `predicate` is true are not to be written."""

    id: int
    predicate: str
    last_file_id: int

    def concerns(self, manifest: Manifest) -> bool:
        """Whether a file of the manifest was known when this was asked for."""
        return any(file.id <= self.last_file_id for file in manifest.files)


def predicate_digest(predicate: str) -> str:
    """The SHA-256 by which reports call a predicate, which may hold personal data."""
    return hashlib.sha256(predicate.encode()).hexdigest()
