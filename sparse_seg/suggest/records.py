"""What is suggested, and the image that it lies in. No torch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # it needs torch
    from sparse_seg.suggest.thumbnail import Thumbnail

PIXEL = np.dtype(
    [("score", "f4"), ("row", "i4"), ("col", "i4"), ("predicted", "u1"), ("truth", "u1"), ("entropy", "f4")]
    + [("confidence", "f4")]
)
"""predicted: class index that the network gives the pixel; truth: that of the mask, 255 without one. entropy: 0..1.
confidence: the probability of the class predicted."""

CRITERIA = ("entropy", "errors")


@dataclass
class Seen:
    """What the network's pass over one image leaves. name: what the table calls it. candidates: as `choose` takes them.
    apart: pixels between two suggestions. crs, transform: as `Raster`'s.
    """

    path: Path
    name: str
    thumbnail: "Thumbnail"
    candidates: NDArray[np.void]
    apart: float
    crs: Any
    transform: Any


@dataclass
class Suggestion:
    """number: from 1. row, col: pixels. label: class name from the mask, "" without one."""

    number: int
    seen: Seen
    row: int
    col: int
    label: str
    predicted: int
    entropy: float
    confidence: float
    place: tuple[float, float] | None = field(default=None)
    """Longitude and latitude of its centre."""
