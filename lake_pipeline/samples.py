"""Sample files for the bundled datasets, good ones and bad, each with what should become of it."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import count
from pathlib import Path
from typing import Any, Literal

from lake_pipeline.errors import UnknownDataset
from lake_pipeline.sample_records import Record, json_line, new_event, new_order, new_post, new_reading, new_weather
from lake_pipeline.sample_trips import trips_file
from lake_pipeline.store import Store

_PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"


@dataclass(frozen=True)
class SampleFile:
    """One sample in the store, and how the ledger should describe it in the end."""

    key: str
    size: int
    about: str
    status: Literal["SUCCEEDED", "QUARANTINED"]
    rows_written: int = 0
    rows_quarantined: int = 0
    rows_rescued: int = 0
    rows_dropped: int = 0


@dataclass(frozen=True)
class _Sample:
    """A sample before it is stored; `rows` are written, `aside` quarantined; no rows is a file quarantined whole."""

    key: str
    data: bytes
    about: str
    rows: int = 0
    aside: int = 0
    rescued: int = 0
    dropped: int = 0


def generate(dataset: str, store: Store, seed: int = 0, scale: float = 1.0) -> list[SampleFile]:
    """Put a bundled dataset's samples into the store; the same seed and scale give the same bytes.

    Raises:
        UnknownDataset: there are no samples for a dataset of this name.
    """
    if dataset not in SAMPLES:
        raise UnknownDataset(f"{dataset}; there are samples for {', '.join(sorted(SAMPLES))}")
    return [
        SampleFile(
            sample.key,
            store.put(sample.key, sample.data).size,
            sample.about,
            "SUCCEEDED" if sample.rows else "QUARANTINED",
            sample.rows,
            sample.aside,
            sample.rescued,
            sample.dropped,
        )
        for sample in SAMPLES[dataset](random.Random(f"{dataset} {seed}"), scale)
    ]


def write_ndjson(directory: Path, *, total_bytes: int, files: int, seed: int = 0) -> list[Path]:
    """Write event records, one a line, over 14 days and 5 modes; each file passes its share of the bytes by one record.

    Ids are unique; the rest of a record comes from a pool, so that a gigabyte takes seconds.
    """
    rng = random.Random(f"bulk {seed}")
    days = [date(2026, 2, 9) + timedelta(days=n) for n in range(14)]
    # The id is the first key, so what follows it can be rendered once.
    pool = [json_line(new_event(rng, 0, rng.choice(days))).removeprefix(b'{"id":0') for _ in range(2**14)]
    directory.mkdir(parents=True, exist_ok=True)
    ids = count(1)
    paths = [directory / f"part-{number:04}.ndjson" for number in range(files)]
    for path in paths:
        with path.open("wb", buffering=2**20) as file:
            left = total_bytes // files
            while left > 0:
                line = b'{"id":%d%b' % (next(ids), pool[rng.getrandbits(14)])
                left -= file.write(line)
    return paths


def _events(rng: random.Random, scale: float) -> Iterator[_Sample]:
    import pyarrow as pa  # slow to import: `lake --help` would wait for it

    ids = count(1)
    rows = max(10, round(1200 * scale))
    months = [date(2025, month, day) for month in (11, 12) for day in (1, 15, 28)]

    def events(n: int, days: list[date]) -> list[Record]:
        return [new_event(rng, next(ids), rng.choice(days)) for _ in range(n)]

    history = "raw-json-data/all_historical_files"
    yield _Sample(f"{history}/2025-a.json", _array(events(rows, months)), "a JSON array", rows)
    yield _Sample(f"{history}/2025-b.json", _lines(events(rows, months)), "one record a line", rows)
    document = json.dumps(events(1, months)[0], indent=2, ensure_ascii=False).encode()
    yield _Sample(f"{history}/2025-c.json", document, "one pretty-printed document", 1)
    zipped = _gzip(_lines(events(rows, months)))
    yield _Sample(f"{history}/2025-d.json.gz", zipped, "one record a line, gzip", rows)
    zstandard: bytes = pa.compress(_array(events(rows, months)), codec="zstd", asbytes=True)
    yield _Sample(f"{history}/2025-e.json.zst", zstandard, "a JSON array, zstd", rows)
    yield _Sample(f"{history}/broken-empty.json", b"", "an empty file")
    yield _Sample(f"{history}/broken-picture.json", _PNG, "a PNG named .json")
    yield _Sample(f"{history}/broken-upload.json.gz", zipped[: len(zipped) // 2], "a gzip that ends early")

    week7 = [date(2026, 2, 9) + timedelta(days=n) for n in range(7)]
    yield _Sample("raw-json-data/2026/week07/drop-1.json", _lines(events(rows, week7)), "one record a line", rows)
    lines = _lines(events(rows, week7)).splitlines(keepends=True)
    lines.insert(rows // 2, b"ERROR 503: upstream timed out\n")
    yield _Sample("raw-json-data/2026/week07/drop-2.json", b"".join(lines), "a line that is not JSON", rows, aside=1)
    cut = b"[" + b"".join(json_line(event).rstrip() + b"," for event in events(20, week7))
    yield _Sample("raw-json-data/2026/week07/drop-3.json", cut, "an array cut off after a comma")

    week8 = [date(2026, 2, 16) + timedelta(days=n) for n in range(7)]
    evolved = [event | {"weather": new_weather(rng)} for event in events(rows, week8)]
    yield _Sample("raw-json-data/2026/week08/drop-1.json", _lines(evolved), "a new key, weather", rows)
    misfits = events(rows, week8)
    for event in misfits[2:5]:
        event["distance"] = "about two miles"
    misfits[7]["ts"] = "yesterday"
    about = "values that do not fit: three distances, one ts"
    yield _Sample("raw-json-data/2026/week08/drop-2.json", _array(misfits), about, rows, rescued=4)


def _events_small(rng: random.Random, scale: float) -> Iterator[_Sample]:
    ids = count(1)
    rows = max(3, round(60 * scale))
    folder = "raw-json-small/2026"
    for week, first, drops in ((7, date(2026, 2, 9), 12), (8, date(2026, 2, 16), 3)):
        for drop in range(1, drops + 1):
            events = [new_event(rng, next(ids), first + timedelta(days=rng.randrange(7))) for _ in range(rows)]
            yield _Sample(f"{folder}/week{week:02}/drop-{drop:02}.json", _lines(events), "one record a line", rows)
    cut = _lines([new_event(rng, next(ids), first) for _ in range(2)]) + b"ERROR 503: upstream timed out\n"
    yield _Sample(f"{folder}/week08/drop-04.json", cut, "a line that is not JSON", 2, aside=1)
    yield _Sample(f"{folder}/week08/drop-05.json", b"", "an empty file")


def _sensor_readings(rng: random.Random, scale: float) -> Iterator[_Sample]:
    rows = max(10, round(400 * scale))
    folder = "landing/sensor-readings"
    for day in (date(2026, 1, 31), date(2026, 2, 1)):
        north, south = ([new_reading(rng, sensor, day, n) for n in range(rows)] for sensor in ("north", "south"))
        yield _Sample(f"{folder}/{day}/north.ndjson", _lines(north), "one record a line", rows)
        yield _Sample(f"{folder}/{day}/south.ndjson.gz", _gzip(_lines(south)), "one record a line, gzip", rows)
    lines = _lines([new_reading(rng, "harbour", day, n) for n in range(rows)]).splitlines(keepends=True)
    lines.insert(rows // 2, b'{"sensor_id":"harbour","measured_at":\n')
    yield _Sample(f"{folder}/{day}/harbour.ndjson", b"".join(lines), "a line that ends early", rows, aside=1)


def _ndjson_feed(rng: random.Random, scale: float) -> Iterator[_Sample]:
    ids = count(9_007_199_254_740_993)  # 2**53 + 1: whole as text, and not as a double
    rows = max(10, round(600 * scale))
    folder = "landing/ndjson"

    def lines(n: int, **more: Any) -> list[bytes]:
        return [new_order(rng, next(ids), more) for _ in range(n)]

    for part in ("0001", "0002"):
        yield _Sample(f"{folder}/2026-02-01/part-{part}.ndjson", b"".join(lines(rows)), "one record a line", rows)
    with_bad = lines(rows)
    with_bad[2:2] = [b'{"order_id":1,"amount":\n', b"<h1>502 Bad Gateway</h1>\n"]
    yield _Sample(f"{folder}/2026-02-01/part-0003.ndjson", b"".join(with_bad), "two lines that are no JSON", rows, 2)
    yield _Sample(f"{folder}/2026-02-01/part-0004.ndjson", b"order_id,amount\n1,2.50\n", "a CSV named .ndjson")
    coupons = lines(rows, coupon={"code": "SPRING", "percent": 12.5})
    yield _Sample(f"{folder}/2026-02-02/part-0001.ndjson", b"".join(coupons), "new keys, coupon", rows)
    odd = [b'{"order_id":"A-17","amount":"n/a","lines":{},"gift":"yes"}\n', *lines(rows - 1)]
    yield _Sample(f"{folder}/2026-02-02/part-0002.ndjson", b"".join(odd), "other types under known keys", rows)
    yield _Sample(f"{folder}/2026-02-02/part-0003.ndjson", b"", "an empty file")
    yield _Sample(f"{folder}/backfill/orders.ndjson.gz", _gzip(b"".join(lines(rows))), "no date in the key, gzip", rows)


def _social_media(rng: random.Random, scale: float) -> Iterator[_Sample]:
    ids = count(1)
    rows = max(20, round(500 * scale))
    again, twice, nameless = rows // 5, rows // 10, rows // 20
    key = "social-media/social-media-feed-{}.json".format

    def posts(day: date) -> list[Record]:
        return [new_post(rng, next(ids), day) for _ in range(rows)]

    first, second, third = (posts(date(2026, 2, day)) for day in (2, 3, 4))
    about = "posts that a later feed has again, with more likes"
    yield _Sample(key(1770076800), _array(first), about, rows - again, dropped=again)
    liked = [post | {"likes": (post["likes"] or 0) + 7} for post in rng.sample(first, again)]
    repeated = [*second, *liked, *second[:twice]]
    yield _Sample(key(1770163200), _array(repeated), "posts that are twice in the file", rows + again, dropped=twice)
    for post in third[:nameless]:
        post["id"] = None
    third[-1]["created_at"] = "last Tuesday"
    odd = [*third, "429 Too Many Requests"]
    about = "posts without an id, a time that cannot be read, an element that is no post"
    yield _Sample(
        key(1770249600),
        json.dumps(odd, ensure_ascii=False).encode(),
        about,
        rows - nameless,
        aside=1,
        rescued=1,
        dropped=nameless,
    )
    yield _Sample(key(1770253200), _array(posts(date(2026, 2, 5)))[:-100], "an array that ends early")


def _yellow_tripdata(rng: random.Random, scale: float) -> Iterator[_Sample]:
    rows = max(40, round(3000 * scale))
    key = "raw-data/{:%Y/%m}/03/yellow_tripdata_{:%Y-%m}.parquet"

    def month(number: int, **more: Any) -> tuple[str, bytes]:
        # A month's file lands two months later.
        first, landed = date(2025, number, 1), date(2025, number + 2, 1)
        return key.format(landed, first), trips_file(rng, first, rows, **more)

    yield _Sample(*month(1), "a month of trips", rows)
    yield _Sample(*month(2, airport_fee=False), "airport_fee without a value, passengers as whole numbers", rows)
    yield _Sample(*month(3, congestion_zone=True), "a new column, cbd_congestion_fee", rows)
    whole = month(4)
    yield _Sample(whole[0], whole[1][: len(whole[1]) * 2 // 3], "an upload that was cut off")
    yield _Sample(*month(5, pickup_name="pickup_datetime"), "a file whose pickup column has another name")
    yield _Sample("raw-data/2025/08/03/yellow_tripdata_2025-06.parquet", b"VendorID,fare\n1,7.5\n", "a CSV")


# One more bundled dataset is one more entry here.
SAMPLES: dict[str, Callable[[random.Random, float], Iterator[_Sample]]] = {
    "events": _events,
    "events_small": _events_small,
    "ndjson_feed": _ndjson_feed,
    "sensor_readings": _sensor_readings,
    "social_media": _social_media,
    "yellow_tripdata": _yellow_tripdata,
}


def _lines(records: list[Record]) -> bytes:
    return b"".join(map(json_line, records))


def _array(records: list[Record]) -> bytes:
    return json.dumps(records, ensure_ascii=False).encode()


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)  # without the time, the same data is the same bytes
