"""`lake_pipeline.open_table`: what a training job reads is what `lake query` shows, and only the files it asks for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import lake_pipeline
from lake_pipeline.errors import QueryError, UnknownDataset
from lake_pipeline.lake import Lake
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, run, stored

HINTED = EVENTS | {"schema": EVENTS["schema"] | {"hints": {"ts": "timestamp"}}}
BARE = {
    "name": "bare",
    "source": {"prefix": "bare/", "format": "ndjson"},
    "output": {"prefix": "bare-table/"},
}


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[Lake]:
    """Two weeks, the second with new columns; modes that need encoding, and one that is missing."""
    with lake_of(monkeypatch, tmp_path, database_url, HINTED, BARE) as opened:
        land(opened, "raw/2026/week07/a.json", event(1), event(2, day=2, mode="car"), event(3, mode="a b/ü=%"))
        run(opened)
        more: dict[str, Any] = {"ts": "2026-02-03T10:00:00+01:00", "legs": [{"to": "x", "n": 1}], "o": {}}
        land(opened, "raw/2026/week08/b.json", event(4, day=3, note="n", **more), {"id": "e5", "DATE": "2026-03-01"})
        run(opened)
        yield opened


def as_query(lake: Lake, table: Any) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """The rows of the table and of `lake query`, in one order."""
    names = ", ".join(f'"{name}"' for name in table.schema.names)
    ours = sorted(tuple(row.values()) for row in table.to_table().to_pylist())
    return ours, sorted(rows(lake, f"select {names} from events"))


def test_the_rows_and_columns_are_those_of_lake_query(lake: Lake) -> None:
    table = lake_pipeline.open_table("events")

    ours, theirs = as_query(lake, table)

    assert ours == theirs
    assert len(ours) == 5
    assert table.schema.names == [row[0] for row in rows(lake, "describe events")]
    assert table.schema.field("ts").type == pa.timestamp("us", "UTC")
    assert table.schema.field("year").type == pa.int64()
    assert {row["mode"] for row in table.to_table(["mode"]).to_pylist()} == {"bike", "car", "a b/ü=%", None}


@pytest.mark.parametrize(
    "where",
    [
        (pc.field("mode") == "bike") & (pc.field("month") == 2),
        [("mode", "=", "bike"), ("month", "=", 2)],
        [[("mode", "=", "bike"), ("month", "=", 2)], [("mode", "=", "none")]],
    ],
    ids=["expression", "tuples", "lists of tuples"],
)
def test_files_of_other_partitions_are_not_among_the_fragments(lake: Lake, where: Any) -> None:
    table = lake_pipeline.open_table("events", where=where)

    paths = [fragment.path for fragment in table.get_fragments()]
    assert len(paths) == 2
    assert all("/month=2/" in path and "/mode=bike/" in path for path in paths)
    ids = [row["id"] for row in table.to_table().to_pylist()]
    assert sorted(ids) == [
        row[0] for row in rows(lake, "select id from events where mode='bike' and month=2 order by 1")
    ]


@pytest.mark.usefixtures("lake")
def test_a_condition_on_another_column_leaves_no_file_out_and_filters_rows_as_a_scans_filter() -> None:
    condition = pc.field("note") == "n"
    table = lake_pipeline.open_table("events", where=condition)
    assert table.count_rows() == 5
    assert table.to_table(columns=["id"], filter=condition).to_pylist() == [{"id": "e4"}]


@pytest.mark.usefixtures("lake")
def test_a_partition_that_does_not_exist_is_no_rows_with_the_same_columns() -> None:
    table = lake_pipeline.open_table("events", where=[("year", "=", 1999)])
    assert list(table.get_fragments()) == []
    assert table.to_table().num_rows == 0
    assert table.schema == lake_pipeline.open_table("events").schema


def test_uncommitted_files_and_replaced_ones_are_not_read(lake: Lake) -> None:
    committed = stored(lake, "curated/")[0]
    lake.store.publish(committed, f"{committed.rpartition('/')[0]}/2026-week07.0009-a1-0.parquet")
    lake.ledger.requeue("events", manifest="2026-week07.0001")
    run(lake)

    assert lake_pipeline.open_table("events").count_rows() == 5


def test_a_table_without_partitions_is_read_and_what_was_never_converted_says_so(lake: Lake) -> None:
    with pytest.raises(QueryError, match="nothing of bare has been converted yet"):
        lake_pipeline.open_table("bare")
    land(lake, "bare/a.json", {"n": 1}, {"n": 2})
    run(lake)

    assert lake_pipeline.open_table("bare", where=[("n", ">", 1)]).to_table(columns=["n"]).to_pylist() == [
        {"n": 1},
        {"n": 2},
    ]
    with pytest.raises(UnknownDataset, match="nonesuch"):
        lake_pipeline.open_table("nonesuch")
