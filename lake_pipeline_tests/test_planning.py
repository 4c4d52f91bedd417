"""Planning: which groups are due, and manifests that keep their limits and lose no file."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lake_pipeline.dataset import Dataset
from lake_pipeline.errors import ManifestInvalid
from lake_pipeline.ledger.ledger import Ledger
from lake_pipeline.ledger.models import FileOutcome, GroupBacklog
from lake_pipeline.manifests import Manifest, ManifestFile, manifest_id, manifest_slug, read_manifest
from lake_pipeline.planning import current_manifest, due_groups, plan
from lake_pipeline.store import Store
from lake_pipeline_tests.ledger_samples import DATASET, convert, land, listed

NOW = datetime(2026, 2, 14, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def declared(name: str = DATASET, max_files: int = 3, max_bytes: int = 100) -> Dataset:
    return Dataset.model_validate(
        {
            "name": name,
            "source": {"prefix": "raw/"},
            "batch": {"max_files": max_files, "max_bytes": max_bytes, "max_wait": "15m", "max_retries": 1},
            "output": {"prefix": "curated/"},
        }
    )


def waiting(group: str, files: int, bytes_: int, minutes: int = 0) -> GroupBacklog:
    return GroupBacklog(group, files, bytes_, NOW - timedelta(minutes=minutes))


def test_a_group_is_due_when_it_fills_a_manifest_or_has_waited_long_enough() -> None:
    backlogs = [
        waiting("few", 2, 99, 14),
        waiting("many", 3, 1),
        waiting("big", 1, 100, 1),
        waiting("old", 1, 1, 15),
        waiting("none", 0, 0, 60),
    ]
    batch = declared().batch
    assert [group.landing_group for group in due_groups(backlogs, batch, NOW, flush=False)] == ["old", "big", "many"]
    flushed = due_groups(backlogs, batch, NOW, flush=True)
    assert [group.landing_group for group in flushed] == ["old", "few", "big", "many"]


def test_full_manifests_are_planned_and_the_rest_waits_until_it_is_due(ledger: Ledger, store: Store) -> None:
    land(ledger, *[f"raw/{n}" for n in range(8)])
    now = datetime.now(UTC)
    planned = plan(declared(), ledger, store, now=now, max_manifests=10)
    assert [len(manifest.files) for manifest in planned] == [3, 3]
    assert plan(declared(), ledger, store, now=now, max_manifests=10) == []
    late = now + timedelta(minutes=16)
    assert [len(manifest.files) for manifest in plan(declared(), ledger, store, now=late, max_manifests=10)] == [2]


def test_flush_plans_what_there_is(ledger: Ledger, store: Store) -> None:
    land(ledger, "raw/a", listed("raw/b", group="other"))
    planned = plan(declared(), ledger, store, now=NOW, flush=True, max_manifests=10)
    assert [manifest.manifest_id for manifest in planned] == ["2026-week07.0001", "other.0001"]


def test_no_more_manifests_than_asked_for(ledger: Ledger, store: Store) -> None:
    land(ledger, *[f"raw/{n}" for n in range(8)])
    assert len(plan(declared(), ledger, store, now=NOW, flush=True, max_manifests=2)) == 2
    assert plan(declared(), ledger, store, now=NOW, flush=True, max_manifests=0) == []
    assert len(plan(declared(), ledger, store, now=NOW, flush=True, max_manifests=2)) == 1


def test_every_planned_manifest_has_its_document(ledger: Ledger, store: Store) -> None:
    land(ledger, listed("raw/ключ\n1", size=7))
    (manifest,) = plan(declared(), ledger, store, now=NOW, flush=True, max_manifests=10)
    assert read_manifest(store, declared(), manifest.manifest_id) == manifest
    document = store.get_json(f"manifests/events/{manifest.manifest_id}.json")
    assert document["bytes"] == 7
    assert document["files"][0]["key"] == "raw/ключ\n1"


def test_a_manifests_document_may_have_a_declared_name_and_another_datasets_is_refused(
    ledger: Ledger, store: Store
) -> None:
    land(ledger, "raw/a")
    named = {"manifests": "{group}/batch-{sequence}.json"}
    here = declared().model_copy(update={"batch": declared().batch.model_copy(update=named)})
    (manifest,) = plan(here, ledger, store, now=NOW, flush=True, max_manifests=10)
    assert store.get_json("manifests/2026-week07/batch-0001.json")["manifest_id"] == manifest.manifest_id
    assert read_manifest(store, here, manifest.manifest_id) == manifest
    other = here.model_copy(update={"name": "other"})
    with pytest.raises(ManifestInvalid, match=r"is of events 2026-week07\.0001, not other 2026-week07\.0001"):
        read_manifest(store, other, manifest.manifest_id)


def test_failed_files_are_planned_again(ledger: Ledger, store: Store) -> None:
    land(ledger, "a")
    no_wait = timedelta(0)
    for _ in range(2):
        (manifest,) = plan(declared(), ledger, store, now=NOW, flush=True, max_manifests=10, backoff=no_wait)
        convert(ledger, manifest.manifest_id, a=FileOutcome(0, "FAILED"))
        assert plan(declared(), ledger, store, now=NOW, flush=True, max_manifests=10) == []
    assert plan(declared(), ledger, store, now=NOW, flush=True, max_manifests=10, backoff=no_wait) == []


def test_planning_ends_where_files_wait_for_their_older_versions(ledger: Ledger, store: Store) -> None:
    land(ledger, "raw/a")
    plan(declared(), ledger, store, now=NOW, flush=True, max_manifests=10)
    land(ledger, listed("raw/a", "v2"))
    assert plan(declared(), ledger, store, now=NOW, flush=True, max_manifests=10) == []


def test_a_manifests_document_is_written_anew_for_an_attempt(ledger: Ledger, store: Store) -> None:
    land(ledger, "raw/a", "raw/b")
    (manifest,) = plan(declared(), ledger, store, now=NOW, flush=True, max_manifests=10)
    convert(ledger, manifest.manifest_id)
    ledger.record_archived(DATASET, [(manifest.files[0].id, "done/a")])
    land(ledger, listed("raw/b", "v2"))
    current = current_manifest(ledger, store, declared(), manifest.manifest_id)
    assert [(file.location, file.etag) for file in current.files] == [("done/a", "v1"), ("raw/b", "v2")]
    assert read_manifest(store, declared(), manifest.manifest_id) == current


files = st.tuples(st.sampled_from(["2026/week07", "2026-week07", "historical"]), st.integers(0, 12))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(landed=st.lists(files, max_size=25), max_files=st.integers(1, 5), max_bytes=st.integers(1, 20), data=st.data())
def test_no_file_is_lost_and_limits_are_kept(
    ledger: Ledger, store: Store, landed: list[tuple[str, int]], max_files: int, max_bytes: int, data: st.DataObject
) -> None:
    name = f"d{len(ledger.status())}"
    objects = [listed(f"raw/{n}", group=group, size=size) for n, (group, size) in enumerate(landed)]
    ledger.register(name, objects)
    dataset = declared(name, max_files, max_bytes)
    planned: list[Manifest] = []
    for flush in (False, True):
        limit = data.draw(st.integers(1, 4))
        while more := plan(dataset, ledger, store, now=NOW, flush=flush, max_manifests=limit):
            assert len(more) <= limit
            planned += more
    assert sorted(file.key for manifest in planned for file in manifest.files) == sorted(item.key for item in objects)
    assert len({manifest.manifest_id for manifest in planned}) == len(planned)
    group_of = {item.key: item.landing_group for item in objects}
    for manifest in planned:
        assert {group_of[file.key] for file in manifest.files} == {manifest.landing_group}
        assert len(manifest.files) <= max_files
        assert manifest.bytes <= max_bytes or len(manifest.files) == 1


@given(st.text(), st.integers(1, 10**6))
def test_a_manifest_id_is_good_as_a_partition_key_and_as_a_file_name(group: str, sequence: int) -> None:
    name = manifest_id(manifest_slug(group), sequence)
    assert re.fullmatch(r"[A-Za-z0-9_=-][A-Za-z0-9_.=-]*", name)
    assert ".." not in name
    assert len(name) <= 140


def test_a_manifest_id_reads_like_its_group() -> None:
    names = {group: manifest_id(manifest_slug(group), 1) for group in ("2026/week07", "dt=2026-02-01", "..", "a...b/ö")}
    assert names == {
        "2026/week07": "2026-week07.0001",
        "dt=2026-02-01": "dt=2026-02-01.0001",
        "..": "_.0001",
        "a...b/ö": "a.b-_.0001",
    }


@given(st.lists(st.builds(ManifestFile, st.integers(), st.text(), st.text(), st.integers(0), st.text()), max_size=3))
def test_a_manifest_comes_back_from_its_document(found: list[ManifestFile]) -> None:
    manifest = Manifest("events", "2026-week07.0001", "2026/week07", tuple(found))
    assert Manifest.from_json(manifest.to_json()) == manifest
