"""Whether numbers that are taken for pixels can be pixels, or what they look like instead."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sparse_seg.points.records import Place, Point

UNKNOWN = 2**31
"""Size of an image that cannot be opened."""
FEW = 10
"""Fewer points than this may lie anywhere."""


@dataclass(frozen=True)
class Positions:
    """Points on images of known size. xy: (N, 2) column, row. size: (N, 2) columns and rows of their image. image: (N,)
    number of the image.
    """

    xy: NDArray[np.float64]
    size: NDArray[np.float64]
    image: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.xy)

    @property
    def outside(self) -> NDArray[np.bool_]:
        return np.asarray(((self.xy < 0) | (self.xy >= self.size)).any(1))

    @property
    def different(self) -> int:
        """How many different positions there are, whichever image they lie on."""
        return len(np.unique(self.xy, axis=0))

    @property
    def fine(self) -> bool:
        """Whether most positions lie between pixels, not at their corners or in their middle."""
        return bool((np.mod(self.xy * 2, 1) != 0).any(1).mean() > 0.5)

    @property
    def spreads(self) -> NDArray[np.float64]:
        """(images with more than one position, 3): columns and rows that its points span, and how many there are."""
        rows = np.unique(np.column_stack([self.image, self.xy]), axis=0)
        starts = np.flatnonzero(np.diff(rows[:, 0], prepend=-1))
        low, high = (reduce.reduceat(rows[:, 1:], starts) for reduce in (np.minimum, np.maximum))
        counts = np.diff([*starts, len(rows)])
        return np.asarray(np.column_stack([high - low, counts])[counts > 1], np.float64)


def positions(points: Sequence[Point], keys: Sequence[str | None], places: Mapping[str, Place]) -> Positions:
    """The points whose image is known. keys: id of each one's image."""
    number = {key: k for k, key in enumerate(places)}
    known = [
        (p.x, p.y, places[k].width, places[k].height, number[k])
        for p, k in zip(points, keys, strict=True)
        if k in number and places[k].width < UNKNOWN
    ]
    table = np.asarray(known, np.float64).reshape(-1, 5)
    return Positions(table[:, :2], table[:, 2:4], table[:, 4].astype(np.int64))


def unflipped(points: Sequence[Point], keys: Sequence[str | None], places: Mapping[str, Place]) -> list[Point] | None:
    """Points with rows counted downwards, where y is the negative row: so QGIS shows images without a position.

    Returns None where this is not so: an image has a position, a y is above 0 or none below, or the points would then
    lie outside.
    """
    if not any(p.y < 0 for p in points) or any(p.y > 0 for p in points):
        return None
    if any(k in places and places[k].transform is not None for k in keys if k is not None):
        return None
    turned = [replace(p, y=-p.y) for p in points]
    here = positions(turned, keys, places)
    return turned if len(here) and here.outside.mean() <= 0.5 else None


def doubt(here: Positions, skip: bool = False) -> str:
    """What positions look like if not like pixels, "" where they may be pixels.

    Points at whole and half pixels are believed more than others, and few points are believed unless their numbers can
    be nothing else.

    Args:
        here: the positions.
        skip: whether points outside of their image may be left out; then a few of them say nothing of the others.
    """
    if not len(here):
        return ""
    low, high = here.xy.min(0), here.xy.max(0)
    ranges = f"x {low[0]:.7g} to {high[0]:.7g}, y {low[1]:.7g} to {high[1]:.7g}"
    degrees = bool(here.fine and (np.abs(here.xy) <= 180).all() and (np.abs(here.xy).min(1) <= 90).all())
    # On a picture nobody clicks so close together.
    spreads = here.spreads
    close = here.different >= 4 and np.ptp(here.xy, axis=0).max() <= 2
    close |= len(spreads) > 0 and (spreads[:, :2] <= 1).all() and (spreads[:, 2] - 1).sum() >= 3
    percent = len(here) >= FEW and here.fine and low.min() >= 0 and high.max() <= 100 and high.min() >= 80
    percent &= here.outside.sum() > 2 * skip or np.log10(1e4 / here.size.clip(100).prod(1)).sum() < -6
    if here.outside.mean() > 0.5:
        if degrees and (close or (low < 0).any()):
            return f"{ranges} look like longitude and latitude, not like pixels"
        if len(here) >= 3 and not ((here.xy[:, ::-1] < 0) | (here.xy[:, ::-1] >= here.size)).any():
            return f"{ranges} lie outside of their images, but would lie inside with x and y exchanged"
        if (np.abs(here.xy).max(1) > 20 * here.size.max(1)).all() and np.abs(high).max() > 10_000:
            return f"{ranges} look like map coordinates in metres, not like pixels"
    if percent:
        return f"{ranges} look like percent of the image, not like pixels: none is above 100"
    if here.outside.mean() > 0.5:
        return ""
    least = here.size.min()
    if least >= 8 and here.fine and here.different > 1 and low.min() >= 0 and high.max() <= 1:
        return f"{ranges} look like fractions of the image, not like pixels"
    if least >= 32 and here.fine and close:
        what = "longitude and latitude" if degrees else "map coordinates"
        return f"{ranges} look like {what}, not like pixels: the points of an image lie within a pixel or two"
    if len(here) < FEW:
        return ""
    corner = least >= 64 and (here.xy < here.size / 8).all()
    if corner and here.different >= FEW and (here.fine or len(np.unique(here.image)) > 1):
        return (
            f"{ranges}: all {len(here)} points lie in the upper left corner of their image, as if made on smaller ones"
        )
    return ""
