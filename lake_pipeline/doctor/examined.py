"""What is looked at: the settings, and the datasets that they declare."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lake_pipeline.aws import client
from lake_pipeline.dataset import Dataset
from lake_pipeline.declarations import load_datasets
from lake_pipeline.discovery.bucket import LakeBucket
from lake_pipeline.errors import DeclarationError
from lake_pipeline.settings import Settings
from lake_pipeline.store import Store

_SILENCE = 10.0


@dataclass
class Examined:
    """A lake by its settings; nothing of it is opened before it is asked for."""

    settings: Settings
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        """A client of AWS that gives up soon.

        Raises:
            SettingsError: no region is set.
        """
        if service not in self._clients:
            self._clients[service] = client(service, attempts=2, silence=_SILENCE)
        return self._clients[service]

    @cached_property
    def datasets(self) -> list[Dataset]:
        """The declared datasets; none where the declarations cannot be read, which a check of its own says."""
        try:
            return list(load_datasets(self.settings.datasets).values())
        except DeclarationError:
            return []

    @cached_property
    def store(self) -> Store:
        """The store; where it is a directory, this makes it if it is not there."""
        return Store(self.settings.store_url, self.settings.encryption)

    @property
    def on_s3(self) -> bool:
        return self.settings.store_url.startswith("s3://")

    @property
    def bucket(self) -> LakeBucket:
        """The store's bucket; ask only where it is one."""
        return LakeBucket.of(self.settings.store_url, "a bucket")
