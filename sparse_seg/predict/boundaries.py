"""The outlines of an image's class map against those of its mask, block by block."""

import tempfile
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from sparse_seg.boundary import boundary_counts, boundary_distance
from sparse_seg.classes import IGNORE_INDEX, Mask

BLOCK = 4096
"""Side of what is looked at together, if the outlines leave half of it to count."""
MEMORY = 64 << 20
"""Bytes of a class map that are held in memory; a larger one lies in a temporary file."""

ReadMask = Callable[[int, int, int, int], Mask]


class KeptMap:
    """A class map in the making that is read again by windows: a byte per pixel, in a temporary file if it is large."""

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self._file = tempfile.SpooledTemporaryFile(max_size=MEMORY)  # noqa: SIM115 - closed by `close`

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def write(self, row: int, col: int, values: Mask) -> None:
        """Fill the rectangle whose upper left pixel is (row, col)."""
        for k, line in enumerate(np.ascontiguousarray(values)):
            self._file.seek((row + k) * self.width + col)
            self._file.write(line.tobytes())

    def read(self, row: int, col: int, height: int, width: int) -> Mask:
        """What was written there."""
        lines = np.empty((height, width), np.uint8)
        for k in range(height):
            self._file.seek((row + k) * self.width + col)
            lines[k] = np.frombuffer(self._file.read(width), np.uint8)
        return lines


def image_boundaries(said: ReadMask, truth: ReadMask, size: tuple[int, int], classes: int) -> NDArray[np.int64]:
    """Count the pixels in the intersection and in the union of the boundaries of one whole image.

    The image is gone through in blocks, each seen with as many more pixels around it as an outline is wide, so that the
    counts are those of the whole image.

    Args:
        said: (row, col, height, width) → class map, 255 where there is none. Such pixels are not counted.
        truth: likewise the mask, 255 = unlabelled.
        size: height and width of the image; the outline is 2 % of its diagonal wide.
        classes: number of classes.

    Returns:
        (2, classes): intersection and union, as `boundary_counts`.
    """
    (height, width), d = size, boundary_distance(*size)
    side = max(BLOCK - 2 * d, BLOCK // 2)
    total = np.zeros((2, classes), np.int64)
    for row in range(0, height, side):
        for col in range(0, width, side):
            top, left = max(0, row - d), max(0, col - d)
            bottom, right = min(height, row + side + d), min(width, col + side + d)
            part = (top, left, bottom - top, right - left)
            prediction, target = said(*part), truth(*part).copy()
            target[prediction == IGNORE_INDEX] = IGNORE_INDEX
            counted = slice(row - top, row - top + side), slice(col - left, col - left + side)
            maps = torch.from_numpy(prediction)[None], torch.from_numpy(target)[None]
            total += torch.stack(boundary_counts(*maps, classes, d, counted)).numpy()
    return total
