"""From map coordinates to pixels: each point in the rasters that it lies on."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparse_seg.errors import UserError, brief
from sparse_seg.points.records import IMAGE, Bad, Images, Place, Point
from sparse_seg.raster.readers import GEO_SUFFIXES, gdal_env, import_rasterio, open_geotiff, open_raster


class Record(NamedTuple):
    """A point as a file says it. where: file and line. image: None where the position decides. x, y: map coordinates
    or column and row. label: of the class.
    """

    where: str
    image: str | None
    x: float
    y: float
    label: str


def maps_of(places: Mapping[str, Place]) -> dict[str, Place]:
    """The images that lie on the globe: with a transform, and a CRS that others can be transformed to."""
    return {
        key: place
        for key, place in places.items()
        if place.transform is not None
        and place.crs is not None
        and (getattr(place.crs, "is_geographic", True) or getattr(place.crs, "is_projected", True))
    }


def on_images(path: Path, source: str, records: Sequence[Record], images: Images, bad: Bad) -> Iterator[Point]:
    """Points on the map in pixels of their image.

    Where a point does not name its image, the one that it lies on is meant; of several that overlap the first that has
    a pixel there, not no data.

    Args:
        path: the file.
        source: the CRS of its coordinates, or "image" for that of the images, whatever it is.
        records: its points.
        images: the images.
        bad: what becomes of points that lie on none.

    Raises:
        UserError: no image has a position, or the CRS cannot be used.
    """
    places = images.places
    maps = {k: p for k, p in places.items() if p.transform is not None} if source == IMAGE else maps_of(places)
    if not maps:
        raise _no_map(path, source, places)
    columns = _in_images(records, maps) if source == IMAGE else _on_maps(path, source, records, maps)
    for record, at in zip(records, columns, strict=True):
        where, image, x, y, label = record
        if image is None:
            on = [n for n, (c, r) in at.items() if 0 <= c < maps[n].width and 0 <= r < maps[n].height]
            if len(on) > 1:
                on = [n for n in on if _has_pixel(maps[n], *at[n])] or on
            if not on:
                bad.found("outside of every image", f"{where}: {x:g}, {y:g} ({source}) lies on none of the images")
                continue
            yield Point(where, on[0], *at[on[0]], label, placed=True)
            continue
        key = images.names.find(image)
        if key in places and key not in maps:
            bad.found("without a map", f"{where}: image {key!r} has no map position, and the point is in {source}")
            continue
        yield Point(where, image, *at.get(key or "", (0.0, 0.0)), label, placed=True)


def _no_map(path: Path, source: str, places: Mapping[str, Place]) -> UserError:
    said = f"{path} is in {source}, but no image has a map position (a GeoTIFF with CRS)"
    if any(place.transform is not None for place in places.values()):
        return UserError(
            f"{path} is in {source}, but the images have coordinates of their own, without a CRS\n"
            "say data.points_crs=image if the points are in the images' own coordinates, data.points_crs=pixel if they "
            "are columns and rows"
        )
    return UserError(f"{said}\ngive data.points_crs=pixel if its coordinates are columns and rows")


def _has_pixel(place: Place, col: float, row: float) -> bool:
    """Whether there is an image at a position within a raster, and not its nodata value or full transparency."""
    if place.path is None:
        return True
    if place.path.suffix.lower() not in GEO_SUFFIXES:
        return bool(_shown(place.path)[int(row), int(col)])
    with gdal_env(), open_geotiff(place.path) as file:
        window = ((int(row), int(row) + 1), (int(col), int(col) + 1))
        return bool(file.read_masks(window=window).any())


@lru_cache(maxsize=4)
def _shown(path: Path) -> NDArray[np.bool_]:
    """(H, W): where a PNG or JPEG, which is decoded as a whole, is not transparent."""
    with open_raster(path, scale=(0, 1)) as raster:
        return raster.read(0, 0, raster.height, raster.width)[1]


def _in_images(records: Sequence[Record], maps: Mapping[str, Place]) -> Iterator[dict[str, tuple[float, float]]]:
    inverse = {key: ~place.transform for key, place in maps.items()}
    for record in records:
        yield {key: _pixel(inverse[key], record.x, record.y) for key in maps}


def _on_maps(
    path: Path, source: str, records: Sequence[Record], maps: Mapping[str, Place]
) -> Iterator[dict[str, tuple[float, float]]]:
    """For every point its (column, row) in every raster; each CRS is transformed to once."""
    rasterio, warp = import_rasterio(), import_module("rasterio.warp")
    xs, ys = [r.x for r in records], [r.y for r in records]
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
