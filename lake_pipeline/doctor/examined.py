"""What is looked at: the settings, and the datasets that they declare."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from lake_pipeline.dataset import Dataset
from lake_pipeline.declarations import load_datasets
from lake_pipeline.discovery.bucket import LakeBucket
from lake_pipeline.errors import DeclarationError
from lake_pipeline.settings import Settings


@dataclass(frozen=True)
class Examined:
    """A lake by its settings; nothing of it is opened."""

    settings: Settings

    @cached_property
    def datasets(self) -> list[Dataset]:
        """The declared datasets; none where the declarations cannot be read, which a check of its own says."""
        try:
            return list(load_datasets(self.settings.datasets).values())
        except DeclarationError:
            return []

    @property
    def on_s3(self) -> bool:
        return self.settings.store_url.startswith("s3://")

    @property
    def bucket(self) -> LakeBucket:
        """The store's bucket; ask only where it is one."""
        return LakeBucket.of(self.settings.store_url, "a bucket")
