"""Files of points: which reader a file has, and its points as pixels of images; every bad one is named, or counted."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse_seg.points.records import Bad, Place, Point
from sparse_seg.points.table import read_csv
from sparse_seg.points.vector import features, label_of, read_geojson


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
        points: Iterator[Point] = read_geojson(path, names, places, bad, crs)
    else:
        points = read_csv(path, bad)
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


def label_names(names: Sequence[str], indices: Sequence[int] | None) -> dict[str, int]:
    """What a file may call a class → its number: its name, or its index (that of the masks, where they have one)."""
    numbers = {str(i): k for k, i in enumerate(indices or range(len(names)))}
    return {name: k for k, name in enumerate(names)} | {n: k for n, k in numbers.items() if n not in names}


def used_labels(path: Path) -> list[str]:
    """The class names in a file, in order of appearance, without any check of the rest."""
    if path.suffix.lower() in (".geojson", ".json"):
        labels = [label_of(feature) for _, feature in features(path)]
    else:
        labels = [point.label for point in read_csv(path, Bad(skip=True))]
    return list(dict.fromkeys(label for label in labels if label))
