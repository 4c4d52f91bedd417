"""The report of an erasure: what was rewritten and what was not searched, and its SHA-256 in the ledger as sign-off.

The predicate may hold personal data, so that the report has its SHA-256 only.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from lake_pipeline.dataset import Dataset
from lake_pipeline.documents import erasure_report_key, erasure_request_key
from lake_pipeline.failpoints import failpoint
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.erasure_models import ErasureRow


def write_down(lake: Lake, erasure: ErasureRow) -> None:
    """Put the request into the store, so that a ledger that is rebuilt knows it. May be repeated."""
    request = asdict(erasure) | {"begun_at": erasure.begun_at.isoformat()}
    ended = ("ended_at", "rows_erased", "report_key", "report_sha256")
    document = {name: value for name, value in request.items() if name not in ended}
    lake.store.put_json(erasure_request_key(erasure.dataset, erasure.id), document)


def sign_off(lake: Lake, dataset: Dataset, erasure: ErasureRow) -> ErasureRow:
    """Write the report of a request whose rows are gone, as was verified, and end it; the request as it is then."""
    report = _report(lake, dataset, erasure)
    text = json.dumps(report, indent=1, sort_keys=True, ensure_ascii=False).encode()
    key = erasure_report_key(dataset.name, erasure.id)
    lake.store.put(key, text)
    failpoint("erase.reported")
    digest = hashlib.sha256(text).hexdigest()
    lake.ledger.end_erasure(erasure.id, report["rows_erased"], key, digest)
    return next(row for row in lake.ledger.erasures(dataset.name) if row.id == erasure.id)


def _report(lake: Lake, dataset: Dataset, erasure: ErasureRow) -> dict[str, Any]:
    steps = lake.ledger.erasure_steps(erasure.id)
    outputs = [output | {"manifest_id": step.manifest_id} for step in steps for output in step.outputs]
    raw = [file for step in steps for file in step.raw]
    files: Counter[str] = Counter()
    for step in steps:
        files.update({file["key"]: file["rows_erased"] for file in step.files})
    not_searched = lake.ledger.not_searched(dataset.name, erasure.last_file_id)
    return {
        "id": erasure.id,
        "dataset": dataset.name,
        "predicate_sha256": erasure.predicate_sha256,
        "requested_by": erasure.requested_by,
        "begun_at": erasure.begun_at.astimezone(UTC).isoformat(),
        "verified_at": datetime.now(UTC).isoformat(),
        "rows_erased": sum(files.values()),
        "rows_erased_by_file": dict(sorted(files.items())),
        "outputs_rewritten": [output for output in outputs if output["replaced_by"]],
        "outputs_removed": [output for output in outputs if not output["replaced_by"]],
        "raw": erasure.raw,
        "raw_files_rewritten": [file for file in raw if "before" in file],
        "matching_rows_left": 0,
        "not_searched": {
            "files_in_quarantine": not_searched.quarantined_files,
            "records_in_quarantine": not_searched.quarantined_records,
            "files_not_converted_yet": not_searched.waiting_files,
            "files_imported": not_searched.imported_files,
            "raw_files": {file["key"]: file["unread"] for file in raw if "unread" in file},
            "extracts_to_be_made_anew": [extract.name for extract in dataset.extracts],
        },
    }
