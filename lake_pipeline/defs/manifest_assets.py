"""A dataset's assets, raw → curated → table, in one step: a run takes one manifest, or several small ones in turn.

Each manifest has its own attempt and its own materializations: what fails, or is killed, undoes and stops none of the
others. A step for each asset could not do that, for one that failed would stop what follows it.
"""

# Annotations are read by Dagster when a definition is made, so they are not postponed here.
from collections.abc import Iterator
from typing import Any

import dagster as dg

from lake_pipeline.attempts import call_off
from lake_pipeline.dataset import Dataset
from lake_pipeline.defs.checks import check_specs, declared_results, merged
from lake_pipeline.defs.curated import curate, curated_spec, is_cancelled
from lake_pipeline.defs.keys import Stage, asset_key
from lake_pipeline.defs.partitions import manifest_partitions
from lake_pipeline.defs.raw import raw_metadata, raw_spec
from lake_pipeline.defs.resources import LakeResource
from lake_pipeline.defs.run_tags import is_done
from lake_pipeline.defs.table import table_metadata, table_spec
from lake_pipeline.errors import CheckFailed, CircuitOpen, LakeError, LedgerUnreachable
from lake_pipeline.guard import check_ledger
from lake_pipeline.lake import Lake

# What fails one manifest of this will fail the next, and that would count as a try.
_FAILS_ALL = (CircuitOpen, LedgerUnreachable)


def manifest_assets(dataset: Dataset, engine: str) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name=f"{dataset.name}_manifests",
        specs=[raw_spec(dataset), curated_spec(dataset, engine), table_spec(dataset)],
        check_specs=check_specs(dataset, asset_key(dataset, "curated")),
        partitions_def=manifest_partitions(dataset),
        backfill_policy=dg.BackfillPolicy.multi_run(dataset.batch.run_manifests),
        can_subset=True,
        pool="convert",
    )
    def manifests(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
        step = ManifestsStep(context, lake.lake, dataset)
        try:
            yield from step.carry_out()
        except LakeError as error:
            raise dg.Failure(description=str(error), allow_retries=False) from error

    return manifests


class ManifestsStep:
    """The manifests of one run: those of its partitions."""

    def __init__(self, context: dg.AssetExecutionContext, lake: Lake, dataset: Dataset) -> None:
        self._context, self._lake, self._dataset = context, lake, dataset
        self._ids = list(context.partition_keys)
        self._checks: list[dg.AssetCheckResult] = []
        self._failures: dict[str, Exception] = {}

    def carry_out(self) -> Iterator[dg.AssetCheckResult]:
        """Take one after another through the assets that were chosen, then fail if one has failed.

        Raises:
            dg.Failure: some manifests have failed; the others are committed.
            LakeError: nothing was begun, or readers could not be shown what was.
        """
        check_ledger(self._lake, [self._dataset])
        self._lake.ledger.reap(self._dataset.name)
        succeeded = list(self._converted())
        if succeeded and self._wants("table"):
            # Attempts have shown what they committed; who asks for the table alone wants it mended.
            shown = table_metadata(self._lake, self._dataset, anew=not self._wants("curated"))
            for manifest_id in succeeded:
                self._tell("table", manifest_id, shown)
        _ask_for_no_results(self._context)
        yield from merged(self._checks)
        if self._failures:
            raise dg.Failure(description=self._why(), allow_retries=False) from next(iter(self._failures.values()))

    def _converted(self) -> Iterator[str]:
        """The manifests that came through."""
        for number, manifest_id in enumerate(self._ids):
            try:
                if self._convert(manifest_id):
                    yield manifest_id
            except _FAILS_ALL as error:
                self._failures[manifest_id] = error
                return
            except Exception as error:
                if isinstance(error, CheckFailed):
                    self._checks += declared_results(error.outcomes, asset_key(self._dataset, "curated"))
                elif len(self._ids) == 1 and not isinstance(error, LakeError):
                    raise
                self._failures[manifest_id] = error
            except BaseException:
                if is_cancelled(self._context):
                    # The lake would begin these anew at once; the one under way has said so itself.
                    call_off(self._lake, self._dataset, self._ids[number + 1 :])
                raise

    def _convert(self, manifest_id: str) -> bool:
        """Whether the manifest's rows may be shown."""
        manifest = self._lake.ledger.manifest(self._dataset.name, manifest_id)
        if self._wants("raw"):
            self._tell("raw", manifest_id, raw_metadata(self._lake, self._dataset, manifest_id))
        if not self._wants("curated"):
            return True
        if is_done(self._context.instance, self._context.run, manifest):
            self._tell("curated", manifest_id, {"attempt": manifest.attempt, "committed": str(manifest.committed_at)})
            return True
        curated = curate(self._context, self._lake, self._dataset, manifest_id)
        self._checks += curated.checks
        self._tell("curated", manifest_id, curated.metadata)
        return curated.is_conserved

    def _wants(self, stage: Stage) -> bool:
        return asset_key(self._dataset, stage) in self._context.selected_asset_keys

    def _tell(self, stage: Stage, manifest_id: str, metadata: dict[str, Any]) -> None:
        """Materialize at once, so that it is there whatever becomes of the run."""
        key = asset_key(self._dataset, stage)
        self._context.log_event(dg.AssetMaterialization(key, partition=manifest_id, metadata=metadata))

    def _why(self) -> str:
        if len(self._ids) == 1:
            return str(self._failures[self._ids[0]])
        reasons = [f"{len(self._failures)} of {len(self._ids)} manifests failed, and the others are not concerned"]
        return "\n".join(reasons + [f"{name}: {error}" for name, error in self._failures.items()])


def _ask_for_no_results(context: dg.AssetExecutionContext) -> None:
    """Let the step end without a result for each of its assets, which Pipes, once opened, makes Dagster insist on."""
    context.op_execution_context._step_execution_context._requires_typed_event_stream = False
