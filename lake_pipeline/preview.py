"""What the backlog would do to a dataset's schema, found out without converting, claiming or changing anything.

The files are looked at in batches as they would be planned, and the schema of one batch is what the next one meets.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from lake_pipeline.dataset import Batch, Dataset
from lake_pipeline.differences import Difference, differences
from lake_pipeline.discovery.listing import is_raw_file, listed
from lake_pipeline.errors import SchemaConflict, StoreError
from lake_pipeline.evolution import Change, evolve
from lake_pipeline.kernel.layout import reserved_names
from lake_pipeline.kernel.settling import survey_of
from lake_pipeline.kernel.source import RawFile
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.models import WaitingFile
from lake_pipeline.planning import fills
from lake_pipeline.schemas import Schema
from lake_pipeline.scratch import scratch_folder
from lake_pipeline.store import batched


@dataclass
class Preview:
    """What the backlog holds: columns that it would add, values that would not fit, files that cannot be read.

    `refusals` say why manifests would fail: differences in mode `strict`, or more columns than allowed.
    """

    files: int = 0
    bytes: int = 0
    records: int = 0
    added: list[Change] = field(default_factory=list)
    conflicts: list[Difference] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)


def preview_schema(lake: Lake, dataset: Dataset) -> Preview:
    """Look at every record of every file that is PENDING or that a listing finds new.

    Raises:
        StoreError: the listing failed.
    """
    found = Preview()
    schema = lake.schema(dataset.name)
    threads = lake.settings.threads or os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        for batch in batches(
            chain(lake.ledger.waiting_files(dataset.name), _unregistered(lake, dataset)), dataset.batch
        ):
            with scratch_folder() as scratch:
                schema = _look(lake, dataset, schema, batch, found, pool, threads, scratch)
    return found


def batches(files: Iterator[WaitingFile], limits: Batch) -> Iterator[list[WaitingFile]]:
    """Neighbours of one landing group, up to a manifest's limits; pure."""
    batch: list[WaitingFile] = []
    size = 0
    for file in files:
        full = fills(len(batch), size, limits) or size + file.size > limits.max_bytes
        if batch and (full or file.landing_group != batch[0].landing_group):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += file.size
    if batch:
        yield batch


def _unregistered(lake: Lake, dataset: Dataset) -> Iterator[WaitingFile]:
    objects = chain.from_iterable(lake.store.list(dataset.source.prefix))
    number = 0
    for page in batched((listed(dataset, item) for item in objects if is_raw_file(item)), 1000):
        unknown = lake.ledger.unknown_versions(dataset.name, [(item.key, item.etag) for item in page])
        for item in (item for item in page if (item.key, item.etag) in unknown):
            number -= 1  # the ledger's ids are positive
            yield WaitingFile(number, item.key, item.etag, item.size, item.key, item.landing_group)


def _look(
    lake: Lake,
    dataset: Dataset,
    schema: Schema,
    batch: list[WaitingFile],
    found: Preview,
    pool: ThreadPoolExecutor,
    threads: int,
    scratch: Path,
) -> Schema:
    """Add what a batch holds to what was found; the schema that the next batch meets."""
    rules, keys = dataset.schema_, {file.id: file.key for file in batch}
    raw = []
    for file in batch:
        try:
            raw.append(RawFile(file.id, file.key, lake.store.fetch(file.location, scratch)))
        except StoreError as error:
            found.unreadable[file.key] = str(error)
    found.files += len(batch)
    found.bytes += sum(file.size for file in batch)
    settled = schema.version > 0 and not rules.evolves
    survey = survey_of(dataset, schema)
    seen = survey.found
    try:
        survey.look(raw, pool, threads)
        seen.settle()
        # What a settled schema would refuse or rescue is told as the columns that it could have become.
        free = rules.model_copy(update={"mode": "evolve"})
        wider, changes = evolve(schema, seen.root, free, reserved_names(dataset.output), dataset.transform)
    except SchemaConflict as error:
        found.refusals.append(f"{batch[0].landing_group}: {error.detail}")
        return schema
    finally:
        found.records += sum(seen.rows.values())
        found.unreadable |= {keys[id_]: reason for id_, reason in (seen.unreadable | seen.vanished).items()}
    told = {change.path for change in found.added}
    found.added += [change for change in changes if change.path not in told]
    known = {(item.path, item.kind) for item in found.conflicts}
    misfits = [item for item in differences(wider, seen.root) if (item.path, item.kind) not in known]
    found.conflicts += misfits
    if settled and rules.mode == "strict":
        found.refusals += [str(difference) for difference in differences(schema, seen.root)]
    return schema if settled else wider
