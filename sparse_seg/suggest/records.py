"""What is suggested, and the image that it lies in."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_seg.suggest.thumbnail import Thumbnail


@dataclass
class Seen:
    """What the network's pass over one image leaves. name: what the table calls it. candidates: as `choose` takes them.
    apart: pixels between two suggestions. crs, transform: as `Raster`'s."""

    path: Path
    name: str
    thumbnail: Thumbnail
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
