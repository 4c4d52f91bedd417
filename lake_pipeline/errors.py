"""Every error this package raises on purpose. The docstring is the message's first sentence."""

from __future__ import annotations

from typing import Any


class LakeError(Exception):
    """The lake could not do what was asked."""

    def __init__(self, detail: str = "") -> None:
        summary = (type(self).__doc__ or "").strip().splitlines()[0].rstrip(".")
        super().__init__(f"{summary}: {detail}" if detail else f"{summary}.")
        self.detail = detail

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled by its message: anew it would be made of its detail.
        return _restored, (type(self), self.args, vars(self))


def _restored(kind: type[LakeError], arguments: tuple[Any, ...], state: dict[str, Any]) -> LakeError:
    error = kind.__new__(kind)
    error.args = arguments
    vars(error).update(state)
    return error


class SettingsError(LakeError):
    """A setting has a value that cannot be used."""


class DeclarationError(LakeError):
    """A dataset declaration is not valid."""


class UnknownDataset(LakeError):
    """No dataset of that name is declared."""


class UnknownRegion(LakeError):
    """There are no prices of that AWS region."""


class NothingWaits(LakeError):
    """There is nothing to estimate."""


class UnknownFile(LakeError):
    """There is no such raw file."""


class StoreError(LakeError):
    """The object store refused or failed."""


class ObjectMissing(StoreError):
    """The object is not in the store."""


class ObjectChanged(StoreError):
    """The object is not the version that was listed."""


class LedgerError(LakeError):
    """The ledger refused or failed."""


class LedgerMismatch(LedgerError):
    """This ledger is not the one that this lake was made with, so nothing was done."""


class LedgerUnreachable(LedgerError):
    """The ledger's database does not answer."""


class NothingMatched(LedgerError):
    """Nothing in the ledger matches."""


class LeaseLost(LedgerError):
    """Another attempt of this manifest has taken over, so this one may not commit."""


class PublishedUnreadable(LakeError):
    """A curated file cannot be read."""


class SchemaConflict(LakeError):
    """The data does not fit the dataset's schema."""


class SchemaRaced(LedgerError):
    """Another manifest changed the schema first, so this one must convert again."""


class ErasureRaced(LedgerError):
    """Rows were erased meanwhile, so this attempt must convert again."""


class PredicateInvalid(LakeError):
    """The rows to erase cannot be told by this predicate."""


class ErasureRefused(LakeError):
    """The erasure cannot be done as asked, so nothing was touched."""


class ErasureUnfinished(LakeError):
    """The erasure has begun and is not finished."""


class ManifestInvalid(LakeError):
    """A manifest's document is not what its name says."""


class ReferenceInvalid(LakeError):
    """A reference for enrichment cannot be used."""


class CheckInvalid(LakeError):
    """A declared check cannot be evaluated."""


class CheckFailed(LakeError):
    """A blocking check failed, so nothing was published."""

    def __init__(self, detail: str, outcomes: tuple[Any, ...]) -> None:
        super().__init__(detail)
        self.outcomes = outcomes


class ReplayIncomplete(LakeError):
    """A replay cannot read every file whose rows are in the table, so the table keeps them as they are."""


class VersionsWithdrawn(LakeError):
    """New versions of files cannot be converted, so the rows of the old ones stay."""


class ConservationError(LakeError):
    """Rows read and exploded are not rows written, quarantined and dropped, so nothing was published."""


class DiskFull(LakeError):
    """A disk of this machine is full."""


class EngineError(LakeError):
    """The engine did not finish the conversion."""


class EngineUnreachable(EngineError):
    """The engine cannot be asked what became of its run, which may go on."""


class CatalogError(LakeError):
    """The catalogue refused or failed."""


class CatalogConflict(CatalogError):
    """The catalogue holds what this lake did not put there."""


class ImportInvalid(LakeError):
    """What is to be imported cannot be used."""


class InventoryInvalid(LakeError):
    """The inventory report cannot be used."""


class ReportAwaited(LakeError):
    """There is no S3 Inventory report yet."""


class QueueError(LakeError):
    """The queue refused or failed."""


class CircuitOpen(LakeError):
    """A service that keeps failing is left alone for a while."""


class LakePaused(LakeError):
    """Nothing is begun while it is paused."""


class NoticeFailed(LakeError):
    """A notice could not be sent."""


class QueryError(LakeError):
    """The query failed."""


class ExtractFailed(LakeError):
    """An extract could not be made."""


class RunFailed(LakeError):
    """Not everything could be converted."""


class RebuildIncomplete(LakeError):
    """The ledger was rebuilt, and not everything in the store could be accounted for."""


class DemoFailed(LakeError):
    """The demo did not end as its samples say."""


class DevFailed(LakeError):
    """The Dagster UI and daemon do not run."""
