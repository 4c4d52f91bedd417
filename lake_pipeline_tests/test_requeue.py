"""Doing files again by any selectors together: exactly those, and every row once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from lake_pipeline import cli
from lake_pipeline.errors import NothingMatched
from lake_pipeline.lake import Lake
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.models import FileOutcome, FileRow, OutputFile
from lake_pipeline.ledger.selectors import Selectors
from lake_pipeline_tests.failing import armed
from lake_pipeline_tests.lakes import event, lake_of, land, rows, stored
from lake_pipeline_tests.ledger_samples import LEASE, listed
from lake_pipeline_tests.passes import work

GROUPS = ("2026/week07", "2026/week08")
# The third of each is of no use, the fourth is gone, the fifth has only just landed.
NAMES = ("a", "b", "bad", "gone", "new")
KEYS = [f"{group}/{name}" for group in GROUPS for name in NAMES]
PARTITIONS = {
    "2026-week07.0001": ("year=2026/month=1", "year=2026/month=2"),
    "2026-week08.0001": ("year=2026/month=2",),
}
_numbers = count()


@pytest.fixture(scope="module")
def shared_ledger(shared_database_url: str) -> Iterator[Ledger]:
    with Ledger.open(shared_database_url) as opened:
        yield opened


def converted_dataset(ledger: Ledger) -> str:
    """A dataset of its own: two manifests, and files in every state that waits for nobody."""
    dataset = f"d{next(_numbers)}"
    ledger.register(dataset, [listed(key, group=key.rpartition("/")[0]) for key in KEYS if not key.endswith("new")])
    for group in GROUPS:
        manifest = ledger.claim_manifest(dataset, group, 10, 10**9)
        assert manifest is not None
        ends = {
            "bad": FileOutcome(0, "QUARANTINED", error_class="Unreadable", error_message="a PNG"),
            "gone": FileOutcome(0, "FAILED", error_class="ObjectMissing", error_message="gone"),
        }
        files = []
        for file in manifest.files:
            end = ends.get(file.key.rpartition("/")[2], FileOutcome(0, "SUCCEEDED", 3, 3))
            files.append(FileOutcome(**vars(end) | {"id": file.id}))
        attempt = ledger.begin_attempt(dataset, manifest.manifest_id, "w1", LEASE)
        outputs = [
            OutputFile(f"curated/{partition}/{manifest.manifest_id}.parquet", 3, 100)
            for partition in PARTITIONS[manifest.manifest_id]
        ]
        ledger.commit_manifest(dataset, manifest.manifest_id, attempt, files=files, outputs=outputs)
    ledger.register(dataset, [listed(key, group=key.rpartition("/")[0]) for key in KEYS if key.endswith("new")])
    return dataset


def chosen(file: FileRow, given: Selectors) -> bool:
    """Whether every selector holds, in plain Python."""
    partition = given.get("partition")
    return all(
        [
            given.get("key") is None or file.s3_key in (given["key"] or ()),
            given.get("status") in (None, file.status),
            given.get("error_class") in (None, file.error_class),
            given.get("manifest") in (None, file.manifest_id),
            given.get("group") in (None, file.landing_group),
            partition is None or any(partition in found for found in PARTITIONS.get(file.manifest_id or "", ())),
        ]
    )


SELECTORS = st.fixed_dictionaries(
    {},
    optional={
        "key": st.lists(st.sampled_from(KEYS), min_size=1, max_size=6),
        "status": st.sampled_from(["SUCCEEDED", "FAILED", "QUARANTINED"]),
        "error_class": st.sampled_from(["Unreadable", "ObjectMissing"]),
        "manifest": st.sampled_from([*PARTITIONS, "none.0001"]),
        "group": st.sampled_from(GROUPS),
        "partition": st.sampled_from(["month=1", "month=2", "year=2026/month=2", "year=2026", "month=3"]),
    },
).filter(bool)


@given(selectors=SELECTORS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_selectors_send_back_exactly_the_files_for_which_all_of_them_hold(
    shared_ledger: Ledger, selectors: Selectors
) -> None:
    dataset = converted_dataset(shared_ledger)
    files = list(shared_ledger.files(dataset))
    selected = [file for file in files if chosen(file, selectors)]
    if not selected:
        with pytest.raises(NothingMatched):
            shared_ledger.requeue(dataset, **selectors)
        return
    manifests = {file.manifest_id for file in selected if file.status == "SUCCEEDED"}
    expected = {file.id for file in files if file.manifest_id in manifests and file.status == "SUCCEEDED"}
    expected |= {file.id for file in selected if file.status in ("QUARANTINED", "FAILED")}
    plan = shared_ledger.requeue_plan(dataset, **selectors)
    assert list(shared_ledger.files(dataset)) == files

    done = shared_ledger.requeue(dataset, **selectors)

    after = {file.id: file.status for file in shared_ledger.files(dataset)}
    changed = {file.id for file in files if after[file.id] != file.status}
    assert changed == expected
    assert (done.files, done.manifests) == (len(expected), len(manifests)) == (plan.files, len(plan.manifests))
    assert plan.outputs == sum(len(PARTITIONS[manifest or ""]) for manifest in manifests)
    assert {name for name in PARTITIONS if shared_ledger.manifest(dataset, name).state == "PLANNED"} == manifests


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[Lake]:
    """Two weeks, two manifests, February's and March's days; one bad line and one bad file."""
    with lake_of(monkeypatch, tmp_path, database_url) as opened:
        land(opened, "raw/2026/week07/a.json", event(1, day=1), event(2, day=2), "ERROR 503")
        land(opened, "raw/2026/week07/b.json", event(3, day=2), event(3, day=2))
        land(opened, "raw/2026/week07/bad.json", "\x89PNG")
        land(opened, "raw/2026/week08/c.json", event(4, day=9))
        assert work(opened) == []
        yield opened


def everything(lake: Lake) -> list[tuple[Any, ...]]:
    return rows(lake, "select * from events order by all")


def asked(*arguments: str) -> str:
    done = CliRunner().invoke(cli.app, ["requeue", "events", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_what_was_sent_back_gives_the_same_rows_each_once(lake: Lake) -> None:
    before = everything(lake)
    for selectors, ran in [
        (["--key", "raw/2026/week07/a.json", "--key", "raw/2026/week08/c.json", "--status", "succeeded"], 2),
        (["--partition", "year=2026/month=2/day=2", "--group", "2026/week07"], 2),  # the bad file in one of its own
        (["--error-class", "Unreadable"], 1),
    ]:
        attempts = sum(row.attempt for row in lake.ledger.manifests("events"))
        asked(*selectors)
        assert work(lake) == []
        assert sum(row.attempt for row in lake.ledger.manifests("events")) == attempts + ran
        assert everything(lake) == before
        assert set(stored(lake, "curated/")) == {output.path for output in lake.ledger.committed_outputs("events")}


def test_a_dry_run_says_what_would_be_rewritten_and_what_is_not_there(lake: Lake) -> None:
    before = list(lake.ledger.files("events")), lake.ledger.manifests("events")
    week = [output for output in lake.ledger.committed_outputs("events") if "week07" in output.path]

    plan = json.loads(asked("--group", "2026/week07", "--dry-run", "--json"))

    assert plan == {
        **{"files": 3, "manifests": ["2026-week07.0001"], "outputs": len(week), "rows": 4},
        **{"bytes": sum(output.bytes for output in week), "unread": [], "dry_run": True},
    }
    lake.store.delete(["archive/2026/week07/b.json"])
    land(lake, "quarantine/events/files/2026/week07/bad.json", event(9))
    plan = json.loads(asked("--group", "2026/week07", "--dry-run", "--json"))
    assert sorted((file["key"], file["location"], file["why"]) for file in plan["unread"]) == [
        ("raw/2026/week07/b.json", "archive/2026/week07/b.json", "gone"),
        ("raw/2026/week07/bad.json", "quarantine/events/files/2026/week07/bad.json", "overwritten"),
    ]
    told = asked("--partition", "day=2", "--dry-run")
    assert told.splitlines()[1].split()[:5] == ["3", "1", "1", str(len(week)), "4"]
    assert "raw/2026/week07/b.json: gone; it should lie at archive/2026/week07/b.json" in told
    assert "every raw file of them is there to be read" in asked("--manifest", "2026-week08.0001", "--dry-run")
    assert (list(lake.ledger.files("events")), lake.ledger.manifests("events")) == before


def test_files_that_a_killed_worker_moved_and_that_were_sent_back_since_are_found(lake: Lake) -> None:
    land(lake, "raw/2026/week08/d.json", event(5, day=9))
    with armed("archive.moved=ledger"):
        assert any("failpoint" in failure for failure in work(lake))
    (moved,) = lake.ledger.files("events", key="raw/2026/week08/d.json")
    assert (moved.status, moved.archived_key) == ("SUCCEEDED", None)
    before = everything(lake)

    asked("--key", moved.s3_key)
    assert work(lake) == []

    (done,) = lake.ledger.files("events", key=moved.s3_key)
    assert (done.status, done.archived_key) == ("SUCCEEDED", "archive/2026/week08/d.json")
    assert everything(lake) == before
