"""Points in GeoJSON: map coordinates, taken to pixels by each raster's position, or pixels themselves."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from sparse_seg.errors import UserError, brief
from sparse_seg.points.records import ALIASES, PIXEL, Bad, Images, Place, Point
from sparse_seg.raster.readers import gdal_env, import_rasterio, open_geotiff

WGS84 = "OGC:CRS84"
"""What GeoJSON is in by its standard, RFC 7946: longitude, latitude."""


def _features(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The features of a FeatureCollection, each with its file and line.

    Raises UserError for a file that cannot be read, no JSON or no FeatureCollection.
    """
    text, content = _load(path)
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
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text)
    except FileNotFoundError:
        raise UserError(f"the file of points {path} does not exist") from None
    except json.JSONDecodeError as e:
        raise UserError(f"{path}, line {e.lineno}: no JSON ({e.msg})") from e
    except RecursionError:
        raise UserError(f"{path} is nested too deep to be GeoJSON") from None
    except (OSError, ValueError) as e:  # of another encoding, or a number of thousands of digits
        raise UserError(f"{path} cannot be read: {e}") from e
    if not isinstance(content, dict) or not isinstance(content.get("features"), list):
        raise UserError(f"{path} is no GeoJSON FeatureCollection: it has no list of features")
    return text, content


def _property(feature: Mapping[str, Any], key: str) -> str | None:
    given = feature.get("properties")
    properties = {k.lower(): v for k, v in given.items()} if isinstance(given, dict) else {}
    value = next((properties[a] for a in ALIASES[key] if properties.get(a) is not None), None)
    if isinstance(value, dict | list):
        return brief(value)
    return None if value is None else str(value).strip()


def read_geojson(path: Path, images: Images, bad: Bad) -> Iterator[Point]:
    """The points of a FeatureCollection in pixels of their image.

    A feature is a Point with the properties class and image; in map coordinates `image` may be left out, then the
    image that the point lies on is meant (of several that overlap the first that has a pixel there, not no data). For
    crs see `read_own_points`.
    """
    names, places = images.names, images.places
    stated = _stated_crs(path, images.crs)
    maps = {key: place for key, place in places.items() if place.crs is not None and place.transform is not None}
    source = stated or (WGS84 if maps else PIXEL)
    if source != PIXEL and not maps:
        raise UserError(
            f"{path} is in {source}, but no image has a map position (a GeoTIFF with CRS)\n"
            "give data.points_crs=pixel if its coordinates are columns and rows"
        )
    records = list(_records(path, bad))
    columns = [] if source == PIXEL else list(_on_maps(path, source, records, maps))
    for k, (where, image, x, y, label) in enumerate(records):
        if source == PIXEL:
            yield Point(where, image, x, y, label)
            continue
        at = columns[k]
        if image is None:
            on = [n for n, (c, r) in at.items() if 0 <= c < maps[n].width and 0 <= r < maps[n].height]
            if len(on) > 1:
                on = [n for n in on if _has_pixel(maps[n], *at[n])] or on
            image = on[0] if on else None
            if image is None:
                bad.found("outside of every image", f"{where}: {x:g}, {y:g} ({source}) lies on none of the images")
                continue
        key = names.find(image) or image
        if key in places and key not in maps:
            bad.found("without a map", f"{where}: image {key!r} has no map position, and the point is in {source}")
            continue
        yield Point(where, image, *at.get(key, (0.0, 0.0)), label)


def _has_pixel(place: Place, col: float, row: float) -> bool:
    """Whether there is an image at a position within a raster, and not its nodata value or full transparency."""
    assert place.path is not None, "only images with a map position overlap"
    with gdal_env(), open_geotiff(place.path) as file:
        window = ((int(row), int(row) + 1), (int(col), int(col) + 1))
        return bool(file.read_masks(window=window).any())


def _records(path: Path, bad: Bad) -> Iterator[tuple[str, str | None, float, float, str]]:
    for where, feature in _features(path):
        geometry = feature.get("geometry")
        kind, position = None, None
        if isinstance(geometry, dict):
            kind, position = geometry.get("type"), geometry.get("coordinates")
        if kind != "Point":
            bad.found("that are no Point", f"{where}: geometry {brief(kind)} must be a Point")
            continue
        try:
            if not isinstance(position, list):
                raise ValueError
            x, y = (float(v) for v in position[:2])
            if not (math.isfinite(x) and math.isfinite(y)):
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            bad.found("without a position", f"{where}: coordinates {brief(position)} must be two numbers")
            continue
        yield where, _property(feature, "image"), x, y, _property(feature, "class") or ""


def _stated_crs(path: Path, crs: str | None) -> str | None:
    if crs:
        return PIXEL if crs.lower() in (PIXEL, "pixels") else crs
    member = _load(path)[1].get("crs")
    try:
        return None if member is None else str(member["properties"]["name"])
    except (TypeError, KeyError):
        raise UserError(
            f"{path}: the CRS {brief(member)} cannot be understood; say it with data.points_crs=EPSG:NUMBER"
        ) from None


def _on_maps(
    path: Path, source: str, records: list[tuple[str, str | None, float, float, str]], maps: Mapping[str, Place]
) -> Iterator[dict[str, tuple[float, float]]]:
    """For every point its (column, row) in every raster; each CRS is transformed to once."""
    rasterio, warp = import_rasterio(), import_module("rasterio.warp")
    xs, ys = [r[2] for r in records], [r[3] for r in records]
    try:
        with gdal_env():  # within it, PROJ does not write to the screen
            start = rasterio.crs.CRS.from_user_input(source)
            moved = {
                str(place.crs): _moved(warp.transform, start, place.crs, xs, ys)
                for place in {str(p.crs): p for p in maps.values()}.values()
            }
    except (rasterio.errors.RasterioError, rasterio.errors.CRSError) as e:
        raise UserError(
            f"{path}: the CRS {brief(source)} cannot be used ({e}); say it with data.points_crs=EPSG:NUMBER"
        ) from e
    inverse = {key: ~place.transform for key, place in maps.items()}
    for k in range(len(records)):
        yield {key: _pixel(inverse[key], *(axis[k] for axis in moved[str(p.crs)][:2])) for key, p in maps.items()}


def _moved(transform: Any, source: Any, target: Any, xs: list[float], ys: list[float]) -> tuple[Any, Any]:
    """xs, ys in another CRS; infinite where a position is none in it, as metres taken for degrees."""
    if not xs:
        return [], []
    try:
        moved = transform(source, target, xs, ys)
        return moved[0], moved[1]
    except Exception:  # PROJ's errors have no public class, and one bad point is enough
        if len(xs) == 1:
            return [math.inf], [math.inf]
        each = [_moved(transform, source, target, [x], [y]) for x, y in zip(xs, ys, strict=True)]
        return [x for (x,), _ in each], [y for _, (y,) in each]


def _pixel(inverse: Any, x: float, y: float) -> tuple[float, float]:
    """Map position → (column, row). Not by `*`, which newer versions of affine warn of."""
    return inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f
