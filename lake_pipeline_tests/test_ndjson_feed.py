"""The bundled `ndjson_feed`, from landing to Parquet: every value as it was written, each file accounted for."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from lake_pipeline.lake import Lake
from lake_pipeline.samples import generate
from lake_pipeline.settings import BUNDLED_DATASETS
from lake_pipeline_tests.kernel_oracle import Pairs, as_written, read_json
from lake_pipeline_tests.lakes import lake_of, rows, run, states, stored

DECLARATION: dict[str, Any] = yaml.safe_load((BUNDLED_DATASETS / "ndjson_feed.yaml").read_text())


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[Lake]:
    with lake_of(monkeypatch, tmp_path, database_url, DECLARATION) as opened:
        yield opened


def expected(text: str) -> dict[str, str]:
    """A record's columns: `customer` and `coupon` flattened, every value as its text."""
    row: dict[str, str] = {}
    for key, value in read_json(text):
        members = [(f"{key}_{inner}", item) for inner, item in value] if isinstance(value, Pairs) else [(key, value)]
        row |= {name: as_written(item) for name, item in members if item is not None}
    return row


def test_every_day_becomes_snappy_parquet_of_strings_that_say_what_the_lines_said(lake: Lake) -> None:
    generate("ndjson_feed", lake.store, scale=0.05)
    landed = {key: lake.store.get(key) for key in stored(lake, "landing/")}

    assert run(lake) == 3

    outputs = stored(lake, "pipeline/")
    assert [path.rpartition("/")[0] for path in outputs] == [
        "pipeline/output/merged-parquet-2026-02-01",
        "pipeline/output/merged-parquet-2026-02-02",
        "pipeline/output/merged-parquet-historical",
    ]
    found: Counter[tuple[tuple[str, str], ...]] = Counter()
    assert lake.store.root is not None
    for path in outputs:
        file = pq.ParquetFile(lake.store.root / path)
        assert {str(field.type) for field in file.schema_arrow} == {"string"}
        assert file.metadata.row_group(0).column(0).compression == "SNAPPY"
        for row in file.read().to_pylist():
            values = {key: value for key, value in row.items() if value is not None and not key.startswith("_")}
            found[tuple(sorted(values.items()))] += 1
    wanted: Counter[tuple[tuple[str, str], ...]] = Counter()
    for key, data in landed.items():
        text = (gzip.decompress(data) if key.endswith(".gz") else data).decode()
        for line in text.splitlines():
            if line.startswith("{") and line.endswith("}") and '"A-17"' not in line:
                wanted[tuple(sorted(expected(line).items()))] += 1
    odd = {"order_id": "A-17", "amount": "n/a", "lines": "{}", "gift": "yes"}
    wanted[tuple(sorted(odd.items()))] += 1
    assert found == wanted


def test_bad_lines_and_bad_files_are_set_aside_and_the_rest_is_archived(lake: Lake) -> None:
    samples = generate("ndjson_feed", lake.store, scale=0.05)
    run(lake)
    assert states(lake, "ndjson_feed") == {sample.key: sample.status for sample in samples}
    assert stored(lake, "landing/") == []
    assert stored(lake, "quarantine/") == [
        "quarantine/ndjson_feed/files/2026-02-01/part-0004.ndjson",
        "quarantine/ndjson_feed/files/2026-02-02/part-0003.ndjson",
        "quarantine/ndjson_feed/records/2026-02-01.0001-a1.ndjson",
    ]
    aside = lake.store.get("quarantine/ndjson_feed/records/2026-02-01.0001-a1.ndjson").decode().splitlines()
    assert [json.loads(line)["line"] for line in aside] == [3, 4]
    assert len(stored(lake, "landing-processed/ndjson/")) == len(samples) - 2
    assert stored(lake, "manifests/") == [
        "manifests/2026-02-01/batch-0001.json",
        "manifests/2026-02-02/batch-0001.json",
        "manifests/historical/batch-0001.json",
    ]
    assert rows(lake, "select max(order_id) > '9007199254740993' from ndjson_feed where order_id like '9%'") == [
        (True,)
    ]


def test_after_thirty_days_the_records_go_and_the_outputs_lineage_stays(lake: Lake) -> None:
    generate("ndjson_feed", lake.store, scale=0.05)
    run(lake)
    assert lake.ledger.prune_files("ndjson_feed", timedelta(days=30)) == 0
    before = rows(lake, "select count(*), count(distinct _source_file) from ndjson_feed")

    assert lake.ledger.prune_files("ndjson_feed", timedelta(0)) == 6

    assert set(states(lake, "ndjson_feed").values()) == {"QUARANTINED"}
    assert run(lake) == 0
    assert rows(lake, "select count(*), count(distinct _source_file) from ndjson_feed") == before
    assert len(lake.ledger.committed_outputs("ndjson_feed")) == 3
    assert len(stored(lake, "manifests/")) == 3
