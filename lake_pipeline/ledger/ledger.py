"""The ledger, put together from its parts."""

from __future__ import annotations

from lake_pipeline.ledger.archive import ArchiveLedger
from lake_pipeline.ledger.audit import AuditLedger
from lake_pipeline.ledger.catalogue import CatalogueLedger
from lake_pipeline.ledger.circuits import CircuitLedger
from lake_pipeline.ledger.costs import CostLedger
from lake_pipeline.ledger.discovery import DiscoveryLedger
from lake_pipeline.ledger.erasures import ErasureLedger
from lake_pipeline.ledger.identity import IdentityLedger
from lake_pipeline.ledger.importing import ImportLedger
from lake_pipeline.ledger.invariants import InvariantLedger
from lake_pipeline.ledger.notices import NoticeLedger
from lake_pipeline.ledger.outputs import OutputLedger
from lake_pipeline.ledger.pauses import PauseLedger
from lake_pipeline.ledger.planning import PlanningLedger
from lake_pipeline.ledger.reading import ReadingLedger
from lake_pipeline.ledger.rebuilding import RebuildLedger
from lake_pipeline.ledger.recording import RecordingLedger
from lake_pipeline.ledger.requeue import RequeueLedger
from lake_pipeline.ledger.versions import VersionLedger


class Ledger(
    ImportLedger,
    DiscoveryLedger,
    PlanningLedger,
    RequeueLedger,
    ErasureLedger,
    VersionLedger,
    OutputLedger,
    ArchiveLedger,
    CatalogueLedger,
    ReadingLedger,
    CircuitLedger,
    PauseLedger,
    NoticeLedger,
    CostLedger,
    IdentityLedger,
    RecordingLedger,
    RebuildLedger,
    InvariantLedger,
    AuditLedger,
):
    """Every raw file and manifest, in Postgres; open it with `Ledger.open(url)`.

    Raises (every method):
        LedgerError: the server refused or failed; what the method had begun is undone.
    """
