"""The lake as a Dagster resource."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
from pydantic import PrivateAttr

from lake_pipeline.lake import Lake, open_lake
from lake_pipeline.ledger.retrying import PATIENCE
from lake_pipeline.settings import load_settings


class LakeResource(dg.ConfigurableResource[Any]):
    """Opens the lake that the environment describes, for as long as a run or a tick lasts."""

    _lake: Lake | None = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[LakeResource]:  # noqa: ARG002 - Dagster's signature
        with open_lake(load_settings(), patience=PATIENCE) as lake:
            self._lake = lake
            yield self

    @property
    def lake(self) -> Lake:
        assert self._lake is not None, "the resource is open only while a run or a tick lasts"
        return self._lake
