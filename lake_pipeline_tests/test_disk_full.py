"""A disk that is full: the attempt says which, leaves nothing, and once there is room its rows are there once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lake_pipeline.disks import naming_full_disks
from lake_pipeline.errors import DiskFull, StoreError
from lake_pipeline.kernel.means import Means
from lake_pipeline.lake import Lake
from lake_pipeline.store import Store
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, run, states, stored

RECORDS = 4000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a file system of a size of its own takes root and the right to mount")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path, leave: int) -> Path:
    """A file that leaves so many bytes of the disk free."""
    ballast = disk / "ballast"
    free = os.statvfs(disk)
    ballast.write_bytes(bytes(free.f_bavail * free.f_frsize - leave))
    return ballast


def land_noise(lake: Lake) -> None:
    """A file of about 700 KB that hardly compresses."""
    noise = random.Random(1)
    land(lake, "raw/2026/week07/a.json", *(event(number, note=noise.randbytes(60).hex()) for number in range(RECORDS)))


def check_failed(lake: Lake, place: str) -> None:
    (manifest,) = lake.ledger.manifests("events")
    assert manifest.state == "FAILED"
    assert manifest.error_message is not None
    assert "A disk of this machine is full: " in manifest.error_message
    assert place in manifest.error_message
    assert " bytes are free in " in manifest.error_message
    assert [key for key in stored(lake, "_staging/") if not key.endswith("results.json")] == []


def check_whole(lake: Lake) -> None:
    assert rows(lake, "select count(*), count(distinct id) from events") == [(RECORDS, RECORDS)]
    assert set(states(lake).values()) == {"SUCCEEDED"}
    assert stored(lake, "_staging/") == []


def test_an_attempt_without_room_in_a_directory_store_says_so_and_the_next_one_with_room_succeeds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, small_disk: Path
) -> None:
    declaration = {**EVENTS, "batch": {"max_retries": 1}}
    with lake_of(monkeypatch, tmp_path, database_url, declaration, store=str(small_disk)) as lake:
        land_noise(lake)
        ballast = fill(small_disk, leave=100_000)
        run(lake)
        check_failed(lake, f"{small_disk} (LAKE_STORE)")

        ballast.unlink()
        lake.ledger.requeue("events", status="FAILED")
        run(lake)
        check_whole(lake)


@pytest.mark.slow
def test_an_attempt_without_room_for_copies_of_raw_files_says_so_and_the_next_one_with_room_succeeds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, s3_url: str, small_disk: Path
) -> None:
    declaration = {**EVENTS, "batch": {"max_retries": 1}}
    with lake_of(monkeypatch, tmp_path, database_url, declaration, store=s3_url) as lake:
        land_noise(lake)
        fill(small_disk, leave=100_000)
        with monkeypatch.context() as patch:
            patch.setenv("TMPDIR", str(small_disk))
            patch.setattr(tempfile, "tempdir", None)  # it is remembered from before
            run(lake)
        check_failed(lake, " (TMPDIR)")
        assert [path.name for path in small_disk.iterdir()] == ["ballast"]

        monkeypatch.setattr(tempfile, "tempdir", None)
        lake.ledger.requeue("events", status="FAILED")
        run(lake)
        check_whole(lake)


def test_what_duckdb_cannot_spill_is_a_full_disk(small_disk: Path) -> None:
    said = rf"bytes are free in {small_disk} \(TMPDIR\). Make room"
    with Means(small_disk, 2, "64MiB").connect() as connection:
        with pytest.raises(DiskFull, match=said), naming_full_disks({"TMPDIR": small_disk}):
            connection.execute("CREATE TABLE t AS SELECT range, md5(range::text) FROM range(4_000_000)")


def test_an_error_of_another_kind_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), naming_full_disks({"TMPDIR": tmp_path}):
        raise ZeroDivisionError


def test_a_directory_without_room_refuses_by_name_and_keeps_what_it_has(small_disk: Path) -> None:
    store = Store(str(small_disk))
    store.put("raw/a", b"old")
    fill(small_disk, leave=4096)

    with pytest.raises(StoreError, match=r"raw/a: .*No space left on device"):
        store.put("raw/a", bytes(100_000))

    assert store.get("raw/a") == b"old"
    assert [item.key for page in store.list("raw/") for item in page] == ["raw/a"]


REFUSED = """
import os, sys
from lake_pipeline.errors import StoreError
from lake_pipeline.store import Store
store = Store(sys.argv[1])
if os.getuid() == 0:  # who may do everything
    os.setgid(65534)
    os.setuid(65534)
for act in (
    lambda: store.get("raw/a"),
    lambda: store.put("raw/a", b"x"),
    lambda: store.move("raw/a", "archive/a"),
    lambda: store.publish("raw/a", "raw/c"),
    lambda: store.delete(["raw/a"]),
    lambda: store.delete_prefix("raw"),
    lambda: list(store.list("closed")),
):
    try:
        act()
    except StoreError as error:
        print(" ".join(str(error).split()))
    else:
        print("done")
"""


def test_what_a_directory_may_not_do_is_refused_by_name(short_dir: Path) -> None:
    root = short_dir / "store"
    store = Store(str(root))
    store.put("raw/a", b"1")
    (root / "archive").mkdir()
    (root / "closed").mkdir()
    for path, mode in (("raw/a", 0o600), ("raw", 0o555), ("closed", 0o700), ("archive", 0o755), ("", 0o755)):
        (root / path).chmod(mode)
    short_dir.chmod(0o755)

    done = subprocess.run([sys.executable, "-c", REFUSED, str(root)], capture_output=True, text=True, check=True)

    said = done.stdout.splitlines()
    assert len(said) == 7
    for line, key in zip(said, ["raw/a"] * 5 + ["raw/", "closed"], strict=True):
        assert key in line, line
        assert "denied" in line or "not permitted" in line, line
    assert store.get("raw/a") == b"1"
