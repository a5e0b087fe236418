"""An image in memory, read as one in a file is."""

import numpy as np
from numpy.typing import NDArray

from sparse_seg.classes import Image
from sparse_seg.errors import UserError
from sparse_seg.raster.readers import Raster


class ArrayRaster(Raster):
    """An image (H, W, bands) of uint8.

    Args:
        image: the array, which is not changed.
        bands: how many the network takes.

    Raises:
        UserError: another shape, type or number of bands.
    """

    def __init__(self, image: Image, bands: int) -> None:
        if image.ndim != 3 or image.shape[2] != bands or 0 in image.shape:
            raise UserError(f"image has the shape {image.shape}, but the network takes (height, width, {bands})")
        if image.dtype != np.uint8:
            raise UserError(f"image has pixels of type {image.dtype}, but the network takes uint8, 0 to 255")
        self.height, self.width, self.count = image.shape
        self._image = image

    def _read(self, row: int, col: int, height: int, width: int) -> tuple[Image, NDArray[np.bool_]]:
        return self._image[row : row + height, col : col + width].copy(), np.ones((height, width), np.bool_)
