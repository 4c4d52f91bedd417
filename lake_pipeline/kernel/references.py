"""References for enrichment: named areas, from GeoJSON in the lake or bundled with the package."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from lake_pipeline.errors import ObjectMissing, ReferenceInvalid
from lake_pipeline.kernel.exact import is_label
from lake_pipeline.store import Store
from lake_pipeline.transforms import Transform

BUNDLED_REFERENCES = Path(__file__).parents[1] / "references"
# Each row is held against the edges of the areas whose box it lies in, and all of them are written into the query.
MAX_EDGES = 20_000


@dataclass(frozen=True)
class Edge:
    """A side of an area from its southern end (x, y) up to the latitude `top`; `slope` is longitude per latitude.

    The same for both neighbours that share a side, so that a point on a border lies in just one of them.
    """

    x: float
    y: float
    top: float
    slope: float


@dataclass(frozen=True)
class Area:
    """An area: its properties, its box (west, south, east, north) and its sides; holes are sides too."""

    properties: Mapping[str, Any]
    box: tuple[float, float, float, float]
    edges: tuple[Edge, ...]


References: TypeAlias = Mapping[str, tuple[Area, ...]]


def load_references(transform: Transform, store: Store) -> References:
    """The areas of every reference that the transform names.

    Raises:
        ReferenceInvalid: one is missing, is not GeoJSON areas, or lacks a property that is to be added.
    """
    return {
        item.reference: areas_of(_read(item.reference, store), item.reference, item.add) for item in transform.enrich
    }


def _read(name: str, store: Store) -> bytes:
    key = f"references/{name}.geojson"
    try:
        return store.get(key)
    except ObjectMissing:
        bundled = BUNDLED_REFERENCES / f"{name}.geojson"
        if bundled.is_file():
            return bundled.read_bytes()
        raise ReferenceInvalid(f"{key} is not in the store, and none of that name is bundled") from None


def areas_of(text: bytes, name: str, wanted: list[str]) -> tuple[Area, ...]:
    """The areas of a GeoJSON FeatureCollection of Polygons and MultiPolygons, in its order.

    Raises:
        ReferenceInvalid: it is something else, is too detailed, or lacks a wanted property or has no text in it.
    """
    try:
        document = json.loads(text)
        if document["type"] != "FeatureCollection":
            raise ValueError("it is no FeatureCollection")
        areas = tuple(_area(feature, wanted) for feature in document["features"])
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise ReferenceInvalid(f"{name}: {type(error).__name__}: {error}") from error
    if (edges := sum(len(area.edges) for area in areas)) > MAX_EDGES:
        raise ReferenceInvalid(f"{name}: {edges:,} sides are more than {MAX_EDGES:,}; simplify the areas")
    return areas


def _area(feature: Mapping[str, Any], wanted: list[str]) -> Area:
    properties = {key: feature["properties"][key] for key in wanted}
    for key, value in properties.items():
        if not isinstance(value, str) or not is_label(value):
            raise ValueError(f"property {key!r} is to be a short text, not {value!r}")
    geometry = feature["geometry"]
    if geometry["type"] not in ("Polygon", "MultiPolygon"):
        raise ValueError(f"{geometry['type']} is no area")
    polygons = [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]
    rings = [[_point(place) for place in ring] for polygon in polygons for ring in polygon]
    points = [point for ring in rings for point in ring]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    edges = tuple(edge for ring in rings for edge in _edges(ring))
    return Area(properties, (min(xs), min(ys), max(xs), max(ys)), edges)


def _point(place: list[Any]) -> tuple[float, float]:
    x, y = float(place[0]), float(place[1])
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError(f"{place} is no position")
    return x, y


def _edges(ring: list[tuple[float, float]]) -> Iterator[Edge]:
    for one, other in zip(ring, [*ring[1:], ring[0]], strict=True):
        (x, y), (end, top) = sorted((one, other), key=lambda point: point[1])
        if y != top:
            yield Edge(x, y, top, (end - x) / (top - y))
