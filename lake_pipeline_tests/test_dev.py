"""What a person does in the Dagster UI, on a running `lake dev`: look, drop a file, backfill a partition."""

from __future__ import annotations

from pathlib import Path

import pytest

from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, run, states
from lake_pipeline_tests.ui import BROWSER, DRIVER, browser, eventually, lake_dev, page_text

QUICK = EVENTS | {"batch": {"max_wait": 0}}
BACKFILL = """
mutation($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""


@pytest.mark.skipif(not (BROWSER and DRIVER), reason="no chromium or chromedriver; `make browser` installs them")
def test_the_ui_shows_the_lake_picks_up_a_new_file_and_backfills_a_partition(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str
) -> None:
    with lake_of(monkeypatch, tmp_path, database_url, QUICK) as lake:
        land(lake, "raw/2026/week07/a.json", event(1), event(2, mode="car"))
        run(lake)
        with lake_dev(tmp_path / "dev.log") as dev:
            with browser() as driver:
                driver.get(f"{dev.url}/assets/events/curated?view=overview")
                eventually(lambda: "throughput MB/s" in page_text(driver), 60, "the materialization's metadata")
                assert "sample rows" in page_text(driver)
                driver.get(f"{dev.url}/assets/events/curated?view=partitions")
                eventually(lambda: "2026-week07.0001" in page_text(driver), 60, "the partition's key")

            land(lake, "raw/2026/week08/b.json", event(3))
            eventually(lambda: states(lake).get("raw/2026/week08/b.json") == "SUCCEEDED", 150, "the sensors' work")
            eventually(lambda: len(rows(lake, "from events")) == 3, 30, "the table's new row")

            answer = dev.graphql(
                BACKFILL,
                params={
                    "title": "again",
                    "assetSelection": [{"path": ["events", stage]} for stage in ("raw", "curated", "table")],
                    "partitionNames": ["2026-week07.0001"],
                },
            )["launchPartitionBackfill"]
            assert answer["__typename"] == "LaunchBackfillSuccess", answer
            eventually(
                lambda: (
                    lake.ledger.manifest("events", "2026-week07.0001").attempt == 2
                    and lake.ledger.manifest("events", "2026-week07.0001").state == "COMMITTED"
                ),
                120,
                "the backfill's run",
            )
        assert rows(lake, "select id from events order by id") == [("e1",), ("e2",), ("e3",)]
