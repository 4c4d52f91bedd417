"""The Spark asset of docs/spark.md, run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from lake_pipeline.engines.environment import spark_environment
from lake_pipeline.settings import load_settings
from lake_pipeline_tests.lakes import event, lake_of, land, run

PAGE = Path(__file__).parents[1] / "docs/spark.md"


# The bridge to Java leaves sockets to be collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
def test_a_spark_asset_downstream_reads_the_committed_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    (code,) = re.findall(r"```python\n(.+?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    with lake_of(monkeypatch, tmp_path, database_url) as lake:
        land(lake, "raw/2026/week07/a.json", event(1), event(2, mode="car"))
        run(lake)
        land(lake, "raw/2026/week08/b.json", event(3, weather="rain"))
        run(lake)
        lake.store.put("curated/year=2026/month=2/day=1/mode=bike/stray.parquet", b"no Parquet at all")
        for name, value in spark_environment(load_settings()).items():
            monkeypatch.setenv(name, value)

        exec(compile(code, str(PAGE), "exec"), names)
        definitions: dg.Definitions = names["defs"]
        result = dg.materialize([names["events_by_mode"]], resources=definitions.resources)

    (made,) = result.get_asset_materialization_events()
    assert {name: entry.value for name, entry in made.materialization.metadata.items()} == {"bike": 2, "car": 1}
