"""What is estimated, and what is reckoned afterwards: the figures hold together, and requests are those really made."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake_pipeline.aws_local.server import environment
from lake_pipeline.costs.bill import bill
from lake_pipeline.costs.estimate import Estimate, Waiting, estimate, manifests_of, runs_of, work_of
from lake_pipeline.costs.machine import Machine
from lake_pipeline.costs.pace import ENGINES, EngineName, Measured, pace
from lake_pipeline.costs.prices import price_list
from lake_pipeline.costs.requests import Requests, Work, conversion_requests, discovery_requests
from lake_pipeline.dataset import Batch
from lake_pipeline.errors import UnknownRegion
from lake_pipeline_tests.aws_lakes import aws_lake_of, aws_of
from lake_pipeline_tests.faults import faulty_proxy
from lake_pipeline_tests.lakes import EVENTS, event, land, run

PRICES = price_list().of("us-east-1")
BATCH = Batch.model_validate({})
TB = 10**12

engines = st.sampled_from(ENGINES)
counts = st.integers(0, 10**7)
works = st.builds(
    Work,
    manifests=st.integers(1, 10**5),
    files=st.integers(1, 10**9),
    bytes=st.integers(1, 10**15),
    outputs=st.integers(1, 10**6),
    output_bytes=st.integers(0, 10**14),
)
# Files of up to 5 GiB: larger ones are copied in parts, which are reckoned for the average file.
groups = st.lists(
    counts.flatmap(lambda files: st.builds(Waiting, st.just(files), st.integers(0, min(files * 5 * 2**30, 10**14)))),
    max_size=20,
)


def estimated(engine: EngineName, waiting: list[Waiting], measured: Measured | None = None) -> Estimate:
    return estimate(engine, work_of(waiting, BATCH), BATCH, PRICES, Machine(2), measured=measured)


def test_nine_terabytes_in_ten_million_files_on_glue_are_counted_in_hundreds_of_dollars() -> None:
    made = estimated("glue", [Waiting(10_000_000, 9 * TB)])

    assert made.work.manifests == -(-9 * TB // (4 * 2**30)) == 2096
    assert made.runs == 2096
    assert made.requests.copy == 10_000_000 + made.work.outputs
    assert made.requests.list >= 10_000
    # Each file is written once more, looked at and read once: 5 and twice 0.4 dollars a million.
    assert 10 * (5 + 2 * 0.4) < made.s3_dollars < 10 * (5 + 2 * 0.4) * 1.2
    assert made.glue_dollars == pytest.approx(made.dpu_seconds / 3600 * 0.44)
    assert 50 < made.dollars < 500


@given(engines, groups, groups)
def test_more_work_never_takes_less(engine: EngineName, some: list[Waiting], more: list[Waiting]) -> None:
    fewer, all_ = estimated(engine, some), estimated(engine, some + more)
    assert fewer.work.manifests <= all_.work.manifests
    assert fewer.seconds <= all_.seconds
    assert fewer.dpu_seconds <= all_.dpu_seconds
    assert fewer.s3_dollars <= all_.s3_dollars


@given(groups)
def test_manifests_are_as_many_as_their_limits_ask_for_at_least(waiting: list[Waiting]) -> None:
    manifests = manifests_of(waiting, BATCH)
    assert manifests * BATCH.max_files >= sum(group.files for group in waiting)
    assert manifests >= sum(1 for group in waiting if group.files)


@given(st.integers(1, 10**6), st.integers(0, 10**15))
def test_runs_are_no_more_than_manifests_and_no_run_takes_more_than_its_share(manifests: int, bytes_: int) -> None:
    runs = runs_of(manifests, bytes_, BATCH)
    assert -(-manifests // BATCH.run_manifests) <= runs <= manifests


@given(engines, works)
def test_what_was_measured_is_estimated_again(engine: EngineName, work: Work) -> None:
    measured = Measured(engine, work, seconds=123.0, dpu_seconds=456.0 if engine == "glue" else 0.0)
    found = pace(engine, work, measured)
    assert found.seconds == pytest.approx(123.0)
    assert found.dpu_seconds == pytest.approx(measured.dpu_seconds)


@given(works)
def test_what_was_measured_on_another_engine_says_nothing(work: Work) -> None:
    assert pace("local", work, Measured("glue", work, 1.0, 1.0)) == pace("local", work)


def test_small_manifests_speak_for_large_ones() -> None:
    small = Work(10, 10, 10 * 2**20, 10, 10 * 2**20)
    large = Work(10, 10, 10 * 2**32, 10, 10 * 2**30)
    # Twice as slow as assumed, mostly by what does not depend on the bytes.
    slow = Measured("local", small, 2 * pace("local", small).seconds, 0)
    assert pace("local", large, slow).seconds == pytest.approx(2 * pace("local", large).seconds)


@given(engines, works)
def test_a_bill_is_the_sum_of_its_parts(engine: EngineName, work: Work) -> None:
    found = bill(engine, work, 60.0, 120.0, PRICES, Machine(2), on_s3=True)
    assert found["dollars"] == pytest.approx(sum(found[f"{part}_dollars"] for part in ("s3", "glue", "machine")))
    assert found["requests"]["copy"] >= work.files + work.outputs


def test_large_objects_take_a_request_a_part() -> None:
    small = conversion_requests(Work(1, 1, 2**20, 1, 2**20))
    large = conversion_requests(Work(1, 1, 6 * 2**30, 1, 160 * 2**20))
    assert large.put - small.put == 10 + 1  # and the one that begins is there anyway
    assert large.copy - small.copy == 24 + 1


def test_raw_files_that_stay_where_they_landed_are_not_copied() -> None:
    work = Work(1, 1000, 2**20, 1, 2**20)
    moved, kept = conversion_requests(work), conversion_requests(work, archives=False)
    assert (moved.copy - kept.copy, moved.head - kept.head, moved.delete - kept.delete) == (1000, 1000, 1)


def test_prices_are_of_a_day_and_of_a_page_and_of_regions_that_are_named() -> None:
    prices = price_list()
    assert prices.as_of.year >= 2026
    pages = [*prices.source.values(), *prices.month.source.values()]
    assert all(page.startswith("https://aws.amazon.com/") for page in pages)
    assert prices.of(prices.month.region) is not None
    with pytest.raises(UnknownRegion, match=r"'mars-1'; there are prices of eu-central-1, us-east-1"):
        prices.of("mars-1")


def test_requests_are_those_that_are_really_made(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests, files, days = 2, 20, 3
    declared = EVENTS | {"batch": {"max_files": files // manifests}}
    with (
        aws_of(monkeypatch) as aws,
        faulty_proxy(aws.url) as proxy,
    ):
        for name, value in environment(proxy.url).items():
            monkeypatch.setenv(name, value)
        with aws_lake_of(monkeypatch, aws, tmp_path, database_url, declared) as lake:
            for number in range(files):
                land(lake, f"raw/2026/week07/{number:04}.json", event(number, day=1 + number % days))
            proxy.calls.clear()

            assert run(lake) == manifests

            asked = dict(proxy.calls)
            outputs = list(lake.ledger.committed_outputs("events"))
            rows = lake.ledger.manifests("events")
    work = Work(manifests, files, sum(row.bytes for row in rows), len(outputs), sum(output.bytes for output in outputs))
    expected = conversion_requests(work) + discovery_requests(files, by_events=False)
    assert asked == {
        "LIST": expected.list,
        "PUT": expected.put,
        "COPY": expected.copy,
        "GET": expected.get,
        "HEAD": expected.head,
        "DELETE MANY": expected.delete,
        "POST": expected.catalog,
    }
    # Each manifest's bill has its share of them.
    bills = [Requests(**(row.metrics or {})["cost"]["requests"]) for row in rows]
    assert sum(bills, Requests()) == conversion_requests(work)
