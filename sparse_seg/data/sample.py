"""What a data set is to the rest of the project: classes and a list of samples."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sparse_seg.classes import Classes, Image, Mask


@dataclass(frozen=True)
class Sample:
    """One image with its mask, read when asked for.

    Args:
        image_id: unique name, part of every point's random seed ("Tile 1/image_part_001").
        group: what `split=tile` holds out as a whole ("1").
        content: a string that changes whenever the pixels do (a SHA-256 of the files, say); keys the cache.
        read: returns (image, mask) at native resolution, equal in height and width. Without a mask, the mask holds the
            points and 255.
        points: what the user labelled in it, (N, 4) int64 of row, column, class and the point's number, from 0, among
            those of its class in the whole image; None where points are drawn from the mask.
        has_mask: False where nothing but `points` is known.
        scene: the image that this one is a window of, "" if it is whole; windows of one image stay on one side of a
            split.
        offset: row and column of the window in it.
    """

    image_id: str
    group: str
    content: str
    read: Callable[[], tuple[Image, Mask]]
    points: NDArray[np.int64] | None = None
    has_mask: bool = True
    scene: str = ""
    offset: tuple[int, int] = (0, 0)

    @property
    def whole(self) -> str:
        """The id of the whole image."""
        return self.scene or self.image_id


@dataclass(frozen=True)
class ImageSet:
    """A data set: its classes and its samples. Reading one needs no torch, so bad data is refused at once.

    Args:
        classes: what a pixel can be.
        samples: the images.
        bands: the numbers of the files' bands that images were made of, for whoever labels new ones; None where they
            are RGB as they are.
        scale: the values that became 0 and 255, likewise.
        alpha: whether bands that are marked as alpha hid pixels, likewise.
        keep_empty: whether training windows without a labelled pixel take part.
        notes: what the user should know of it.
    """

    classes: Classes
    samples: Sequence[Sample]
    bands: tuple[int, ...] | None = None
    scale: tuple[float, float] | None = None
    alpha: bool = True
    keep_empty: bool = True
    notes: tuple[str, ...] = ()

    @cached_property
    def content(self) -> str:
        """What the samples are, as a digest that does not depend on their order; identifies the data set."""
        read = (self.classes, self.bands, self.scale, self.keep_empty, *(() if self.alpha else ("all bands",)))
        digest = hashlib.sha256(repr(read).encode())
        for s in sorted(self.samples, key=lambda s: s.image_id):
            points = None if s.points is None else s.points.tolist()
            digest.update(repr((s.image_id, s.group, s.content, s.has_mask, s.scene, s.offset, points)).encode())
        return digest.hexdigest()[:16]

    @property
    def channels(self) -> int:
        """Bands of each image."""
        return 3 if self.bands is None else len(self.bands)

    @property
    def scored_on(self) -> str:
        """What validation scores against: "masks", or held-out "points" where no sample has a mask."""
        return "masks" if any(s.has_mask for s in self.samples) else "points"
