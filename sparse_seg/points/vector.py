"""Points in GeoJSON: map coordinates, taken to pixels by each raster's position, or pixels themselves."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sparse_seg.errors import UserError, brief
from sparse_seg.points.onmap import Record, maps_of, on_images
from sparse_seg.points.records import ALIASES, IMAGE, PIXEL, Bad, Images, Point, as_source
from sparse_seg.points.text import read_text

WGS84 = "OGC:CRS84"
"""What GeoJSON is in by its standard, RFC 7946: longitude, latitude."""


def read_geojson(path: Path, images: Images, bad: Bad) -> Iterator[Point]:
    """The points of a FeatureCollection in pixels of their image.

    A feature is a Point with the properties class and image; in map coordinates `image` may be left out, then the
    image that the point lies on is meant, see `on_images`. For crs see `read_own_points`.
    """
    text, content = _load(path)
    stated = images.source() or _stated_crs(path, content)
    source = stated or (WGS84 if maps_of(images.places) else PIXEL)
    records = list(_records(path, text, content, bad))
    if source != PIXEL:
        yield from on_images(path, source, records, images, bad)
        return
    for where, image, x, y, label in records:
        if not stated:
            _check_plane(path, image, x, y, images)
        yield Point(where, image, x, y, label)


def _check_plane(path: Path, image: str | None, x: float, y: float, images: Images) -> None:
    """Raise UserError if a point can hardly be a pixel, and the images have coordinates that nobody named."""
    key = images.names.find(image) if image else None
    near = list(images.places.values()) if image is None else [images.places[key]] if key is not None else []
    if any(p.transform is not None and not (0 <= x < p.width and 0 <= y < p.height and image) for p in near):
        raise UserError(
            f"{path} does not say what its coordinates are in, and the images have some of their own, without a CRS\n"
            f"say data.points_crs={IMAGE} if the points are in the images' own coordinates, data.points_crs={PIXEL} if "
            "they are columns and rows"
        )


def _features(path: Path, text: str, content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The features of a FeatureCollection, each with its file and line."""
    decoder, start = json.JSONDecoder(), re.search(r'"features"\s*:\s*\[', text)
    at = start.end() if start else len(text)
    line, counted = 1, 0
    for number, feature in enumerate(content["features"], 1):
        where = f"{path}, feature {number}"
        skipped = re.compile(r"[\s,]*").match(text, at)
        at = skipped.end() if skipped else at
        try:
            _, end = decoder.raw_decode(text, at)
            line, counted = line + text.count("\n", counted, at), at
            where = f"{path}, line {line}, feature {number}"
            at = end
        except json.JSONDecodeError:
            pass  # the list was not where it seemed to be
        if not isinstance(feature, dict):
            raise UserError(f"{where}: {brief(feature)} is no feature")
        yield where, feature


def _load(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = read_text(path, "JSON file")
    except FileNotFoundError:
        raise UserError(f"the file of points {path} does not exist") from None
    try:
        content = json.loads(text)
    except json.JSONDecodeError as e:
        raise UserError(f"{path}, line {e.lineno}: no JSON ({e.msg})") from e
    except RecursionError:
        raise UserError(f"{path} is nested too deep to be GeoJSON") from None
    except ValueError as e:  # a number of thousands of digits
        raise UserError(f"{path} cannot be read: {e}") from e
    if not isinstance(content, dict) or not isinstance(content.get("features"), list):
        raise UserError(f"{path} is no GeoJSON FeatureCollection: it has no list of features")
    return text, content


def _property(feature: Mapping[str, Any], key: str) -> str | None:
    given = feature.get("properties")
    properties = {str(k).lower(): v for k, v in given.items()} if isinstance(given, dict) else {}
    value = next((properties[a] for a in ALIASES[key] if properties.get(a) is not None), None)
    if isinstance(value, dict | list):
        return brief(value)
    return None if value is None else str(value).strip()


def _records(path: Path, text: str, content: dict[str, Any], bad: Bad) -> Iterator[Record]:
    for where, feature in _features(path, text, content):
        geometry = feature.get("geometry")
        kind = geometry.get("type") if isinstance(geometry, dict) else None
        if not isinstance(geometry, dict) or kind != "Point":
            bad.found("that are no Point", f"{where}: geometry {brief(kind)} must be a Point")
            continue
        position = geometry.get("coordinates")
        try:
            if not isinstance(position, list):
                raise ValueError
            x, y = (float(v) for v in position[:2])
            if not (math.isfinite(x) and math.isfinite(y)):
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            bad.found("without a position", f"{where}: coordinates {brief(position)} must be two numbers")
            continue
        yield Record(where, _property(feature, "image"), x, y, _property(feature, "class") or "")


def _stated_crs(path: Path, content: Mapping[str, Any]) -> str | None:
    member = content.get("crs")
    try:
        return None if member is None else as_source(str(member["properties"]["name"]))
    except (TypeError, KeyError):
        raise UserError(
            f"{path}: the CRS {brief(member)} cannot be understood; say it with data.points_crs=EPSG:NUMBER"
        ) from None
