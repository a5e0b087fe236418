"""suggest.csv and suggest.geojson: what a person fills in and gives back as points. No torch."""

import csv
import io
import math
import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path, PurePath
from typing import Any

from sparse_seg.raster.readers import gdal_env, import_rasterio
from sparse_seg.suggest.records import Seen, Suggestion

TABLES = ("suggest.csv", "suggest.geojson")
COLUMNS = ("image", "row", "col", "class", "predicted", "entropy", "confidence")


def unique_names(images: Sequence[Path]) -> dict[Path, str]:
    """What the table calls each image: its file's name, with as many folders before it as set it apart."""
    parts = {p: Path(os.path.abspath(p)).parts for p in images}  # not resolve(): a link is called what it is called
    every = set(parts.values())
    k = next(k for k in range(1, max(map(len, every)) + 1) if len({q[-k:] for q in every}) == len(every))
    return {p: PurePath(*q[-k:]).as_posix() for p, q in parts.items()}


def rows_of(suggestions: Sequence[Suggestion], names: Sequence[str]) -> list[tuple[object, ...]]:
    """The lines of suggest.csv, as COLUMNS. names: of the classes."""
    return [
        (s.seen.name, s.row, s.col, s.label, names[s.predicted], f"{s.entropy:.4f}", f"{s.confidence:.4f}")
        for s in suggestions
    ]


def csv_of(rows: Sequence[Sequence[object]]) -> str:
    """The text of suggest.csv."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    return text.getvalue()


def geojson(suggestions: Sequence[Suggestion], names: Sequence[str]) -> dict[str, Any]:
    """A FeatureCollection of Points: longitude and latitude, or column and row of the pixel's centre where there are
    none, which the member crs says. `data=folder` reads it back once the property class is filled in.
    """
    features = []
    for s in suggestions:
        properties = {
            "number": s.number,
            "image": s.seen.name,
            "class": s.label or None,
            "predicted": names[s.predicted],
            "entropy": round(s.entropy, 4),
            "confidence": round(s.confidence, 4),
        }
        x, y = s.place or (s.col + 0.5, s.row + 0.5)
        geometry = {"type": "Point", "coordinates": [round(x, 9), round(y, 9)]}
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    pixels = {} if any(s.place for s in suggestions) else {"crs": {"type": "name", "properties": {"name": "pixel"}}}
    return {"type": "FeatureCollection", **pixels, "features": features}


def position(seen: Seen, row: int, col: int) -> tuple[float, float] | None:
    """Longitude and latitude of a pixel's centre; None where the image has none."""
    if seen.crs is None or seen.transform is None:
        return None
    t, (x, y) = seen.transform, (col + 0.5, row + 0.5)
    place = [t.a * x + t.b * y + t.c], [t.d * x + t.e * y + t.f]
    import_rasterio()
    with gdal_env():
        try:
            (longitude,), (latitude,) = import_module("rasterio.warp").transform(seen.crs, "OGC:CRS84", *place)[:2]
        except Exception:  # PROJ's errors have no public class: a local CRS, a place outside of the projection
            return None
    return (float(longitude), float(latitude)) if math.isfinite(longitude) and math.isfinite(latitude) else None
