"""The store, on a directory and on S3: what a key holds, listings in key order, and steps that may be repeated."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake_pipeline.errors import ObjectChanged, ObjectMissing, StoreError
from lake_pipeline.store import Move, Store
from lake_pipeline.store.directory import Directory, put_back

ODD_KEYS = [
    "raw/a b.json",
    "raw/ leading and trailing .json",
    "raw/ü/日本/🚲.json",
    "raw/100%.json",
    "raw/a%20b.json",
    "raw/a%2Fb.json",
    "raw/part#1.json",
    "raw/1+1=2.json",
    'raw/it\'s "quoted".json',
    "raw/[x]{y}*?.json",
    "raw/a&b;c:d,e@f!.json",
    "raw/back\\slash.json",
    "raw/pipe|tilde~caret^.json",
    "raw/.hidden",
    "raw/no-suffix",
    "raw/year=2026/mode=night bus/x.json",
    "raw/decomposed-a\u0301.json",
]
# Keys that S3 takes and no path says: empty segments, dots, the mark of a folder, control characters.
NO_PATHS = ["raw//x", "raw/a//", "raw/../x", "raw/./x", "raw/..", "raw/folder/", "raw/tab\tx", "raw/bell\x07"]
# Names that a file system takes and an S3 key may have; `#` and digits at the end are obstore's own.
# obstore takes a letter with a bar or a colon at the end for a drive, and refuses to write such a file.
_DRIVE = re.compile(r".*[A-Za-z][|:]", re.DOTALL)
NAME = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="/"), min_size=1, max_size=8
).filter(lambda name: name not in (".", "..") and "#" not in name and not _DRIVE.fullmatch(name))
KEYS = st.lists(st.lists(NAME, min_size=1, max_size=3).map("/".join), min_size=1, max_size=12)


@pytest.fixture
def store(store_url: str) -> Store:
    return Store(store_url)


@pytest.fixture
def directory(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "not" / "there" / "yet"))


def keys(store: Store, prefix: str = "", after: str | None = None) -> list[str]:
    return [item.key for page in store.list(prefix, after=after) for item in page]


def check_every_operation(store: Store, key: str, scratch: Path) -> None:
    put = store.put(key, b"one")
    assert (put.key, put.size) == (key, 3)
    assert store.head(key) == put
    assert store.heads([key, "raw/none"]) == [put, None]
    assert keys(store, "raw/") == [key]
    assert store.get(key) == b"one"
    assert store.get_range(key, 1, 5, etag=put.etag) == b"ne"
    assert list(store.lines(key)) == [b"one"]
    with store.open(key) as file:
        assert file.read() == b"one"
    assert store.fetch(key, scratch, size=3, etag=put.etag).read_bytes() == b"one"
    store.publish(key, f"published/{key}")
    assert store.get(f"published/{key}") == b"one"
    assert store.move(key, f"archive/{key}").key == f"archive/{key}"
    assert not store.exists(key)
    assert store.get(f"archive/{key}") == b"one"
    (scratch / "local").write_bytes(b"two")
    store.upload(scratch / "local", key)
    assert store.get(key) == b"two"
    store.delete([f"archive/{key}", f"published/{key}", key])
    assert keys(store) == []


def test_odd_keys_are_kept_as_they_are_by_every_operation(store: Store, tmp_path: Path) -> None:
    for key in ODD_KEYS:
        check_every_operation(store, key, tmp_path)


def test_a_key_that_is_no_path_is_kept_as_it_is_by_every_operation_on_s3(s3_url: str, tmp_path: Path) -> None:
    for key in NO_PATHS:
        check_every_operation(Store(s3_url), key, tmp_path)


def test_keys_that_are_no_paths_do_not_end_a_listing_of_s3(s3_url: str) -> None:
    store = Store(s3_url)
    names = sorted([*ODD_KEYS, *NO_PATHS], key=str.encode)
    for key in names:
        store.put(key, key.encode())
    assert keys(store, "raw/") == names
    assert all(store.get(key) == key.encode() for key in names)
    store.delete_prefix("raw/")
    assert keys(store) == []


def test_an_odd_file_that_someone_copied_in_is_listed_under_its_own_name(directory: Store) -> None:
    assert directory.root is not None
    for key in ODD_KEYS:
        path = directory.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(key.encode())
    assert keys(directory, "raw/") == sorted(ODD_KEYS)
    assert all(directory.get(key) == key.encode() for key in keys(directory, "raw/"))


@pytest.mark.parametrize("key", ["raw/line\nbreak.json", "raw/part#1", "raw//x", "raw/../x"])
def test_a_key_that_a_directory_cannot_hold_is_refused_and_named(key: str, directory: Store) -> None:
    with pytest.raises(StoreError, match=r"^The object store refused or failed: raw/"):
        directory.put(key, b"x")
    assert keys(directory) == []


def test_a_listing_is_in_key_order_not_in_folder_order(store: Store) -> None:
    # `/` sorts between `-`, `.` and digits, so a folder comes between its sibling files.
    expected = ["a-b", "a.b", "a/b", "a/c/d", "a0", "b/a", "b/z", "b0", "é", "日", "🚲"]
    for key in reversed(expected):
        store.put(key, b"x")
    assert keys(store) == expected == sorted(expected, key=str.encode)


def test_a_prefix_is_a_folder_not_a_beginning(store: Store) -> None:
    for key in ("raw/a", "raw2/a", "raw.json", "other/raw/a"):
        store.put(key, b"x")
    assert keys(store, "raw/") == ["raw/a"]
    assert keys(store, "nothing/here/") == []


def test_pages_hold_a_thousand_at_most_and_after_resumes_anywhere(store: Store, tmp_path: Path) -> None:
    names = sorted(f"raw/{folder}/{n:04}.json" for folder in ("x", "y") for n in range(620))
    (tmp_path / "local").touch()
    store.upload_all([(tmp_path / "local", name) for name in names])
    pages = list(store.list("raw/"))
    assert [len(page) for page in pages] == [1000, 240]
    assert [item.key for page in pages for item in page] == names
    for position in (0, 1, 619, 620, 999, 1000, 1239):
        assert keys(store, "raw/", after=names[position]) == names[position + 1 :]


@settings(max_examples=60, deadline=None)
@given(wanted=KEYS, data=st.data())
def test_any_names_come_back_in_order_and_resume_after_any_of_them(
    wanted: list[str], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = Store(str(tmp_path_factory.mktemp("store")))
    kept: set[str] = set()
    for key in wanted:
        # A name cannot be a file and a folder on a file system.
        if not any(other.startswith(f"{key}/") or key.startswith(f"{other}/") for other in kept):
            store.put(key, b"x")
            kept.add(key)
    everything = keys(store)
    assert everything == sorted(kept, key=str.encode)
    after = data.draw(st.sampled_from(everything) | KEYS.map(lambda drawn: drawn[0]))
    assert keys(store, after=after) == [key for key in everything if key.encode() > after.encode()]


def test_a_listing_may_be_left_early(store: Store) -> None:
    for n in range(3):
        store.put(f"raw/{n}", b"x")
    listing = store.list("raw/")
    assert next(listing)[0].key == "raw/0"
    del listing


@pytest.mark.parametrize("operation", ["head", "get", "get_json", "fetch", "move", "publish"])
def test_a_missing_object_is_named(operation: str, store: Store, tmp_path: Path) -> None:
    store.put("raw/other", b"x")
    arguments = {"fetch": (tmp_path,), "move": ("raw/target",), "publish": ("raw/target",)}.get(operation, ())
    with pytest.raises(ObjectMissing, match=r"^The object is not in the store: raw/gone$"):
        getattr(store, operation)("raw/gone", *arguments)
    assert not store.exists("raw/gone")
    assert not store.exists("raw/target")


def test_a_folder_is_no_object(store: Store, tmp_path: Path) -> None:
    store.put("raw/folder/a", b"x")
    with pytest.raises(ObjectMissing):
        store.fetch("raw/folder", tmp_path)
    assert not store.exists("raw/folder")


def test_another_version_under_the_same_key_has_another_etag(store: Store) -> None:
    first = store.put("raw/a", b"one")
    second = store.put("raw/a", b"two")
    assert first.etag != second.etag
    assert store.head("raw/a").etag == second.etag
    assert '"' not in second.etag
    assert second.last_modified.tzinfo is not None


def test_publishing_twice_is_publishing_once_and_replaces_what_was_there(store: Store) -> None:
    store.put("final/a", b"old")
    store.put("_staging/a", b"new")
    for _ in range(2):
        store.publish("_staging/a", "final/a")
        assert store.get("final/a") == b"new"
        assert keys(store) == ["_staging/a", "final/a"]
    store.put("_staging/b", b"newer")
    store.publish("_staging/b", "final/a")
    assert store.get("final/a") == b"newer"
    assert store.get("_staging/a") == b"new"


def test_a_published_object_outlives_its_staged_name(store: Store) -> None:
    store.put("_staging/a", b"rows")
    store.publish("_staging/a", "final/deep/a")
    store.delete_prefix("_staging/")
    assert store.get("final/deep/a") == b"rows"


def test_moving_keeps_bytes_replaces_the_target_and_leaves_no_source(store: Store) -> None:
    store.put("archive/a", b"an earlier version")
    store.put("raw/a", b"bytes")
    moved = store.move("raw/a", "archive/a")
    assert (moved.key, moved.size) == ("archive/a", 5)
    assert keys(store) == ["archive/a"]
    with pytest.raises(ObjectMissing):
        store.move("raw/a", "archive/a")
    assert store.get("archive/a") == b"bytes"


def test_a_version_that_lands_before_the_rename_is_put_back(directory: Store) -> None:
    listed = directory.put("raw/a", b"listed")
    newer = directory.put("raw/a", b"newer!")
    assert directory.root is not None
    move = Move("raw/a", "archive/a", listed.size, listed.etag)

    with pytest.raises(ObjectChanged, match="raw/a is another version by now"):
        Directory(directory.root).take(move, directory.root / "raw/a", set())

    assert directory.head("raw/a") == newer
    assert keys(directory) == ["raw/a"]


def test_a_version_that_lands_before_the_rename_does_not_replace_what_lies_at_the_target(directory: Store) -> None:
    listed = directory.put("raw/a", b"listed")
    assert directory.root is not None
    move = Move("raw/a", "archive/a", listed.size, listed.etag)
    Directory(directory.root).take(move, directory.root / "raw/a", set())
    newer = directory.put("raw/a", b"newer!")

    with pytest.raises(ObjectChanged):  # a second process, which was slow
        Directory(directory.root).take(move, directory.root / "raw/a", set())

    assert directory.get("archive/a") == b"listed"
    assert directory.head("raw/a") == newer


def test_what_a_killed_process_held_is_back_where_it_landed_when_its_folder_is_listed(directory: Store) -> None:
    assert directory.root is not None
    for name in ("taken", "linked"):
        directory.put(f"raw/{name}", name.encode())
        held = directory.root / "raw" / f".lake-held.1.{name}"
        held.mkdir()
        if name == "taken":
            (directory.root / "raw" / name).rename(held / name)
        else:  # killed as it was putting it back
            os.link(directory.root / "raw" / name, held / name)

    assert keys(directory) == ["raw/linked", "raw/taken"]
    assert [path.name for path in sorted((directory.root / "raw").iterdir())] == ["linked", "taken"]
    assert directory.get("raw/taken") == b"taken"


def test_what_is_put_back_replaces_nothing_newer(directory: Store) -> None:
    directory.put("archive/a", b"taken")
    directory.put("raw/a", b"newest")
    assert directory.root is not None

    put_back(directory.root / "archive" / "a", directory.root / "raw" / "a")

    assert directory.get("raw/a") == b"newest"
    assert keys(directory) == ["raw/a"]


def test_no_version_is_archived_as_another_while_a_producer_renames_new_ones_over_it(directory: Store) -> None:
    count = 3000
    script = (
        "import sys; from pathlib import Path; root = Path(sys.argv[1])\n"
        f"for n in range({count}): (root / 'new' / str(n)).replace(root / 'raw' / 'a')"
    )
    for n in range(count):
        directory.put(f"new/{n}", b"%d" % n)
    directory.put("raw/a", b"first")
    archived: list[bytes] = []
    with subprocess.Popen([sys.executable, "-c", script, str(directory.root)]) as producer:
        while producer.poll() is None or directory.exists("raw/a"):
            with suppress(ObjectMissing):
                listed = directory.head("raw/a")
                (error,) = directory.move_all([Move("raw/a", "archive/a", listed.size, listed.etag)])
                if error is None:
                    assert directory.head("archive/a").etag == listed.etag
                    archived.append(directory.get("archive/a"))
    assert producer.returncode == 0
    assert archived[-1] == b"%d" % (count - 1)


def test_deleting_what_is_gone_is_no_error(store: Store) -> None:
    store.put("raw/a", b"x")
    store.put("raw/b", b"x")
    store.delete(["raw/a", "raw/never"])
    store.delete(["raw/a"])
    store.delete([])
    assert keys(store) == ["raw/b"]


def test_deleting_a_prefix_takes_all_of_it_and_nothing_else(store: Store) -> None:
    for key in ("_staging/m/1/a", "_staging/m/1/b/c", "_staging/m/10/a", "raw/a"):
        store.put(key, b"x")
    store.delete_prefix("_staging/m/1/")
    assert keys(store) == ["_staging/m/10/a", "raw/a"]
    store.delete_prefix("_staging/m/1/")


def test_the_root_survives_when_its_last_object_goes(store: Store) -> None:
    store.put("raw/deep/a", b"x")
    store.delete_prefix("")
    assert keys(store) == []
    store.put("raw/again", b"x")
    assert keys(store) == ["raw/again"]


def test_a_large_file_is_uploaded_whole_and_keeps_its_bytes(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "large"
    source.write_bytes(os.urandom(12 * 2**20))
    store.upload(source, "curated/large.parquet")
    assert store.get("curated/large.parquet") == source.read_bytes()
    assert keys(store) == ["curated/large.parquet"]


def test_json_documents_come_back_equal(store: Store) -> None:
    document = {"files": [{"key": "ü", "size": 2**60}], "none": None}
    store.put_json("manifests/a.json", document)
    assert store.get_json("manifests/a.json") == document


def test_a_reader_never_sees_half_an_object(store: Store) -> None:
    """A process writes two versions in turn; whoever reads gets all of one or all of the other."""
    store.put("raw/a", b"a" * 2**20)
    script = (
        "import sys; from lake_pipeline.store import Store; store = Store(sys.argv[1])\n"
        "for n in range(60): store.put('raw/a', (b'a', b'b')[n % 2] * 2**20)"
    )
    with subprocess.Popen([sys.executable, "-c", script, store.url]) as writer:
        while writer.poll() is None:
            assert set(store.get("raw/a")) in ({ord("a")}, {ord("b")})
    assert writer.returncode == 0


def test_a_uri_is_what_a_person_can_open(directory: Store) -> None:
    directory.put("raw/a", b"x")
    assert Path(directory.uri("raw/a")).read_bytes() == b"x"
