"""Sample Parquet files: a month of yellow taxi trips, with the columns that New York's TLC publishes."""

from __future__ import annotations

import io
import random
from datetime import date, datetime, timedelta
from typing import Any


def trips_file(
    rng: random.Random,
    month: date,
    rows: int,
    *,
    airport_fee: bool = True,
    congestion_zone: bool = False,
    pickup_name: str = "tpep_pickup_datetime",
) -> bytes:
    """A file of trips. Without `airport_fee` that column has no value, and passengers are whole numbers, as in some
    months; with `congestion_zone` there is the column that came in 2025."""
    import pyarrow as pa  # slow to import: `lake --help` would wait for it
    import pyarrow.parquet as pq

    trips = [_trip(rng, month) for _ in range(rows)]

    def column(name: str, type_: Any) -> Any:
        return pa.array([trip[name] for trip in trips], type_)

    passengers = pa.float64() if airport_fee else pa.int64()
    columns = {
        "VendorID": column("vendor", pa.int32()),
        pickup_name: column("pickup", pa.timestamp("us")),
        "tpep_dropoff_datetime": column("dropoff", pa.timestamp("us")),
        "passenger_count": column("passengers", passengers),
        "trip_distance": column("distance", pa.float64()),
        "RatecodeID": column("rate", passengers),
        "store_and_fwd_flag": column("stored", pa.string()),
        "PULocationID": column("from", pa.int32()),
        "DOLocationID": column("to", pa.int32()),
        "payment_type": column("payment", pa.int64()),
        **{name: column(name, pa.float64()) for name in _AMOUNTS},
        "airport_fee": column("airport_fee", pa.float64()) if airport_fee else pa.nulls(rows),
        **({"cbd_congestion_fee": column("cbd", pa.float64())} if congestion_zone else {}),
    }
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, row_group_size=max(rows // 3, 1))
    return file.getvalue()


_AMOUNTS = (
    "fare_amount",
    "extra",
    "mta_tax",
    "tip_amount",
    "tolls_amount",
    "improvement_surcharge",
    "total_amount",
    "congestion_surcharge",
)


def _trip(rng: random.Random, month: date) -> dict[str, Any]:
    pickup = datetime(month.year, month.month, 1) + timedelta(seconds=rng.randrange(28 * 86400))  # noqa: DTZ001
    minutes = rng.randrange(2, 90)
    amounts = {name: rng.randrange(0, 2000) / 100 for name in _AMOUNTS}
    known = rng.random() < 0.9  # of trips that were told later, some things are not
    return {
        "vendor": rng.choice((1, 2, 6, 7)),
        "pickup": pickup,
        "dropoff": pickup + timedelta(minutes=minutes, seconds=rng.randrange(60)),
        "passengers": rng.randrange(1, 6) if known else None,
        "distance": round(minutes * rng.uniform(0.05, 0.4), 2),
        "rate": rng.choice((1, 1, 1, 2, 5)) if known else None,
        "stored": rng.choice(("Y", "N", "N")) if known else None,
        "from": rng.randrange(1, 266),
        "to": rng.randrange(1, 266),
        "payment": rng.randrange(0, 5),
        **amounts,
        "total_amount": round(sum(amounts.values()), 2),
        "congestion_surcharge": rng.choice((0.0, 2.5)) if known else None,
        "airport_fee": rng.choice((0.0, 1.75)) if known else None,
        "cbd": rng.choice((0.0, 0.75)),
    }
