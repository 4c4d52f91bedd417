"""The Dagster component: a dataset declared in an existing project's own defs.yaml."""

# Annotations are read by Dagster when a definition is made, so they are not postponed here.
from typing import Any

import dagster as dg
from pydantic import ValidationError

from lake_pipeline.dataset import Dataset
from lake_pipeline.defs.factory import dataset_definitions
from lake_pipeline.defs.resources import LakeResource
from lake_pipeline.errors import DeclarationError
from lake_pipeline.settings import load_settings


class LakeDataset(dg.Component, dg.Model, dg.Resolvable):
    """A dataset of the lake: raw → curated → table, with its sensors and schedule.

    `declaration` is what a YAML file of LAKE_DATASETS would hold. The project's first component of this type, or the
    project itself, brings the resource `lake`; `resource: false` leaves it out.
    """

    declaration: dict[str, Any]
    resource: bool = True

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        try:
            dataset = Dataset.model_validate(self.declaration)
        except ValidationError as error:
            raise DeclarationError(f"{context.path}: {error}") from error
        definitions = dataset_definitions(dataset, load_settings().engine)
        if not self.resource:
            return definitions
        return dg.Definitions.merge(definitions, dg.Definitions(resources={"lake": LakeResource()}))
