"""Whole runs on a store that fails, hangs, cuts its answers off or lies: rows once, and every file where it belongs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lake_pipeline.lake import Lake
from lake_pipeline.store import Copy, Store
from lake_pipeline_tests.faults import Fault, FaultyProxy, Kind, faulty_proxy
from lake_pipeline_tests.lakes import EVENTS, event, lake_of, land, rows, run, states, stored

MIB = 2**20
METHODS = ("LIST", "HEAD", "GET", "PUT", "COPY", "DELETE MANY")


@pytest.fixture
def proxy(aws_url: str, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:  # noqa: ARG001
    """The way to S3; faults are added by the test."""
    with faulty_proxy(aws_url) as opened:
        monkeypatch.setenv("AWS_ENDPOINT_URL", opened.url)
        yield opened


@pytest.fixture
def lake(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, s3_url: str, proxy: FaultyProxy
) -> Iterator[Lake]:
    """Two files of two records each wait in S3."""
    with lake_of(monkeypatch, tmp_path, database_url, EVENTS, store=s3_url) as opened:
        for file in range(2):
            land(opened, f"raw/2026/week07/{file}.json", event(2 * file), event(2 * file + 1, day=file + 2))
        proxy.calls.clear()
        yield opened


def check_whole(lake: Lake) -> None:
    assert rows(lake, "select count(*), count(distinct id) from events") == [(4, 4)]
    assert set(states(lake).values()) == {"SUCCEEDED"}
    assert stored(lake, "raw/") == []
    assert stored(lake, "archive/") == ["archive/2026/week07/0.json", "archive/2026/week07/1.json"]
    assert stored(lake, "_staging/") == []
    assert set(stored(lake, "curated/")) == {output.path for output in lake.ledger.committed_outputs("events")}


@pytest.mark.slow
def test_a_run_ends_right_whatever_is_refused_or_broken_once_of_each_kind_of_request(
    lake: Lake, proxy: FaultyProxy
) -> None:
    kinds: tuple[Kind, ...] = ("slow down", "internal error", "drop", "drop the answer")
    proxy.faults += [Fault(kind, method) for kind in kinds for method in METHODS]
    proxy.faults.append(Fault("cut the answer", "GET", "/raw/"))

    run(lake)
    proxy.faults.append(Fault("cut the answer", "GET", "/curated/"))

    check_whole(lake)
    assert [manifest.failures for manifest in lake.ledger.manifests("events")] == [0]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["LIST", "GET", "COPY"])
def test_a_run_ends_right_though_s3_said_a_wrong_etag(method: str, lake: Lake, proxy: FaultyProxy) -> None:
    part = {"LIST": "raw", "COPY": "/archive/"}.get(method, "/raw/")
    proxy.faults.append(Fault("wrong etag", method, part))

    run(lake)
    run(lake)

    assert rows(lake, "select count(*), count(distinct id) from events") == [(4, 4)]
    assert set(states(lake).values()) == {"SUCCEEDED"}
    assert stored(lake, "raw/") == []


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_run_ends_right_though_s3_does_not_answer_for_a_minute(method: str, lake: Lake, proxy: FaultyProxy) -> None:
    proxy.faults.append(Fault("hang", method))
    run(lake)
    check_whole(lake)


def test_a_request_without_an_answer_is_made_again_whatever_was_asked(
    proxy: FaultyProxy, s3_url: str, tmp_path: Path
) -> None:
    store = Store(s3_url, silence=0.5)
    large = os.urandom(20 * MIB)
    (tmp_path / "large").write_bytes(large)
    proxy.faults += [Fault("hang", method) for method in METHODS]
    proxy.faults += [
        Fault("hang", "PUT", "partNumber=2"),
        Fault("hang", "POST", "uploads"),
        Fault("hang", "POST", "uploadId"),
    ]

    store.put("raw/a", b"bytes")
    assert store.get("raw/a") == b"bytes"
    store.upload(tmp_path / "large", "raw/large")
    assert store.get_range("raw/large", 5, MIB) == large[5 : 5 + MIB]
    store.publish_all([Copy("raw/a", "final/a", 5)])
    assert [item.key for page in store.list("") for item in page] == ["final/a", "raw/a", "raw/large"]
    store.delete(["raw/a", "raw/large"])
    assert [item.key for page in store.list("") for item in page] == ["final/a"]
