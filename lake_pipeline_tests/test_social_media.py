"""The bundled social_media from feeds to what readers see, held to a second telling of its rules in Python."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from lake_pipeline.defs.instance import open_instance
from lake_pipeline.kernel.references import BUNDLED_REFERENCES
from lake_pipeline.lake import Lake
from lake_pipeline.published import open_parquet
from lake_pipeline.samples import generate
from lake_pipeline.settings import BUNDLED_DATASETS
from lake_pipeline_tests.lakes import lake_of, rows, run, states, stored

DECLARATION = yaml.safe_load((BUNDLED_DATASETS / "social_media.yaml").read_text())
CURATED = dg.AssetKey(["social_media", "curated"])
SHOWN = "id, data_source, created_at, place, district, likes, lang, _source_file"


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Iterator[Lake]:
    with lake_of(monkeypatch, tmp_path, database_url, DECLARATION) as opened:
        yield opened


def moment(value: Any) -> datetime | None:
    """A source's time, read by Python."""
    if isinstance(value, int):
        return datetime.fromtimestamp(value / 1000, UTC).replace(microsecond=value % 1000 * 1000)
    if value.isdigit():
        return datetime.fromtimestamp(int(value), UTC)
    for read in (
        datetime.fromisoformat,
        parsedate_to_datetime,
        lambda text: datetime.strptime(text, "%a %b %d %H:%M:%S %z %Y"),
    ):
        try:
            return read(value).astimezone(UTC)
        except ValueError:
            continue
    return None


def district(place: dict[str, float] | None) -> str | None:
    """The bundled area around a place, by winding and not by crossings."""
    if place is None:
        return None
    for feature in json.loads((BUNDLED_REFERENCES / "sample_districts.geojson").read_text())["features"]:
        (ring,) = feature["geometry"]["coordinates"]
        winding = 0
        for (x1, y1), (x2, y2) in pairwise(ring):
            left = (x2 - x1) * (place["lat"] - y1) - (place["lon"] - x1) * (y2 - y1)
            winding += (y1 <= place["lat"] < y2 and left > 0) - (y2 <= place["lat"] < y1 and left < 0)
        if winding:
            return str(feature["properties"]["district"])
    return None


def told(post: dict[str, Any], key: str) -> tuple[Any, ...]:
    """The row that a post becomes."""
    place = " ".join(word.capitalize() for word in post["place"].split()) if post["place"] else None
    return (
        *(post["id"], post["source"], moment(post["created_at"]), place, district(post["coordinates"])),
        *(post["likes"] or 0, post.get("lang") or "und", key),
    )


def expected_rows(lake: Lake, keys: list[str]) -> dict[str, tuple[Any, ...]]:
    """The last telling of each post, by id, of feeds in order."""
    feeds = {key: json.loads(lake.store.get(key)) for key in keys}
    posts = ((key, post) for key, feed in feeds.items() for post in feed if isinstance(post, dict) and post["id"])
    return {post["id"]: told(post, key) for key, post in posts}


def test_feeds_become_posts_each_once_cleaned_and_counted(lake: Lake) -> None:
    samples = generate("social_media", lake.store, scale=0.2)
    expected = expected_rows(lake, [sample.key for sample in samples if sample.status == "SUCCEEDED"])

    run(lake)

    found = {row[0]: row for row in rows(lake, f"select {SHOWN} from social_media")}
    assert found == expected
    assert rows(lake, "select count(*) from social_media") == [(len(expected),)]
    assert (
        {None}
        < {row[4] for row in found.values()}
        <= {
            *(None, "Harbour", "Old Town", "Hillside", "University", "Airport"),
        }
    )
    assert rows(lake, "select _rescued from social_media where created_at is null") == [
        ('{"created_at":"last Tuesday"}',)
    ]
    assert {file.s3_key: file.rows_dropped or 0 for file in lake.ledger.files("social_media")} == {
        sample.key: sample.rows_dropped for sample in samples
    }
    assert sum(sample.rows_dropped for sample in samples) > 20
    for file in lake.ledger.files("social_media", status="SUCCEEDED"):
        assert file.rows_read == (file.rows_written or 0) + (file.rows_quarantined or 0) + (file.rows_dropped or 0)
    folders = {key.removeprefix("curated-data-lake/social_media/") for key in stored(lake, "curated-data-lake/")}
    assert any(folder.startswith("data_source=chirp/year=2026/month=2/day=3/") for folder in folders)
    assert stored(lake, "social-media/") == []


def test_the_dagster_ui_shows_what_was_dropped_and_that_nothing_was_lost(lake: Lake) -> None:
    samples = generate("social_media", lake.store, scale=0.1)
    run(lake)
    names = ["rows_conserved", "required", "unique"]
    with open_instance(lake.settings) as instance:
        event = instance.get_latest_materialization_event(CURATED)
        checks = instance.event_log_storage.get_latest_asset_check_execution_by_key(
            [dg.AssetCheckKey(CURATED, name) for name in names]
        )
    assert event is not None
    assert event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    by_rule = {rule: int(str(metadata[f"rows dropped by {rule}"].value)) for rule in ("drop_nulls", "deduplicate")}
    assert sum(by_rule.values()) == sum(sample.rows_dropped for sample in samples)
    assert by_rule["drop_nulls"] == samples[2].rows_dropped
    found = [record.event.asset_check_evaluation for record in checks.values() if record.event]
    evaluations = {evaluation.check_name: evaluation for evaluation in found if evaluation}
    assert {name: evaluation.passed for name, evaluation in evaluations.items()} == dict.fromkeys(names, True)
    assert evaluations["rows_conserved"].metadata["rows dropped"].value == sum(by_rule.values())
    (manifest,) = lake.ledger.manifests("social_media")
    assert manifest.metrics is not None
    assert manifest.metrics["dropped"] == by_rule


def test_a_post_that_a_later_manifest_has_again_is_shown_once_and_replay_changes_nothing(lake: Lake) -> None:
    post = {"source": "chirp", "id": "chirp-1", "created_at": 1770109872000, "likes": 1, "place": None}
    post |= {"coordinates": None, "text": "x"}
    other = post | {"id": "chirp-2"}
    key = "social-media/social-media-feed-{}.json".format
    shown = "select id, likes, _source_file from social_media order by id"
    for epoch, feed in (
        (1770200000, [post, other]),
        (1770100000, [post | {"likes": 0}]),
        (1770300000, [post | {"likes": 9}]),
    ):
        lake.store.put(key(epoch), json.dumps(feed).encode())
        run(lake)
    latest = [("chirp-1", 9, key(1770300000)), ("chirp-2", 1, key(1770200000))]
    assert rows(lake, shown) == latest
    # Each manifest's file keeps its own row: no committed file is rewritten for a later one.
    files = stored(lake, "curated-data-lake/")
    assert sum(open_parquet(lake.store, file).metadata.num_rows for file in files) == 4

    for manifest in lake.ledger.manifests("social_media"):
        lake.ledger.requeue("social_media", manifest=manifest.manifest_id)
        run(lake)
        assert rows(lake, shown) == latest
    assert set(states(lake, "social_media").values()) == {"SUCCEEDED"}
