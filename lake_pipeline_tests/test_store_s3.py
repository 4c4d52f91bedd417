"""The store against an S3 that is busy, cut off, changed meanwhile, or asked to encrypt."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lake_pipeline.aws import client
from lake_pipeline.encryption import Encryption
from lake_pipeline.errors import ObjectChanged, ObjectMissing, StoreError
from lake_pipeline.store import Copy, Move, Store
from lake_pipeline_tests.faults import Fault, FaultyProxy, Kind, faulty_proxy

MIB = 2**20


@pytest.fixture
def proxy(aws_url: str, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:  # noqa: ARG001
    """The way to S3; faults are added by the test."""
    with faulty_proxy(aws_url) as opened:
        monkeypatch.setenv("AWS_ENDPOINT_URL", opened.url)
        yield opened


@pytest.fixture
def store(proxy: FaultyProxy, s3_url: str) -> Store:  # noqa: ARG001
    return Store(s3_url)


def attributes(url: str, key: str) -> dict[str, Any]:
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    found: dict[str, Any] = client("s3").head_object(Bucket=bucket, Key=f"{prefix}/{key}")
    return found


@pytest.mark.parametrize("kind", ["slow down", "internal error", "drop", "drop the answer"])
def test_a_busy_or_broken_s3_is_asked_again_whatever_was_asked(
    kind: Kind, store: Store, proxy: FaultyProxy, tmp_path: Path
) -> None:
    store.put("raw/first", b"1")
    proxy.faults += [
        *(Fault(kind, method, "/raw/a", times=2) for method in ("PUT", "HEAD", "GET")),
        *(Fault(kind, method) for method in ("COPY", "LIST", "DELETE MANY")),
    ]

    store.put("raw/a", b"bytes")

    assert store.get("raw/a") == b"bytes"
    assert store.fetch("raw/a", tmp_path).read_bytes() == b"bytes"
    store.publish("raw/a", "final/a")
    assert [item.key for page in store.list("") for item in page] == ["final/a", "raw/a", "raw/first"]
    store.delete(["raw/a", "raw/first"])
    assert store.heads(["raw/a", "final/a"])[0] is None


def test_an_answer_that_is_cut_off_is_read_on_from_there(store: Store, proxy: FaultyProxy, tmp_path: Path) -> None:
    data = os.urandom(3 * MIB)
    etag = store.put("raw/a", data).etag
    proxy.faults.append(Fault("cut the answer", "GET", times=3))

    assert store.fetch("raw/a", tmp_path, size=len(data), etag=etag).read_bytes() == data
    assert store.get_range("raw/a", 5, 2 * MIB, etag=etag) == data[5 : 5 + 2 * MIB]
    assert b"\n".join(store.lines("raw/a")) == data.removesuffix(b"\n")


def test_a_large_upload_survives_lost_parts(store: Store, proxy: FaultyProxy, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(os.urandom(40 * MIB))
    proxy.faults += [Fault("slow down", "PUT", "partNumber"), Fault("drop", "PUT", "partNumber=2")]

    store.upload_all([(tmp_path / "large", "curated/large"), (Path(__file__), "curated/small")])

    assert store.get("curated/large") == (tmp_path / "large").read_bytes()
    assert store.get("curated/small") == Path(__file__).read_bytes()


def test_a_version_that_was_replaced_is_not_read(store: Store, tmp_path: Path) -> None:
    old = store.put("raw/a", b"old").etag
    store.put("raw/a", b"new!")
    with pytest.raises(ObjectChanged, match="raw/a"):
        store.fetch("raw/a", tmp_path, size=3, etag=old)
    with pytest.raises(ObjectChanged, match="raw/a has 4 bytes by now, not 3"):
        store.fetch("raw/a", tmp_path, size=3)
    with pytest.raises(ObjectChanged, match="raw/a"):
        store.get_range("raw/a", 0, 2, etag=old)
    assert list(tmp_path.glob("*")) == []


def test_a_look_and_a_move_are_two_requests_a_file_and_a_delete_for_a_thousand(
    store: Store, proxy: FaultyProxy
) -> None:
    moves = []
    for number in range(30):
        put = store.put(f"raw/{number}", b"x" * number)
        moves.append(Move(put.key, f"archive/{number}", put.size, put.etag))
    proxy.calls.clear()

    assert store.heads([move.target for move in moves]) == [None] * 30
    assert store.move_all(moves) == [None] * 30

    assert proxy.calls == {"HEAD": 30, "COPY": 30, "DELETE MANY": 1}
    assert [store.get(f"archive/{number}") for number in range(30)] == [b"x" * number for number in range(30)]
    assert list(store.list("raw/")) == []


def test_publishing_is_one_request_a_file(store: Store, proxy: FaultyProxy) -> None:
    sizes = {f"_staging/{number}": store.put(f"_staging/{number}", b"rows").size for number in range(10)}
    proxy.calls.clear()
    store.publish_all([Copy(key, key.replace("_staging", "curated"), size) for key, size in sizes.items()])
    assert proxy.calls == {"COPY": 10}


def test_a_version_that_lands_between_copy_and_delete_stays(store: Store, proxy: FaultyProxy) -> None:
    old, other = store.put("raw/a", b"old"), store.put("raw/b", b"b")
    moves = [Move(item.key, item.key.replace("raw", "archive"), item.size, item.etag) for item in (old, other)]
    with proxy.before("DELETE MANY", lambda: store.put("raw/a", b"newer")):
        assert store.move_all(moves) == [None, None]
    assert store.get("archive/a") == b"old"
    assert store.get("raw/a") == b"newer"
    assert not store.exists("raw/b")


def test_a_version_that_was_replaced_before_the_copy_is_not_copied_over_what_is_there(store: Store) -> None:
    store.put("archive/a", b"listed")
    listed = store.put("raw/a", b"listed")
    store.put("raw/a", b"newer!")

    (error,) = store.move_all([Move("raw/a", "archive/a", listed.size, listed.etag)])

    assert isinstance(error, ObjectChanged)
    assert store.get("raw/a") == b"newer!"
    assert store.get("archive/a") == b"listed"


def test_a_copy_that_differs_keeps_its_source_and_does_not_stop_its_neighbours(
    store: Store, proxy: FaultyProxy
) -> None:
    puts = [store.put(f"raw/{name}", name.encode()) for name in "abc"]
    proxy.faults += [Fault("wrong etag", "COPY", "/archive/b"), Fault("wrong etag", "HEAD", "/archive/b")]

    errors = store.move_all([Move(put.key, f"archive/{put.key[-1]}", put.size, put.etag) for put in puts])

    assert [type(error) for error in errors] == [type(None), StoreError, type(None)]
    assert "the copy of raw/b at archive/b differs from it; the source was kept" in str(errors[1])
    assert [item.key for page in store.list("raw/") for item in page] == ["raw/b"]


def test_a_file_that_is_gone_does_not_stop_its_neighbours(store: Store) -> None:
    store.put("raw/a", b"a")
    errors = store.move_all([Move("raw/gone", "archive/gone", 1, "00"), Move("raw/a", "archive/a")])
    assert [type(error) for error in errors] == [ObjectMissing, type(None)]


def test_what_is_too_large_for_one_request_is_copied_in_parts_and_moved_whole(s3_url: str, proxy: FaultyProxy) -> None:
    data = os.urandom(12 * MIB)
    store = Store(s3_url, largest_copy=5 * MIB)
    put = store.put("raw/large", data)

    store.publish_all([Copy("raw/large", "curated/large", put.size)])
    (error,) = store.move_all([Move("raw/large", "archive/large", put.size, put.etag)])

    assert error is None
    assert store.get("curated/large") == store.get("archive/large") == data
    assert not store.exists("raw/large")
    assert attributes(s3_url, "archive/large")["ETag"].endswith('-3"')
    assert store.is_copy("archive/large", put.size, put.etag)
    assert proxy.calls["COPY"] == 6


def test_a_move_of_what_was_uploaded_in_parts_is_verified_by_its_size(store: Store, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(os.urandom(40 * MIB))
    store.upload(tmp_path / "large", "raw/large")
    listed = store.head("raw/large")
    assert "-" in listed.etag
    assert store.move_all([Move("raw/large", "archive/large", listed.size, listed.etag)]) == [None]
    assert store.get("archive/large") == (tmp_path / "large").read_bytes()


@pytest.mark.parametrize(
    "encryption", [Encryption("AES256"), Encryption("aws:kms", "alias/lake"), Encryption("aws:kms:dsse")]
)
def test_everything_that_is_written_is_encrypted_as_set(encryption: Encryption, s3_url: str, tmp_path: Path) -> None:
    store = Store(s3_url, encryption, largest_copy=5 * MIB)
    (tmp_path / "large").write_bytes(bytes(20 * MIB))
    store.put("put", b"x")
    store.put("no//path", b"x")
    store.upload(tmp_path / "large", "uploaded")
    store.publish("put", "copied")
    store.publish("uploaded", "copied in parts")
    store.move("put", "moved")
    for key in ("no//path", "uploaded", "copied", "copied in parts", "moved"):
        found = attributes(s3_url, key)
        assert found["ServerSideEncryption"] == encryption.algorithm, key
        assert found.get("SSEKMSKeyId") == encryption.kms_key_id, key


def test_a_copy_under_kms_is_told_by_its_size_for_its_etag_says_nothing(s3_url: str, proxy: FaultyProxy) -> None:
    store = Store(s3_url, Encryption("aws:kms"))
    put = store.put("raw/a", b"secret")
    proxy.faults += [Fault("wrong etag", "COPY", "/archive/a"), Fault("wrong etag", "HEAD", "/archive/a", times=4)]

    assert store.move_all([Move("raw/a", "archive/a", put.size, put.etag)]) == [None]
    assert store.is_copy("archive/a", put.size, put.etag)


def test_region_endpoint_and_credentials_come_from_a_profile(
    aws_url: str, s3_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines = ["[profile lake]", "region = eu-central-1", f"endpoint_url = {aws_url}"]
    keys = ["aws_access_key_id = one", "aws_secret_access_key = two"]
    (tmp_path / "config").write_text("\n".join([*lines, *keys]))
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "lake")
    store = Store(s3_url)
    store.put("raw/a", b"x")
    assert [item.key for page in store.list("") for item in page] == ["raw/a"]


def test_a_bucket_that_is_not_there_is_an_error_that_says_so(s3_url: str) -> None:
    missing = Store(s3_url.replace("/lake-", "/none-"))
    with pytest.raises(StoreError, match=r"raw/: .*NoSuchBucket"):
        list(missing.list("raw/"))
    with pytest.raises(StoreError, match=r"(?s)raw/a: .*NoSuchBucket"):
        missing.put("raw/a", b"x")
