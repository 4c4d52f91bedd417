"""Claiming: limits, ids, and planners that work side by side in processes of their own."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from lake_pipeline.ledger.connection import named_queries
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline_tests.ledger_samples import DATASET, claim, land, listed, states

PROCESSES = 3


def side_by_side(target: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What the function returns in each of three processes."""
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        return pool.starmap(target, [arguments] * PROCESSES, chunksize=1)


def claim_until_empty(url: str, groups: list[str], max_files: int) -> list[tuple[str, list[int]]]:
    claimed: list[tuple[str, list[int]]] = []
    with Ledger.open(url) as ledger:
        while manifests := [ledger.claim_manifest(DATASET, group, max_files, 10**12) for group in groups]:
            found = [(manifest.manifest_id, [file.id for file in manifest.files]) for manifest in manifests if manifest]
            if not found:
                return claimed
            claimed += found
    return claimed


def test_planners_never_share_a_file_or_an_id(ledger: Ledger, database_url: str) -> None:
    groups = ["2026/week07", "2026-week07", "historical"]  # the first two are alike in an id
    for group in groups:
        ledger.register(DATASET, [listed(f"{group}/{n}", group=group) for n in range(700)])
    claimed = [item for each in side_by_side(claim_until_empty, database_url, groups, 7) for item in each]
    assert len(claimed) == len({manifest_id for manifest_id, _ in claimed}) == 300
    assert all(times == 1 for times in Counter(file for _, files in claimed for file in files).values())
    assert sum(len(files) for _, files in claimed) == 2100
    assert set(states(ledger).values()) == {"PROCESSING"}
    assert {row.manifest_id for row in ledger.manifests(DATASET)} == {manifest_id for manifest_id, _ in claimed}


def register_all(url: str, etag: str) -> tuple[int, int]:
    with Ledger.open(url) as ledger:
        registered = [
            ledger.register(DATASET, [listed(f"k{n:05}", etag) for n in range(start, start + 500)])
            for start in range(0, 5000, 500)
        ]
    return sum(batch.new for batch in registered), sum(batch.known for batch in registered)


def test_listings_side_by_side_register_each_object_once(ledger: Ledger, database_url: str) -> None:
    counts = side_by_side(register_all, database_url, "v1")
    assert sum(new for new, _ in counts) == 5000
    assert ledger.status()[DATASET]["PENDING"] == 5000


def test_the_oldest_files_go_first(ledger: Ledger) -> None:
    for key in ("z", "m", "a"):
        land(ledger, key)
    assert [file.key for file in claim(ledger, max_files=2).files] == ["z", "m"]


@pytest.mark.parametrize(
    ("sizes", "max_bytes", "taken"),
    [([4, 4, 4], 8, 2), ([9, 1], 8, 1), ([0, 0, 9], 8, 2), ([8, 0, 1], 8, 2), ([9, 0], 8, 1), ([3], 8, 1)],
)
def test_a_manifest_keeps_to_its_bytes_but_takes_one_file(
    ledger: Ledger, sizes: list[int], max_bytes: int, taken: int
) -> None:
    land(ledger, *[listed(f"k{n}", size=size) for n, size in enumerate(sizes)])
    manifest = ledger.claim_manifest(DATASET, "2026/week07", 100, max_bytes)
    assert manifest is not None
    assert [file.size for file in manifest.files] == sizes[:taken]


def test_a_claim_names_its_files_and_marks_them(ledger: Ledger) -> None:
    land(ledger, listed("raw/a.json", "e1", size=5), listed("raw/b.json", "e2", size=6), listed("x", group="other"))
    manifest = claim(ledger)
    assert (manifest.manifest_id, manifest.landing_group, manifest.bytes) == ("2026-week07.0001", "2026/week07", 11)
    assert [(file.key, file.etag, file.size, file.location) for file in manifest.files] == [
        ("raw/a.json", "e1", 5, "raw/a.json"),
        ("raw/b.json", "e2", 6, "raw/b.json"),
    ]
    row = ledger.manifest(DATASET, "2026-week07.0001")
    assert (row.state, row.attempt, row.files, row.bytes) == ("PLANNED", 0, 2, 11)
    assert states(ledger) == {
        ("raw/a.json", "e1"): "PROCESSING",
        ("raw/b.json", "e2"): "PROCESSING",
        ("x", "v1"): "PENDING",
    }
    assert ledger.claim_manifest(DATASET, "2026/week07", 10, 10) is None


def test_backlog_counts_what_waits_in_each_group(ledger: Ledger) -> None:
    land(ledger, listed("a", size=1), listed("b", size=2), listed("c", size=4, group="other"))
    groups = {group.landing_group: (group.files, group.bytes) for group in ledger.backlog(DATASET)}
    assert groups == {"2026/week07": (2, 3), "other": (1, 4)}
    claim(ledger)
    assert [group.landing_group for group in ledger.backlog(DATASET)] == ["other"]
    summary = ledger.backlog_summary(DATASET)
    assert (summary.files, summary.bytes) == (3, 7)
    assert ledger.backlog_summary("nothing").oldest is None


def test_a_claim_finds_its_files_by_the_partial_index(ledger: Ledger, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        # Most files are done, as in any lake that has run for a while.
        connection.execute(
            "INSERT INTO lake.live_files"
            " (dataset, s3_key, etag, size, last_modified, landing_group, status)"
            " SELECT 'events', 'k' || n, 'v1', 10, now(), '2026/week07', 'SUCCEEDED' FROM generate_series(1, 50000) n"
        )
        connection.execute("ANALYZE lake.live_files")
    land(ledger, *[f"new{n}" for n in range(100)])
    parameters = {"dataset": DATASET, "landing_group": "2026/week07", "max_files": 10, "keys": None}
    with psycopg.connect(database_url) as connection:
        query = "EXPLAIN " + named_queries().claim_files.sql
        plan = connection.execute(query, {**parameters, "manifest_id": "m", "max_bytes": 1000}).fetchall()
    assert "claimable_files" in str(plan)
    assert "Seq Scan" not in str(plan)
