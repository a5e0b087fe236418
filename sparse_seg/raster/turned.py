"""How the pixels of a file lie against the picture that it shows: the eight orientations of EXIF and TIFF."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Rectangle = tuple[int, int, int, int]
"""row, column, height, width."""


class Turn(NamedTuple):
    """From stored pixels to those that are shown: rows and columns are swapped first, then reversed.

    swap: rows are columns. up: the last row is the first. across: the last column is the first.
    """

    swap: bool = False
    up: bool = False
    across: bool = False

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width that are shown, of those stored; and the other way round."""
        return (width, height) if self.swap else (height, width)

    def window(self, shown: Rectangle, size: tuple[int, int]) -> Rectangle:
        """Where a window of what is shown is stored. size: height and width that are shown."""
        row, col, height, width = shown
        row = size[0] - row - height if self.up else row
        col = size[1] - col - width if self.across else col
        return (col, row, width, height) if self.swap else (row, col, height, width)

    def show(self, stored: NDArray[Any]) -> NDArray[Any]:
        """(..., H, W) as stored → as shown."""
        turned = np.swapaxes(stored, -1, -2) if self.swap else stored
        return turned[..., :: -1 if self.up else 1, :: -1 if self.across else 1]

    def transform(self, stored: Any, size: tuple[int, int]) -> Any:
        """The affine transform of shown pixels, made of that of stored ones. size: as in `window`."""
        x, y = (-1 if self.across else 1), (-1 if self.up else 1)
        left, top = (size[1] if self.across else 0), (size[0] if self.up else 0)
        a, b, c, d, e, f = tuple(stored)[:6]
        if self.swap:  # the stored column counts shown rows
            a, b, d, e = b, a, e, d
        return type(stored)(a * x, b * y, a * left + b * top + c, d * x, e * y, d * left + e * top + f)

    def place(self, row: float, col: float, size: tuple[int, int]) -> tuple[float, float]:
        """Row and column of a stored position, from the upper left corner, among those shown. size: as in `window`."""
        row, col = (col, row) if self.swap else (row, col)
        return size[0] - row if self.up else row, size[1] - col if self.across else col


UPRIGHT = Turn()
TURNS = {
    1: UPRIGHT,
    2: Turn(across=True),
    3: Turn(up=True, across=True),
    4: Turn(up=True),
    5: Turn(swap=True),
    6: Turn(swap=True, across=True),
    7: Turn(swap=True, up=True, across=True),
    8: Turn(swap=True, up=True),
}
"""By the number that EXIF and TIFF give as orientation (tag 274). Other numbers are upright, as for viewers."""
