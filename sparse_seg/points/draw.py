"""Sparse points: which pixels of a training mask the model may see.

Points are drawn once per (seed, image, class) at the image's native resolution, kept as an artefact (`points.csv`)
and mapped to the training resolution by coordinate. They are nested: the first 5 of 20 points are the 5 points.
"""

import csv
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse_seg.classes import IGNORE_INDEX, Mask
from sparse_seg.errors import UserError
from sparse_seg.files import replacing

Points = NDArray[np.int64]
"""(N, 3): row, column, class; in the order they were drawn."""

CHUNK = 256


def generator(seed: int, image_id: str, class_index: int) -> np.random.Generator:
    name = int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8], "little")
    return np.random.default_rng([seed, name, class_index])


def _draw(size: int, count: int, rng: np.random.Generator) -> list[int]:
    """The first `count` different values of an endless uniform stream over range(size)."""
    drawn: dict[int, None] = {}
    while len(drawn) < min(count, size):
        # A fixed chunk keeps the stream, and so the nesting, independent of `count`.
        drawn.update(dict.fromkeys(rng.integers(size, size=CHUNK).tolist()))
    return list(drawn)[:count]


def sample_points(mask: Mask, points: int, seed: int, image_id: str) -> Points:
    """Draw up to `points` pixels of every class in a mask.

    mask: (H, W) uint8, 255 = unlabelled. Returns (N, 3) int64 of row, column, class, ordered by draw, then by class;
    a class with fewer pixels gives what it has. The same (seed, image_id) gives the same points whatever else is
    sampled, and fewer points are a prefix, per class, of more. Raises ValueError if `points` is below 1.
    """
    if points < 1:
        raise ValueError(f"points must be a positive integer, got {points!r}")
    flat = mask.ravel()
    present = np.flatnonzero(np.bincount(flat, minlength=256)[:IGNORE_INDEX])
    order: list[int] = []
    position: list[int] = []
    label: list[int] = []
    for c in present.tolist():
        where = np.flatnonzero(flat == c)
        drawn = _draw(len(where), points, generator(seed, image_id, c))
        order += range(len(drawn))
        position += where[drawn].tolist()
        label += [c] * len(drawn)
    if not order:
        return np.empty((0, 3), np.int64)
    by_draw = np.lexsort((label, order))
    row, col = np.divmod(np.asarray(position)[by_draw], mask.shape[1])
    return np.stack([row, col, np.asarray(label)[by_draw]], axis=1).astype(np.int64)


def points_to_mask(points: Points, native: tuple[int, int], size: tuple[int, int]) -> Mask:
    """Map points to another resolution by coordinate.

    points: (N, 3), in order of precedence. native, size: (H, W) of the image that they were drawn on and of the result.
    Returns (H, W) uint8, 255 where there is no point. Where two points fall into one cell, the first one stays.
    """
    mask = np.full(size, IGNORE_INDEX, np.uint8)
    rows = points[:, 0] * size[0] // native[0]
    cols = points[:, 1] * size[1] // native[1]
    # numpy promises no order for several assignments to one cell, so pick the first point of each.
    cells, first = np.unique(rows * size[1] + cols, return_index=True)
    mask.flat[cells] = points[first, 2]
    return mask


def write_points(path: Path, points: Mapping[str, Points], class_names: Iterable[str]) -> None:
    """Write `points.csv` with the columns image, row, col, class (a name), through a file beside it."""
    names = list(class_names)
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f)
        writer.writerow(["image", "row", "col", "class"])
        for image_id, rows in points.items():
            writer.writerows([image_id, r, c, names[k]] for r, c, k in rows.tolist())


def read_points(path: Path, class_names: Iterable[str]) -> dict[str, Points]:
    """Read a `points.csv`: image, row, col, class (a name or an index), rows and columns in native pixels.

    Returns (N, 3) int64 per image, in the file's order. Raises UserError for a file that cannot be read or lacks
    a column and, with the line number, for a coordinate that is no whole number or an unknown class.
    """
    names = list(class_names)
    # Names win: a class may be called "1".
    index = {str(k): k for k in range(len(names))} | {name: k for k, name in enumerate(names)}
    found: dict[str, list[tuple[int, int, int]]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as f:
            reader = csv.DictReader(f)
            missing = {"image", "row", "col", "class"} - set(reader.fieldnames or ())
            if missing:
                raise UserError(f"{path}: no column {', '.join(sorted(missing))}; expected image, row, col, class")
            for record in reader:
                where = f"{path}, line {reader.line_num}"
                if not record["image"]:
                    raise UserError(f"{where}: no image")
                if record["class"] not in index:
                    raise UserError(f"{where}: unknown class {record['class']!r}; classes are {', '.join(names)}")
                try:
                    row, col = (int(np.int64(int(record[key]))) for key in ("row", "col"))
                except (TypeError, ValueError, OverflowError):
                    raise UserError(
                        f"{where}: row {record['row']!r}, col {record['col']!r} must be whole numbers"
                    ) from None
                found.setdefault(record["image"], []).append((row, col, index[record["class"]]))
    except FileNotFoundError:
        raise UserError(f"data.points_file={path} does not exist") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a UTF-8 table: {error}") from error
    return {image_id: np.asarray(rows, np.int64) for image_id, rows in found.items()}
