"""What a file of points says, point by point, and what becomes of those that cannot be used."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sparse_seg.errors import UserError
from sparse_seg.points.naming import Names

ALIASES = {
    "image": ("image", "file", "filename", "image_id"),
    "row": ("row", "y"),
    "col": ("col", "column", "x"),
    "class": ("class", "label", "class_name"),
}  # fmt: skip

PIXEL = "pixel"
"""As a CRS: columns and rows."""
IMAGE = "image"
"""As a CRS: the coordinates of the images, whatever these are."""


def as_source(crs: str) -> str:
    """A CRS as a user writes it; `pixel` and `image` in any case of letters."""
    return {PIXEL: PIXEL, "pixels": PIXEL, IMAGE: IMAGE, "images": IMAGE}.get(crs.strip().lower(), crs)


class Pointed(Protocol):
    """What points need to know of a sample; see `data.Sample`."""

    @property
    def image_id(self) -> str: ...
    @property
    def whole(self) -> str: ...
    @property
    def points(self) -> NDArray[np.int64] | None: ...
    @property
    def has_mask(self) -> bool: ...
    @property
    def offset(self) -> tuple[int, int]: ...


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
class Images:
    """What a reader of points may need to know of the images.

    names: what a file may call an image. places: id → size and map position. crs: of map coordinates, as the user says
    it, "pixel" for columns and rows, "image" for the images' own coordinates, None for what the file says.
    """

    names: Names
    places: Mapping[str, Place]
    crs: str | None = None

    def source(self) -> str | None:
        """What the user says that coordinates are in, None if nothing."""
        return as_source(str(self.crs)) if self.crs else None


@dataclass(frozen=True)
class Point:
    """where: file and line. image: as the file says it. x, y: pixels (column, row). label: class name or index as the
    file says it. placed: whether map coordinates became these pixels.
    """

    where: str
    image: str | None
    x: float
    y: float
    label: str
    placed: bool = False


@dataclass
class Bad:
    """What becomes of points that cannot be used: an error, or with skip=True a count per reason; and what else should
    be known of a file of points.
    """

    skip: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, on_bad_point: str) -> "Bad":
        """From the word that users give, "error" or "skip". Raises UserError for any other."""
        if on_bad_point not in ("error", "skip"):
            raise UserError(f"data.on_bad_point={on_bad_point!r} is unknown; choose error or skip")
        return cls(skip=on_bad_point == "skip")

    def found(self, reason: str, message: str) -> None:
        if not self.skip:
            raise UserError(f"{message}\nmend it, or leave such points out with data.on_bad_point=skip")
        self.counts[reason] = self.counts.get(reason, 0) + 1

    def note(self, path: Path) -> str:
        """One line for the log, "" if there is nothing to say."""
        reasons = ", ".join(f"{n} {reason}" for reason, n in self.counts.items())
        left = [f"{sum(self.counts.values())} bad points left out: {reasons}"] if self.counts else []
        return f"{path}: {'; '.join([*left, *self.said])}" if left or self.said else ""
