"""Sparse points: which pixels of a training mask the model may see.

Points are drawn once per (seed, image, class) at the image's native resolution, kept as an artefact (`points.csv`)
and mapped to the training resolution by coordinate. They are nested: the first 5 of 20 points are the 5 points.
"""

import csv
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse_seg.classes import IGNORE_INDEX, Mask
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

    The same (seed, image_id) gives the same points whatever else is sampled, and fewer points are a prefix, per class,
    of more.

    Args:
        mask: (H, W) uint8, 255 = unlabelled.
        points: pixels per class, at least 1; a class with fewer gives what it has.
        seed: of the run.
        image_id: of the image.

    Returns:
        (N, 3) int64 of row, column, class, ordered by draw, then by class.

    Raises:
        ValueError: `points` is below 1.

    Example:
        >>> sample_points(np.array([[0, 0, 255], [1, 1, 1]], np.uint8), points=1, seed=0, image_id="a").tolist()
        [[0, 1, 0], [1, 0, 1]]
    """
    return sample_windows([mask], points, seed, image_id)[0]


def sample_windows(windows: Sequence[Mask], points: int, seed: int, image_id: str) -> list[Points]:
    """Draw up to `points` pixels of every class in an image that is cut into windows, looking at one at a time.

    Args:
        windows: masks as `sample_points` has them. The draws are those of the image that has one below the other.
        points: pixels per class of the whole image.
        seed: of the run.
        image_id: of the whole image.

    Returns:
        Of each window what `sample_points` returns, in its own pixels.

    Raises:
        ValueError: `points` is below 1.
    """
    if points < 1:
        raise ValueError(f"points must be a positive integer, got {points!r}")
    # (windows, classes): how many pixels of each class lie in each window.
    counts = np.array([np.bincount(w.ravel(), minlength=256)[:IGNORE_INDEX] for w in windows])
    found: list[list[tuple[int, int, int]]] = [[] for _ in windows]  # draw, class, position
    for c in np.flatnonzero(counts.sum(0)).tolist():
        ends = np.cumsum(counts[:, c])
        drawn = np.array(_draw(int(ends[-1]), points, generator(seed, image_id, c)))
        holders = np.searchsorted(ends, drawn, side="right")
        for k in np.unique(holders).tolist():
            mine = np.flatnonzero(holders == k)
            positions = np.flatnonzero(windows[k].ravel() == c)[drawn[mine] - (ends[k] - counts[k, c])]
            found[k] += zip(mine.tolist(), [c] * len(mine), positions.tolist(), strict=True)
    return [_by_draw(entries, w.shape[1]) for entries, w in zip(found, windows, strict=True)]


def _by_draw(entries: list[tuple[int, int, int]], width: int) -> Points:
    """Entries of draw, class and position → points in their order."""
    rows = [(*divmod(position, width), label) for _, label, position in sorted(entries)]
    return np.asarray(rows, np.int64).reshape(-1, 3)


Cells = tuple[NDArray[np.int32], NDArray[np.uint8]]
"""Flat positions in a mask, ascending, and the class of each."""


def points_to_cells(points: Points, native: tuple[int, int], size: tuple[int, int]) -> Cells:
    """Map points to another resolution by coordinate. Where two points fall into one cell, the first one stays.

    Args:
        points: (N, 3 or more), in order of precedence.
        native: (H, W) of the image that they were drawn on.
        size: (H, W) of the result.

    Returns:
        The cells that hold a point and their classes.
    """
    rows = points[:, 0] * size[0] // native[0]
    cols = points[:, 1] * size[1] // native[1]
    # numpy promises no order for several assignments to one cell, so pick the first point of each.
    cells, first = np.unique(rows * size[1] + cols, return_index=True)
    return cells.astype(np.int32), points[first, 2].astype(np.uint8)


def points_to_mask(points: Points, native: tuple[int, int], size: tuple[int, int]) -> Mask:
    """As `points_to_cells`, as a mask: (H, W) uint8, 255 where there is no point."""
    mask = np.full(size, IGNORE_INDEX, np.uint8)
    cells, labels = points_to_cells(points, native, size)
    mask.flat[cells] = labels
    return mask


def write_points(path: Path, points: Mapping[str, Points], class_names: Iterable[str]) -> None:
    """Write `points.csv` with the columns image, row, col, class (a name), through a file beside it."""
    names = list(class_names)
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f)
        writer.writerow(["image", "row", "col", "class"])
        for image_id, rows in points.items():
            writer.writerows([image_id, r, c, names[k]] for r, c, k in rows.tolist())
