"""A small picture of a large image and of what the network is unsure of in it."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sparse_seg.palette import rgb_of
from sparse_seg.raster.readers import Raster
from sparse_seg.suggest.candidates import entropy

SIDE = 1024
"""Longest side of an image's picture in pixels."""


class Thumbnail:
    """Every n-th pixel of an image and its entropy, NaN where there is no image."""

    def __init__(self, raster: Raster) -> None:
        self.raster = raster
        self.every = n = -(-max(raster.height, raster.width) // SIDE)
        self.image = np.zeros((-(-raster.height // n), -(-raster.width // n), 3), np.uint8)
        self.entropy = np.full(self.image.shape[:2], np.nan, np.float32)

    def add(self, row: int, col: int, logits: Tensor, valid: NDArray[np.bool_]) -> None:
        """Take in a strip, as `Candidates.add`."""
        n = self.every
        part = np.s_[-row % n :: n, -col % n :: n]
        image, _ = self.raster.read(row, col, *valid.shape)
        seen = rgb_of(image[part])
        values = entropy(logits[(slice(None), *part)]).cpu().numpy()
        values[~valid[part]] = np.nan
        here = np.s_[-(-row // n) :, -(-col // n) :]
        self.image[here][: seen.shape[0], : seen.shape[1]] = seen
        self.entropy[here][: seen.shape[0], : seen.shape[1]] = values
