"""dlt: filesystem source to a Parquet table; user is flattened, lists and payload stay JSON as dlt's hints ask.

python dlt_load.py RAW OUTPUT ARCHIVE REPORT CASE
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path

COLUMNS = {
    "payload": {"data_type": "json"},
    "legs": {"data_type": "json"},
    "user__tags": {"data_type": "json"},
    "distance": {"data_type": "double"},
}


def main(raw: str, output: str, report: str) -> None:
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["DATA_WRITER__DISABLE_COMPRESSION"] = "true"
    dlt = import_module("dlt")
    source = import_module("dlt.sources.filesystem")
    start = time.monotonic()
    files = source.filesystem(bucket_url=raw, file_glob="*")
    events = (files | source.read_jsonl()).with_name("events")
    events.apply_hints(columns=COLUMNS)
    events.max_table_nesting = 1
    pipeline = dlt.pipeline(
        pipeline_name="bench",
        pipelines_dir=str(Path(report).with_name("dlt")),
        destination=dlt.destinations.filesystem(bucket_url=output),
        dataset_name="bench",
    )
    pipeline.run(events, loader_file_format="parquet").raise_on_failed_jobs()
    Path(report).write_text(json.dumps({"query": time.monotonic() - start}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[4])
