"""Records of the sample files, made up by a seeded generator."""

from __future__ import annotations

import json
import random
from datetime import UTC, date, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

Record = dict[str, Any]

_MODES = ("bike", "bus", "car", "train", "walk")
_NAMES = ("Ada", "Björn", "Chloé", "Dũng", "Ewa", "Farid", "Grace", "Hana", "İpek", "Jürgen", "小林")
_TAGS = ("commuter", "student", "visitor", "beta", "night owl", "50% off")
_STOPS = ("Airport", "Central", "Harbour", "Market Square", "Old Town", "University")
_NOTES = ("late by 5 min", 'said "never again"', "C:\\maps\\old", "line one\nline two", "größer & schöner", "🚲")


def new_event(rng: random.Random, id_: int, day: date) -> Record:
    lat, lon = round(rng.uniform(48.1, 48.3), 6), round(rng.uniform(16.2, 16.5), 6)
    seconds = rng.randrange(86400)
    return {
        "id": id_,
        "DATE": day.isoformat(),
        "ts": f"{day}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}Z",
        "MODE": rng.choice(_MODES),
        "user": {
            "id": rng.randrange(1, 5000),
            "name": rng.choice(_NAMES),
            "geo": {"lat": lat, "lon": lon},
            "tags": rng.sample(_TAGS, rng.randrange(4)),
        },
        "distance": rng.choice((rng.randrange(1, 40), round(rng.uniform(0.1, 40), 3))),
        "legs": [
            {"from": rng.choice(_STOPS), "to": rng.choice(_STOPS), "minutes": rng.randrange(1, 90)}
            for _ in range(rng.randrange(4))
        ],
        "note": rng.choice((None, None, *_NOTES)),
        "active": rng.random() < 0.8,
        "payload": _payload(rng),
    }


def _payload(rng: random.Random) -> Record:
    """A free-form object: other keys, and other types under them, in each record."""
    return rng.choice(
        (
            {},
            {"app": f"{rng.randrange(1, 9)}.{rng.randrange(30)}", "os": rng.choice(("android", "ios"))},
            {f"exp-{rng.randrange(1000)}": rng.choice((True, "control", rng.randrange(5)))},
            {"errors": [{"code": rng.randrange(400, 600), "retry": None}]},
        )
    )


def new_weather(rng: random.Random) -> Record:
    return {"sky": rng.choice(("clear", "clouds", "rain", "snow")), "celsius": round(rng.uniform(-10, 15), 1)}


def new_reading(rng: random.Random, sensor: str, day: date, number: int) -> Record:
    temperature = round(rng.uniform(-8, 12), 1)
    return {
        "sensor_id": sensor,
        "measured_at": f"{day}T{number // 60 % 24:02}:{number % 60:02}:00Z",
        "temperature": int(temperature) if number % 5 == 0 else temperature,
        "humidity": rng.randrange(30, 100),
        "battery": {"volts": round(rng.uniform(3.1, 4.2), 2), "low": rng.random() < 0.05},
    }


def new_order(rng: random.Random, id_: int, more: Record) -> bytes:
    """An order, its amount with two decimals as a till prints it."""
    order = {
        "order_id": id_,
        "placed_at": f"2026-02-0{rng.randrange(1, 3)} {rng.randrange(24):02}:{rng.randrange(60):02}",
        "gift": rng.random() < 0.1,
        "customer": {"name": rng.choice(_NAMES), "postcode": f"{rng.randrange(100000):05}"},
        "lines": [{"sku": f"S{rng.randrange(1000)}", "n": rng.randrange(1, 5)} for _ in range(rng.randrange(1, 4))],
        "note": rng.choice((None, None, *_NOTES)),
        **more,
    }
    return json_line(order)[:-2] + f',"amount":{rng.randrange(1, 200)}.{rng.randrange(0, 100, 5):02}}}\n'.encode()


def new_post(rng: random.Random, number: int, day: date) -> Record:
    """A post as one of five sources tells it: each writes times in its own way."""
    source = rng.choice(("chirp", "fotos", "groups", "letters", "threads"))
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=rng.randrange(86400))
    seconds = int(moment.timestamp())
    place = rng.choice(_STOPS)
    return {
        "source": source,
        "id": f"{source}-{number:06}",
        "created_at": {
            "chirp": f"{moment:%a %b %d %H:%M:%S +0000 %Y}",
            "fotos": seconds * 1000 + rng.randrange(1000),
            "groups": moment.astimezone(timezone(timedelta(hours=1))).isoformat(),
            "letters": format_datetime(moment),
            "threads": str(seconds),
        }[source],
        "user": {"name": rng.choice(_NAMES), "followers": rng.randrange(5000)},
        "text": rng.choice(_NOTES),
        "place": rng.choice((None, place, place.upper(), f" {place.lower()}", place.swapcase())),
        "coordinates": rng.choice(
            (None, {"lat": round(rng.uniform(48.08, 48.3), 6), "lon": round(rng.uniform(16.2, 16.5), 6)})
        ),
        "likes": rng.choice((None, 0, rng.randrange(2000))),
        **rng.choice(({}, {"lang": None}, {"lang": "de"}, {"lang": "tr"})),
    }


def json_line(record: Record) -> bytes:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
