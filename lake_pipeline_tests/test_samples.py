"""The samples: the same bytes for the same seed, and what each says of itself is what the kernel finds."""

from __future__ import annotations

import gzip
import io
import json
from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pytest

from lake_pipeline.dataset import Dataset
from lake_pipeline.declarations import load_datasets
from lake_pipeline.errors import UnknownDataset
from lake_pipeline.kernel.convert import Job, convert
from lake_pipeline.kernel.results import FileResult
from lake_pipeline.manifests import Manifest, ManifestFile
from lake_pipeline.samples import SAMPLES, SampleFile, generate, write_ndjson
from lake_pipeline.schemas import Schema
from lake_pipeline.settings import BUNDLED_DATASETS
from lake_pipeline.store import Store

BUNDLED = load_datasets(BUNDLED_DATASETS)


def stored(store: Store) -> dict[str, bytes]:
    return {item.key: store.get(item.key) for page in store.list("") for item in page}


def read(data: bytes, key: str) -> str:
    """The sample as text, by decoders that are not the kernel's."""
    if key.endswith(".gz"):
        return gzip.decompress(data).decode()
    if key.endswith(".zst"):
        assert data.startswith(b"\x28\xb5\x2f\xfd"), "not a zstd frame"
        data = pa.CompressedInputStream(io.BytesIO(data), "zstd").read()
    return data.decode()


def test_every_bundled_dataset_has_samples_and_every_sample_a_dataset() -> None:
    assert set(SAMPLES) == set(BUNDLED)


def test_unknown_dataset_is_refused_by_name(tmp_path: Path) -> None:
    names = "events, events_small, ndjson_feed, sensor_readings"
    with pytest.raises(UnknownDataset, match=f"nonesuch; there are samples for {names}"):
        generate("nonesuch", Store(str(tmp_path)))


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_same_seed_gives_the_same_bytes_and_another_seed_others(name: str, tmp_path: Path) -> None:
    first, again, other = (Store(str(tmp_path / part)) for part in ("first", "again", "other"))
    files = generate(name, first, seed=7, scale=0.1)
    assert generate(name, again, seed=7, scale=0.1) == files
    generate(name, other, seed=8, scale=0.1)
    assert stored(first) == stored(again)
    assert stored(first) != stored(other)
    assert {file.key: file.size for file in files} == {key: len(data) for key, data in stored(first).items()}


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_samples_land_below_the_source_prefix_and_one_demo_is_a_few_megabytes(name: str, tmp_path: Path) -> None:
    files = generate(name, Store(str(tmp_path)))
    assert all(file.key.startswith(BUNDLED[name].source.prefix) for file in files)
    assert len({file.key for file in files}) == len(files)
    assert 100_000 < sum(file.size for file in files) < 8_000_000


def test_events_hold_the_shapes_and_values_that_a_demo_should_meet(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    by_about = {file.about: file.key for file in generate("events", store, scale=0.2)}

    def text(about: str) -> str:
        return read(store.get(by_about[about]), by_about[about])

    document = json.loads(text("one pretty-printed document"))
    assert set(document) == {
        *("id", "DATE", "ts", "MODE", "user", "distance"),
        *("legs", "note", "active", "payload"),
    }
    records = [
        *json.loads(text("a JSON array")),
        *json.loads(text("a JSON array, zstd")),
        *map(json.loads, text("one record a line, gzip").splitlines()),
        *map(json.loads, text("one record a line").splitlines()),
    ]
    assert {type(record["distance"]) for record in records} == {int, float}
    assert any(record["note"] is None for record in records)
    assert {record["MODE"] for record in records} == {"bike", "bus", "car", "train", "walk"}
    assert any(record["legs"] for record in records)
    assert not any("weather" in record for record in records)
    ids = [record["id"] for record in [*records, document]]
    assert len(set(ids)) == len(ids)
    assert all("weather" in json.loads(line) for line in text("a new key, weather").splitlines())
    with pytest.raises(EOFError):
        text("a gzip that ends early")
    assert text("an empty file") == ""
    assert store.get(by_about["a PNG named .json"]).startswith(b"\x89PNG")
    assert text("an array cut off after a comma").endswith(",")


def results_of(dataset: Dataset, samples: list[SampleFile], store: Store, work: Path) -> dict[str, FileResult]:
    """What the kernel says of each sample, each landing group a manifest, one schema through all of them."""
    groups: dict[str, list[str]] = defaultdict(list)
    for sample in samples:
        groups[dataset.source.group_template.group_of(sample.key.removeprefix(dataset.source.prefix))] += [sample.key]
    results: dict[str, FileResult] = {}
    schema = Schema.from_json(None)
    # The order in which groups are converted must not matter, so the newest goes first.
    for number, (group, keys) in enumerate(sorted(groups.items(), reverse=True)):
        heads = [store.head(key) for key in keys]
        files = tuple(
            ManifestFile(id=n, key=o.key, location=o.key, size=o.size, etag=o.etag) for n, o in enumerate(heads)
        )
        job = Job(
            dataset=dataset,
            manifest=Manifest(dataset.name, f"m{number}", group, files),
            schema=schema,
            attempt=1,
            staging=work / f"staging-{number}",
            scratch=work / f"scratch-{number}",
            threads=1,
            memory="256MiB",
        )
        converted = convert(job, store)
        schema = converted.schema
        results |= {result.key: result for result in converted.files}
    return results


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_the_kernel_finds_what_each_sample_says_of_itself(name: str, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    samples = generate(name, store, scale=0.1)
    results = results_of(BUNDLED[name], samples, store, tmp_path)
    assert {
        key: (result.status, result.rows_written, result.rows_quarantined, result.rows_rescued, result.rows_dropped)
        for key, result in results.items()
    } == {
        sample.key: (
            sample.status,
            sample.rows_written,
            sample.rows_quarantined,
            sample.rows_rescued,
            sample.rows_dropped,
        )
        for sample in samples
    }


def test_bulk_ndjson_is_of_the_size_asked_for_with_unique_ids_and_the_samples_fields(tmp_path: Path) -> None:
    paths = write_ndjson(tmp_path / "bulk", total_bytes=2_000_000, files=3, seed=1)
    assert len(paths) == 3
    size = sum(path.stat().st_size for path in paths)
    assert 2_000_000 - 3 < size < 2_000_000 + 3 * 2_000
    records = [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]
    assert len({record["id"] for record in records}) == len(records) > 4_000
    assert len({(record["DATE"], record["MODE"]) for record in records}) == 14 * 5
    assert records[0].keys() == records[-1].keys() >= {"id", "user", "legs", "payload"}


def test_bulk_ndjson_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    first, again, other = (
        b"".join(path.read_bytes() for path in write_ndjson(tmp_path / name, total_bytes=50_000, files=2, seed=seed))
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert first == again
    assert first != other
