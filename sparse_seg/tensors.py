"""From pixels to what a network takes."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_float(images: NDArray[np.uint8], device: torch.device | str = "cpu") -> Tensor:
    """Images as a network takes them.

    Args:
        images: (..., H, W, bands) uint8, which may be read-only.
        device: where they go, before they become four times as large.

    Returns:
        (..., bands, H, W) float32 in 0..1; in memory the bands of a pixel still lie side by side.

    Example:
        >>> to_float(np.full((2, 4, 5, 3), 255, np.uint8)).shape
        torch.Size([2, 3, 4, 5])
    """
    pixels = torch.from_numpy(np.require(images, requirements=["C", "W"])).to(device)
    # float32 division of every value: the same figures on every machine.
    return pixels.movedim(-1, -3).float() / 255
