"""Files of points: a registry of formats, and the points of a file as pixels of images; every bad one is named, or
counted.

A format is a function that yields a file's points one by one:

    @register(".toy")
    def read_toy(path: Path, images: Images, bad: Bad) -> Iterator[Point]: ...

What it registers, every data set reads, and `inspect`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse_seg.errors import UserError, brief
from sparse_seg.points.foreign import advice
from sparse_seg.points.naming import Names, find_label, whole
from sparse_seg.points.plausible import FEW, doubt, positions, unflipped
from sparse_seg.points.records import PIXEL, Bad, Images, Place, Point
from sparse_seg.points.table import read_csv
from sparse_seg.points.text import nfc
from sparse_seg.points.vector import read_geojson

Reader = Callable[[Path, Images, Bad], Iterator[Point]]
_READERS: dict[str, Reader] = {}
_SNIFFED: list[tuple[Callable[[bytes], bool], Reader]] = []
_NAMES: list[str] = []


def register(*suffixes: str, sniff: Callable[[bytes], bool] | None = None) -> Callable[[Reader], Reader]:
    """Make a decorator that adds a format.

    Args:
        suffixes: of its files, in lower case with the dot; a folder's `points` with the first one is found unasked.
        sniff: whether the first 4096 bytes of a file with another suffix are such a file; the latest format is asked
            first.

    Returns:
        The decorator; it returns the reader as it is.
    """

    def add(reader: Reader) -> Reader:
        _READERS.update(dict.fromkeys(suffixes, reader))
        _NAMES.append(f"points{suffixes[0]}")
        if sniff is not None:
            _SNIFFED.insert(0, (sniff, reader))
        return reader

    return add


def default_names() -> tuple[str, ...]:
    """What a file of points is called that is found unasked: points.csv, points.geojson, one per format."""
    return tuple(_NAMES)


def reader_of(path: Path) -> Reader:
    """The reader of a file, by suffix, else by its first bytes.

    Raises:
        UserError: there is no such file, or no format fits.
    """
    if not path.exists():
        raise UserError(f"the file of points {path} does not exist")
    found, head = _READERS.get(path.suffix.lower()), b""
    if path.is_file():
        try:
            with path.open("rb") as file:
                head = file.read(4096)
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
        found = found or next((reader for sniff, reader in _SNIFFED if sniff(head)), None)
    way = advice(path, head)
    if found is None or (way and found in (read_csv, read_geojson)):
        known = f"a table or {', '.join(_READERS)}"
        raise UserError(f"{path} is no file of points that can be read: {known}{way and chr(10)}{way}")
    return found


def _is_text(head: bytes) -> bool:
    return b"\0" not in head


def _is_json(head: bytes) -> bool:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"


register(".csv", sniff=_is_text)(read_csv)
register(".geojson", ".json", sniff=_is_json)(read_geojson)


def read_own_points(
    path: Path,
    names: Mapping[str, str],
    places: Mapping[str, Place],
    labels: Mapping[str, int],
    bad: Bad,
    crs: str | None = None,
) -> dict[str, NDArray[np.int64]]:
    """Read a file of points in any registered format.

    Args:
        path: the file.
        names: what the file may call an image → its id.
        places: id → size and map position.
        labels: what the file may call a class → its number.
        bad: what becomes of points that cannot be used; it is told what else should be known of the file.
        crs: of the coordinates: map coordinates; "pixel" for columns and rows, which are then believed; "image" for the
            images' own coordinates, whatever they are. None: a table is in pixels, GeoJSON in what it says, else in
            longitude and latitude, or pixels where images have no map position.

    Returns:
        Per image (N, 4) int64: row, column, class and the number, from 0, among the points of its class in the image,
        in the file's order. A point that comes twice counts once.

    Raises:
        UserError: the file cannot be read; its numbers look like something else than pixels; or, naming file and line,
        an unknown image or class, a position that is no number or outside of the image, two classes on one pixel (the
        last three only if `bad` does not skip).
    """
    images = Images(Names(names), places, crs)
    points = _believed(path, list(reader_of(path)(path, images, bad)), images, bad)
    found: dict[str, dict[tuple[int, int], tuple[int, str]]] = {}
    clashes: set[tuple[str, tuple[int, int]]] = set()
    known = list(dict.fromkeys(labels.values()))
    title = {number: next(n for n, k in labels.items() if k == number) for number in known}
    used = 0
    for point in points:
        key = images.names.find(point.image) if point.image else None
        if key is None:
            why = images.names.why_not(point.image) if point.image else "no image"
            bad.found("of unknown images", f"{point.where}: {why}")
            continue
        label = find_label(labels, point.label)
        if label is None:
            classes = ", ".join(title.values())
            said = f"unknown class {brief(point.label.strip())}" if point.label.strip() else "no class"
            bad.found("of unknown classes", f"{point.where}: {said}; classes are {classes}")
            continue
        place = places[key]
        if not (0 <= point.x < place.width and 0 <= point.y < place.height):
            bad.found(
                "outside of their image",
                f"{point.where}: x={point.x:g}, y={point.y:g} (column, row) lies outside image {key!r}, which has "
                f"{place.width} columns and {place.height} rows",
            )
            continue
        pixel = int(point.y), int(point.x)
        used += 1
        before, line = found.setdefault(key, {}).setdefault(pixel, (label, point.where))
        if before != label:
            bad.found(
                "that contradict another one",
                f"{point.where}: row {pixel[0]}, column {pixel[1]} of image {key!r} is {title[label]} here "
                f"and {title[before]} in {line.removeprefix(f'{path}, ')}",
            )
            used -= 1
            clashes.add((key, pixel))
    _say_merged(path, used, used - sum(map(len, found.values())), images, points, bad)
    for key, pixel in clashes:
        bad.found("that contradict another one", "")
        del found[key][pixel]
    bad.said += [note for note in [images.names.note()] if note]
    return {key: _numbered([(*p, label) for p, (label, _) in pixels.items()]) for key, pixels in found.items()}


def _believed(path: Path, points: list[Point], images: Images, bad: Bad) -> list[Point]:
    """The points, if they can be pixels. Raises UserError if they look like something else and nobody is sure."""
    plain = [p for p in points if not p.placed]
    keys = [images.names.find(p.image) if p.image else None for p in plain]
    if len(plain) == len(points) and (turned := unflipped(plain, keys, images.places)) is not None:
        bad.said.append("all y are negative, as QGIS has them on images without a map position: row = -y")
        plain = points = turned
    if images.source() != PIXEL and (why := doubt(positions(plain, keys, images.places), bad.skip)):
        raise UserError(
            f"{path}: {why}\n"
            f"x and y of a point are columns and rows; points on a map are read from GeoJSON, or with data.points_crs="
            f"EPSG:NUMBER; if these are pixels, say data.points_crs={PIXEL}"
        )
    return points


def _say_merged(path: Path, used: int, merged: int, images: Images, points: Sequence[Point], bad: Bad) -> None:
    """Note how many points share a pixel. Raises UserError if most do, and nobody is sure."""
    if not merged:
        return
    said = f"{merged} of {used} points lie on a pixel that has one of the same class already, and count once"
    placed = any(p.placed for p in points)
    if used >= FEW and 2 * merged > used and not (bad.skip if placed else images.source() == PIXEL):
        way = "data.on_bad_point=skip" if placed else f"data.points_crs={PIXEL}"
        raise UserError(
            f"{path}: {merged} of {used} points lie on a pixel that has one of the same class already\n"
            f"were coordinates rounded, are they something else than pixels, or are lines repeated? If all is right, "
            f"say {way}"
        )
    bad.said.append(said)


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
    own = {nfc(name): k for k, name in enumerate(names)}
    return own | {n: k for n, k in numbers.items() if n not in own}


def used_labels(path: Path) -> list[str]:
    """The class names in a file, in order of appearance, without any check of the rest."""
    points = reader_of(path)(path, Images(Names({}), {}, PIXEL), Bad(skip=True))
    labels = list(dict.fromkeys(label for point in points if (label := nfc(point.label).strip())))
    indices = [whole(label) for label in labels]
    return list(dict.fromkeys(indices)) if all(index.isdecimal() for index in indices) else labels
