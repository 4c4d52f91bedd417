"""A lake before and after `lake run`, in the LAKE_HOME of the environment; neither is part of what is timed.

python lake_home.py init              make the embedded Postgres, the ledger's tables and Dagster's
python lake_home.py report REPORT     what the ledger says of the run
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

from lake_pipeline.lake import Lake, open_lake
from lake_pipeline.settings import load_settings


def init(lake: Lake) -> None:
    from lake_pipeline.defs.instance import open_instance  # costs what importing Dagster costs

    with open_instance(lake.settings):
        pass


def report(lake: Lake) -> dict[str, float]:
    """Seconds of the conversion by step, and when the attempts began and were committed, in epoch seconds.

    Raises:
        ValueError: a raw file is not SUCCEEDED, or was not archived.
    """
    seconds: Counter[str] = Counter()
    began, committed = [], []
    for dataset in lake.datasets:
        for file in lake.ledger.files(dataset):
            if file.status != "SUCCEEDED" or file.archived_key is None:
                raise ValueError(f"{file.s3_key} is {file.status}: {file.error_message}")
        for manifest in lake.ledger.manifests(dataset):
            assert manifest.metrics is not None
            assert manifest.started_at is not None
            assert manifest.committed_at is not None
            seconds.update(manifest.metrics["seconds"])
            began.append(manifest.started_at.timestamp())
            committed.append(manifest.committed_at.timestamp())
    return {**seconds, "conversion": seconds.total(), "began_at": min(began), "committed_at": max(committed)}


if __name__ == "__main__":
    with open_lake(load_settings()) as lake:
        if sys.argv[1] == "init":
            init(lake)
        else:
            Path(sys.argv[2]).write_text(json.dumps(report(lake)))
