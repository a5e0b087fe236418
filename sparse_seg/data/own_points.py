"""Points of one's own: CSV in pixels, GeoJSON in map coordinates or pixels; every bad one is named, or counted."""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_seg.errors import UserError

ALIASES = {
    "image": ("image", "file", "filename", "image_id"),
    "row": ("row", "y"),
    "col": ("col", "column", "x"),
    "class": ("class", "label", "class_name"),
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """What points need to know of an image. height, width: pixels. crs, transform: of a GeoTIFF, as rasterio's, and
    its path.
    """

    height: int
    width: int
    crs: Any = None
    transform: Any = None
    path: Path | None = None


@dataclass(frozen=True)
class Point:
    """where: file and line. image: as the file says it, None where the map position decides. x, y: pixels (column, row)
    or map coordinates. label: class name or index as the file says it."""

    where: str
    image: str | None
    x: float
    y: float
    label: str


@dataclass
class Bad:
    """What becomes of points that cannot be used: an error, or with skip=True a count per reason."""

    skip: bool = False
    counts: dict[str, int] = field(default_factory=dict)

    def found(self, reason: str, message: str) -> None:
        if not self.skip:
            raise UserError(f"{message}\nmend it, or leave such points out with data.on_bad_point=skip")
        self.counts[reason] = self.counts.get(reason, 0) + 1

    def note(self, path: Path) -> str:
        """One line for the log, "" if there were none."""
        if not self.counts:
            return ""
        reasons = ", ".join(f"{n} {reason}" for reason, n in self.counts.items())
        return f"{path}: {sum(self.counts.values())} bad points left out: {reasons}"


def read_own_points(
    path: Path,
    names: Mapping[str, str],
    places: Mapping[str, Place],
    labels: Mapping[str, int],
    bad: Bad,
    crs: str | None = None,
) -> dict[str, NDArray[np.int64]]:
    """Read points.csv or points.geojson.

    names: what the file may call an image → its id. places: id → size and map position. labels: what the file may call
    a class → its number. crs: of GeoJSON coordinates, "pixel" for columns and rows, None for what the file says or
    else longitude and latitude, or pixels where images have no map position.

    Returns per image (N, 4) int64: row, column, class and the number, from 0, among the points of its class in the
    image, in the file's order. A point that comes twice counts once.

    Raises:
        UserError: the file cannot be read; or, naming file and line, an unknown image or class, a position that is no
        number or outside of the image, two classes on one pixel (the last three only if `bad` does not skip).
    """
    if path.suffix.lower() in (".geojson", ".json"):
        from sparse_seg.data.geojson import read_geojson

        points: Iterator[Point] = read_geojson(path, names, places, bad, crs)
    else:
        points = _read_csv(path, bad)
    found: dict[str, dict[tuple[int, int], tuple[int, str]]] = {}
    clashes: set[tuple[str, tuple[int, int]]] = set()
    known = list(dict.fromkeys(labels.values()))
    title = {number: next(n for n, k in labels.items() if k == number) for number in known}
    for point in points:
        key = names.get(str(point.image))
        if key is None:
            some = ", ".join(list(places)[:3])
            bad.found("of unknown images", f"{point.where}: no image {point.image!r}; names look like {some}")
            continue
        if point.label not in labels:
            classes = ", ".join(title.values())
            bad.found("of unknown classes", f"{point.where}: unknown class {point.label!r}; classes are {classes}")
            continue
        place = places[key]
        if not (0 <= point.x < place.width and 0 <= point.y < place.height):
            bad.found(
                "outside of their image",
                f"{point.where}: x={point.x:g}, y={point.y:g} (column, row) lies outside image {key!r}, which has "
                f"{place.width} columns and {place.height} rows",
            )
            continue
        pixel, label = (int(point.y), int(point.x)), labels[point.label]
        before, line = found.setdefault(key, {}).setdefault(pixel, (label, point.where))
        if before != label:
            bad.found(
                "that contradict another one",
                f"{point.where}: row {pixel[0]}, column {pixel[1]} of image {key!r} is {title[label]} here "
                f"and {title[before]} in {line.removeprefix(f'{path}, ')}",
            )
            clashes.add((key, pixel))
    for key, pixel in clashes:
        bad.found("that contradict another one", "")
        del found[key][pixel]
    return {key: _numbered([(*p, label) for p, (label, _) in pixels.items()]) for key, pixels in found.items()}


def _numbered(points: Sequence[tuple[int, int, int]]) -> NDArray[np.int64]:
    seen: dict[int, int] = {}
    rows = []
    for row, col, label in points:
        rows.append((row, col, label, seen.get(label, 0)))
        seen[label] = seen.get(label, 0) + 1
    return np.asarray(rows, np.int64).reshape(-1, 4)


def _read_csv(path: Path, bad: Bad) -> Iterator[Point]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as f:
            header = f.readline()
            f.seek(0)
            reader = csv.DictReader(f, delimiter=max(",;\t", key=header.count))
            columns = _columns(path, reader.fieldnames or ())
            for record in reader:
                where = f"{path}, line {reader.line_num}"
                values = {key: (record[name] or "").strip() for key, name in columns.items()}
                if not values["image"]:
                    bad.found("of unknown images", f"{where}: no image")
                    continue
                try:
                    x, y = float(values["col"]), float(values["row"])
                    if not (math.isfinite(x) and math.isfinite(y)):
                        raise ValueError
                except ValueError:
                    pair = f"{columns['col']} {values['col']!r}, {columns['row']} {values['row']!r}"
                    bad.found("without a position", f"{where}: {pair} must be numbers")
                    continue
                yield Point(where, values["image"], x, y, values["class"])
    except FileNotFoundError:
        raise UserError(f"the file of points {path} does not exist") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a UTF-8 table: {error}") from error


def _columns(path: Path, header: Sequence[str]) -> dict[str, str]:
    """Which column holds what. Raises UserError if one is missing or comes in two styles."""
    lower = {name.strip().lower(): name for name in header if name}
    columns = {}
    for key, aliases in ALIASES.items():
        given = [lower[a] for a in aliases if a in lower]
        if len(given) > 1 and key in ("row", "col"):
            raise UserError(f"{path}, line 1: the columns {given[0]} and {given[1]} mean the same; leave one out")
        if given:
            columns[key] = given[0]
    if missing := [key for key in ALIASES if key not in columns]:
        has = ", ".join(header) or "nothing"
        raise UserError(
            f"{path}, line 1: no column {' and no '.join('/'.join(ALIASES[m][:2]) for m in missing)}; it has {has}\n"
            "a header is image,x,y,class or image,row,col,class, in pixels"
        )
    return columns


def label_names(names: Sequence[str], indices: Sequence[int] | None) -> dict[str, int]:
    """What a file may call a class → its number: its name, or its index (that of the masks, where they have one)."""
    numbers = {str(i): k for k, i in enumerate(indices or range(len(names)))}
    return {name: k for k, name in enumerate(names)} | {n: k for n, k in numbers.items() if n not in names}


def used_labels(path: Path) -> list[str]:
    """The class names in a file, in order of appearance, without any check of the rest."""
    if path.suffix.lower() in (".geojson", ".json"):
        from sparse_seg.data.geojson import features, label_of

        labels = [label_of(feature) for _, feature in features(path)]
    else:
        labels = [point.label for point in _read_csv(path, Bad(skip=True))]
    return list(dict.fromkeys(label for label in labels if label))
