"""What a data set is to the rest of the project: classes and a list of samples."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparse_seg.data.classes import Classes

Image = NDArray[np.uint8]
"""(H, W, 3) RGB."""
Mask = NDArray[np.uint8]
"""(H, W) class index, 255 = unlabelled."""


@dataclass(frozen=True)
class Sample:
    """One image with its mask, read when asked for.

    image_id: unique name, part of every point's random seed ("Tile 1/image_part_001").
    group: what `split=tile` holds out as a whole ("1").
    content: a string that changes whenever the pixels do (a SHA-256 of the files, say); keys the cache.
    read: returns (image, mask) at native resolution, equal in height and width.
    """

    image_id: str
    group: str
    content: str
    read: Callable[[], tuple[Image, Mask]]


@dataclass(frozen=True)
class ImageSet:
    """A data set: its classes and its samples. Reading one needs no torch, so bad data is refused at once."""

    classes: Classes
    samples: Sequence[Sample]
