"""Keys, names and values are data: whatever they hold, they go from landing to query, and nothing else is touched."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lake_pipeline.archiving import archive
from lake_pipeline.attempts import run_attempt
from lake_pipeline.discovery.listing import discover
from lake_pipeline.engines.run import run_task
from lake_pipeline.engines.task import Task
from lake_pipeline.errors import ObjectMissing, StoreError
from lake_pipeline.lake import Lake
from lake_pipeline.planning import plan
from lake_pipeline.store import Store
from lake_pipeline_tests.conftest import fresh_database
from lake_pipeline_tests.lakes import lake_of, rows, states, stored

DECLARED: dict[str, Any] = {
    "name": "events",
    "source": {"prefix": "raw/", "format": "ndjson", "group": "{year}/{week}/"},
    "output": {"prefix": "curated/", "partition_by": ["mode"]},
    "archive": {"action": "move", "prefix": "archive/"},
}
NASTY = [
    "'; DROP TABLE lake.outputs; --",
    '") OR 1=1 --',
    "%s%(x)s%n",
    "{0}{x.__class__}{dataset}",
    "$(touch pwned)`id`${HOME}",
    "a|b",
    "..%2F..%2Fetc",
    "%2e%2e",
    "...",
    "-rf",
    "~",
    "name~0-0-0",
    "back\\..\\slash",
    "_staging",
    "quarantine",
    "manifests",
    "café",
    "cafe\u0301",
    "CAFÉ",
    "\u202egnp.exe",
    "[*]?{a,b}",
    "mode=x",
    "__proto__",
    "x" * 200,
]
# What S3 takes and no path says; a NUL is nothing that Postgres can hold.
NO_PATHS = ["../../etc/passwd", "..", "./x", "/absolute", "x//y", "tab\t", "\x1b[31m", "x/"]
LONG = "k" * (1024 - len("raw/"))


# A letter and a bar are a drive for obstore; `#` and digits at the end are its own.
NAME = (
    st.text(
        st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="/"), min_size=1, max_size=8
    )
    | st.sampled_from([name for name in NASTY if len(name) < 50])
).filter(lambda name: name not in (".", "..") and "#" not in name and not re.fullmatch(r"[A-Za-z]\|", name))


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[Lake]:
    with lake_of(monkeypatch, tmp_path, database_url, DECLARED) as opened:
        yield opened


@pytest.fixture
def s3_lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, s3_url: str) -> Iterator[Lake]:
    with lake_of(monkeypatch, tmp_path, database_url, DECLARED, store=s3_url) as opened:
        yield opened


def work(lake: Lake) -> None:
    """Discover, plan and run everything, as `lake run` does."""
    dataset = lake.datasets["events"]
    discover(dataset, lake.store, lake.ledger)
    plan(dataset, lake.ledger, lake.store, now=datetime.now(UTC), flush=True, max_manifests=100)
    for manifest in lake.ledger.due_manifests(dataset.name, 100, dataset.batch.max_retries):
        run_attempt(lake, dataset, manifest.manifest_id, convert)


def convert(task: Task) -> None:
    run_task(task, lambda _: None)


def land_numbered(lake: Lake, keys: list[str]) -> dict[str, int]:
    for number, key in enumerate(keys):
        lake.store.put(key, json.dumps({"id": number, "mode": f"m{number % 3}"}).encode())
    return {key: number for number, key in enumerate(keys)}


def sources(lake: Lake) -> dict[str, int]:
    """The number that was landed in each row's source."""
    return dict(rows(lake, "SELECT _source_file, id FROM events"))


def archived(lake: Lake) -> dict[str, str | None]:
    return {file.s3_key: file.archived_key for file in lake.ledger.files("events")}


@pytest.mark.parametrize("kind", ["directory", "s3"])
def test_keys_of_any_text_go_from_landing_to_query(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, request: pytest.FixtureRequest
) -> None:
    url = str(request.getfixturevalue("s3_url")) if kind == "s3" else ""
    home = tmp_path / "home"
    home.mkdir()
    with lake_of(monkeypatch, home, database_url, DECLARED, store=url) as lake:
        names = [*NASTY, *(f"2026/07/{name}" for name in NASTY), *(f"{name}.d/07/x.json" for name in NASTY)]
        if kind == "s3":
            names += [*NO_PATHS, *(f"2026/{name}" for name in NO_PATHS), *(f"{name}/07/x" for name in NO_PATHS), LONG]
        landed = land_numbered(lake, [f"raw/{name}" for name in names])
        work(lake)
        assert set(states(lake).values()) == {"SUCCEEDED"}
        assert sources(lake) == landed
        assert stored(lake, "raw/") == []
        assert sorted(archived(lake).items()) == sorted((key, key.replace("raw/", "archive/", 1)) for key in landed)
        assert sorted(stored(lake, "archive/")) == sorted(key.replace("raw/", "archive/", 1) for key in landed)
        # Where they are set aside is made of their keys too.
        bad = [f"{key}.bad" for key in landed if len(key) < 1000]
        for key in bad:
            lake.store.put(key, b"no JSON")
        work(lake)
        assert {key for key, state in states(lake).items() if state == "QUARANTINED"} == set(bad)
        assert len(stored(lake, "quarantine/events/files/")) == len(bad)
    assert {path.name for path in tmp_path.iterdir()} == {"home"}


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_key_that_a_directory_can_hold_comes_out_with_its_rows(
    data: st.DataObject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, postgres_url: str, template_database: str
) -> None:
    keys = data.draw(st.lists(st.lists(NAME, min_size=1, max_size=4).map("/".join), min_size=1, max_size=20))
    home = Path(tempfile.mkdtemp(dir=tmp_path))
    for database_url in fresh_database(postgres_url, template_database):
        with lake_of(monkeypatch, home, database_url, DECLARED) as lake:
            landed = {}
            for number, key in enumerate(dict.fromkeys(f"raw/{key}" for key in keys)):
                with suppress(StoreError):  # a file where another key needs a folder
                    lake.store.put(key, json.dumps({"id": number}).encode())
                    landed[key] = number
            work(lake)
            assert sources(lake) == landed
            assert set(states(lake).values()) == {"SUCCEEDED"}
            assert len(stored(lake, "archive/")) == len(landed)
    assert [path.name for path in tmp_path.iterdir() if not path.is_dir()] == []


def test_names_that_differ_in_case_or_normalisation_are_files_and_columns_of_their_own(lake: Lake) -> None:
    spelled = ["caf\u00e9", "cafe\u0301", "CAF\u00c9", "\u212bngstr\u00f6m", "\u00c5ngstr\u00f6m"]
    for number, name in enumerate(spelled):
        lake.store.put(f"raw/{name}.json", json.dumps({"id": number, name: number, "mode": name}).encode())
    work(lake)
    assert sources(lake) == {f"raw/{name}.json": number for number, name in enumerate(spelled)}
    columns = [column.name for column in lake.schema("events").columns]
    assert len({column.lower() for column in columns}) == len(columns) == len(spelled) + 2
    assert rows(lake, "SELECT mode, id FROM events ORDER BY id") == [(name, i) for i, name in enumerate(spelled)]


def test_json_names_and_partition_values_are_data(lake: Lake, tmp_path: Path) -> None:
    names = [
        *NASTY,
        *NO_PATHS,
        "line\nbreak",
        "",
        " ",
        "n" * 65_536,
        "constructor",
        "_source_file",
        "_rescued",
        "a.b",
        "a b",
        "a-b",
    ]
    values = [name for name in [*NASTY, *NO_PATHS, "line\nbreak", "a=b", "a%2Fb", "../../x", "/etc"] if len(name) < 190]
    record = {name: f"v{number}" for number, name in enumerate(dict.fromkeys(names))}
    lines = [{"id": 0} | record, *({"id": number, "mode": value} for number, value in enumerate(values, 1))]
    lake.store.put("raw/a.json", "\n".join(map(json.dumps, lines)).encode())
    work(lake)
    assert states(lake) == {"raw/a.json": "SUCCEEDED"}
    (file,) = lake.ledger.files("events")
    assert (file.rows_read, file.rows_written, file.rows_rescued) == (len(lines), len(lines), 0)
    by_path = {column.path: column.name for column in lake.schema("events").columns}
    for name, value in record.items():
        quoted = by_path[(name,)].replace('"', '""')
        assert rows(lake, f'SELECT "{quoted}" FROM events WHERE id = 0') == [(value,)], name
    assert rows(lake, "SELECT id, mode FROM events WHERE id > 0 ORDER BY id") == list(enumerate(values, 1))
    assert all(key.count("/") == 2 for key in stored(lake, "curated/"))
    assert {path.name for path in tmp_path.iterdir()} >= {"store", "datasets"}
    assert not (tmp_path / "pwned").exists()


def test_a_file_that_is_spelled_like_an_older_version_of_another_replaces_nothing(s3_lake: Lake) -> None:
    """An ETag in S3 is the MD5 of the bytes, so that who lands a file knows where its second version will go."""
    lake, second = s3_lake, b'{"id":2}'
    etag = hashlib.md5(second).hexdigest()
    for key, data in {"raw/a.json": b'{"id":1}', f"raw/a.json~{etag}": b'{"id":3}'}.items():
        lake.store.put(key, data)
    work(lake)
    lake.store.put("raw/a.json", second)
    work(lake)
    assert sorted(rows(lake, "SELECT id FROM events")) == [(2,), (3,)]
    held = {key: lake.store.get(key) for key in stored(lake, "archive/")}
    assert sorted(held.values()) == [b'{"id":1}', b'{"id":2}', b'{"id":3}']
    locations = {file.etag: file.archived_key for file in lake.ledger.files("events")}
    assert held[str(locations[etag])] == second
    # The same, in one batch.
    third = b'{"id":4}'
    again = hashlib.md5(third).hexdigest()
    lake.store.put("raw/a.json", third)
    lake.store.put(f"raw/a.json~{again}", b'{"id":5}')
    work(lake)
    assert sorted(lake.store.get(key) for key in stored(lake, "archive/")) == sorted(
        [*held.values(), third, b'{"id":5}']
    )


# ---- symbolic links


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder outside of the store, which is to stay as it is."""
    folder = tmp_path / "outside"
    (folder / "inner").mkdir(parents=True)
    for name in ("secret.json", "inner/secret.json"):
        (folder / name).write_text('{"id":666}')
    yield folder
    found = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert found == {"secret.json": '{"id":666}', "inner/secret.json": '{"id":666}'}


def test_links_out_of_the_store_are_neither_listed_nor_read_nor_moved(lake: Lake, outside: Path) -> None:
    raw = Path(lake.settings.store_url) / "raw"
    raw.mkdir()
    (raw / "file.json").symlink_to(outside / "secret.json")
    (raw / "folder").symlink_to(outside)
    (raw / "dangling.json").symlink_to(outside / "none.json")
    (raw / "loop").symlink_to(raw)
    lake.store.put("raw/good.json", b'{"id":1}')
    os.link(raw / "good.json", raw / "hard.json")
    work(lake)
    assert states(lake) == {"raw/good.json": "SUCCEEDED", "raw/hard.json": "SUCCEEDED"}
    assert sources(lake) == {"raw/good.json": 1, "raw/hard.json": 1}
    assert sorted(path.name for path in raw.iterdir()) == ["dangling.json", "file.json", "folder", "loop"]


def test_no_operation_follows_a_link(lake: Lake, outside: Path, tmp_path: Path) -> None:
    store = lake.store
    root = Path(lake.settings.store_url)
    store.put("a.json", b"x")
    (root / "folder").symlink_to(outside)
    (root / "link.json").symlink_to(outside / "secret.json")
    for key in ("folder/secret.json", "link.json"):
        assert not store.exists(key)
        for read in (store.get, store.open, lambda key: store.fetch(key, tmp_path), lambda key: list(store.lines(key))):
            with pytest.raises(ObjectMissing, match="symbolic link"):
                read(key)
        with pytest.raises(ObjectMissing, match="symbolic link"):
            store.move(key, "moved.json")
        for write in (
            lambda key: store.put(key, b"y"),
            lambda key: store.move("a.json", key),
            lambda key: store.publish("a.json", key),
            lambda key: store.upload(root / "a.json", key),
        ):
            with pytest.raises(StoreError, match="symbolic link"):
                write(key)
        store.delete([key])
    with pytest.raises(StoreError, match="symbolic link"):
        store.delete_prefix("folder/inner/")
    with pytest.raises(StoreError, match="symbolic link"):
        list(store.list("folder/"))
    assert store.get("a.json") == b"x"


@pytest.mark.parametrize("folder", ["_staging", "curated", "archive"])
def test_a_run_writes_nothing_through_a_link(lake: Lake, outside: Path, folder: str) -> None:
    lake.store.put("raw/good.json", b'{"id":1}')
    (Path(lake.settings.store_url) / folder).symlink_to(outside)
    with pytest.raises(StoreError, match="symbolic link"):
        work(lake)


def test_a_file_replaced_by_a_link_after_it_was_listed_is_not_read(lake: Lake, outside: Path) -> None:
    for name in ("good", "bad"):
        lake.store.put(f"raw/{name}.json", b'{"id":1}')
    dataset = lake.datasets["events"]
    discover(dataset, lake.store, lake.ledger)
    (manifest,) = plan(dataset, lake.ledger, lake.store, now=datetime.now(UTC), flush=True, max_manifests=1)
    bad = Path(lake.settings.store_url) / "raw/bad.json"
    bad.unlink()
    bad.symlink_to(outside / "secret.json")
    run_attempt(lake, dataset, manifest.manifest_id, convert)
    assert states(lake) == {"raw/good.json": "SUCCEEDED", "raw/bad.json": "FAILED"}
    assert sources(lake) == {"raw/good.json": 1}
    # After the commit, and before the archive.
    lake.store.put("raw/late.json", b'{"id":1}')
    discover(dataset, lake.store, lake.ledger)
    late = Path(lake.settings.store_url) / "raw/late.json"
    late.unlink()
    late.symlink_to(outside / "secret.json")
    archive(dataset, lake.store, lake.ledger)
    assert late.is_symlink()


def test_names_that_no_key_can_have_do_not_end_a_listing(lake: Lake) -> None:
    raw = Path(lake.settings.store_url) / "raw"
    raw.mkdir()
    for name in (b"line\nbreak.json", b"\xff\xfe.json", b"tab\t.json"):
        Path(os.fsdecode(os.fsencode(raw) + b"/" + name)).write_text('{"id":9}')
    lake.store.put("raw/good.json", b'{"id":1}')
    work(lake)
    assert sources(lake) == {"raw/good.json": 1}
    (listed,) = [item for page in Store(lake.settings.store_url).list("archive/") for item in page]
    assert listed == lake.store.head("archive/good.json")
