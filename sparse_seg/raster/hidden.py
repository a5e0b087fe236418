"""What an alpha band hides of an image."""

import warnings
from pathlib import Path

import numpy as np

from sparse_seg.raster.formats import Raster
from sparse_seg.raster.warned import AlphaWarning

MOST = 2**22
"""Pixels of an alpha band that are looked at together."""


def warn_of_alpha(path: Path, raster: Raster, row: int, col: int, height: int, width: int) -> None:
    """Issue `AlphaWarning` if the alpha band of an image hides pixels of a window.

    Args:
        path: the image.
        raster: it, open.
        row, col, height, width: the window, within the image.

    Raises:
        UserError: the file is damaged.
    """
    count, levels = 0, set[int]()
    step = max(1, MOST // width)
    for top in range(row, row + height, step):
        alpha = raster.transparency(top, col, min(step, row + height - top), width)
        if alpha is None:
            return
        count += int(np.count_nonzero(alpha == 0))
        if len(levels) <= 2:
            levels.update(np.unique(alpha).tolist())
    if count:
        warnings.warn(AlphaWarning(path, count, len(levels) > 2), stacklevel=2)
