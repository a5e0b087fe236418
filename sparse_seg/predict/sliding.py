"""A network run over an image of any size: overlapping windows, their logits blended so that no seam shows."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sparse_seg.predict.windows import Windows, column_blocks, starts, within
from sparse_seg.tensors import to_float

Read = Callable[[int, int, int, int], tuple[NDArray[np.uint8], NDArray[np.bool_]]]


class Strip(NamedTuple):
    """A finished part of an image. row, col: its upper left pixel. logits: (K, h, w). valid: bool (h, w)."""

    row: int
    col: int
    logits: Tensor
    valid: NDArray[np.bool_]


def blend_weights(extent: int) -> Tensor:
    """(extent, extent) weights of a window's pixels: sin² in both directions, greatest in the middle, zero nowhere."""
    edge = torch.sin(math.pi * (torch.arange(extent, dtype=torch.float64) + 0.5) / extent) ** 2
    return torch.outer(edge, edge).float()


@torch.inference_mode()
def blended(
    read: Read,
    network: Callable[[Tensor], Tensor],
    size: tuple[int, int],
    classes: int,
    windows: Windows,
    batch_size: int = 4,
    device: torch.device | str = "cpu",
    advance: Callable[[int], None] = lambda n: None,
) -> Iterator[Strip]:
    """Segment an image window by window.

    read: (row, col, height, width) → image uint8 (h, w, B) and valid (h, w), as `Raster.read`. network: float32
    (N, B, window, window) in 0..1 → logits (N, classes, window, window). size: height and width of the image.
    advance: called with the number of windows that are done.

    Yields every pixel of the image once, as strips across a block of columns; logits are on the device, undefined where
    valid is False. What is held at a time depends on the window and the classes, not on the image. An image smaller
    than a window is continued by its reflection; windows without a valid pixel are skipped.
    """
    (height, width), extent = size, windows.extent
    weights = blend_weights(extent).to(device)
    rows, cols = starts(height, extent, windows.step), starts(width, extent, windows.step)
    for first, end in column_blocks(width, extent, classes):
        sums = torch.zeros(classes, min(extent, height), end - first, device=device)
        total = torch.zeros(sums.shape[1:], device=device)
        valid = np.zeros(tuple(sums.shape[1:]), np.bool_)
        inside = within(cols, extent, (first, end))
        for k, row in enumerate(rows):
            for i in range(0, len(inside), batch_size):
                batch, at = [], []
                for col in inside[i : i + batch_size]:
                    image, good = read(row, col, min(extent, height), min(extent, width))
                    here, there = _overlap(col, good.shape[1], first, end)
                    valid[:, here] |= good[:, there]
                    if good.any():
                        batch.append(_padded(image, extent))
                        at.append((here, there))
                if batch:
                    logits = _logits(network, np.stack(batch), windows, device) * weights
                    for (here, there), values in zip(at, logits, strict=True):
                        sums[:, :, here] += values[:, : sums.shape[1], there]
                        total[:, here] += weights[: sums.shape[1], there]
                advance(len(inside[i : i + batch_size]))
            done = rows[k + 1] - row if k + 1 < len(rows) else sums.shape[1]
            tiny = torch.finfo(total.dtype).tiny
            yield Strip(row, first, sums[:, :done] / total[:done].clamp_min(tiny), valid[:done].copy())
            for held in (sums, total, torch.from_numpy(valid)):
                kept = held[..., done:, :].clone()
                held.zero_()
                held[..., : kept.shape[-2], :] = kept


def _overlap(col: int, width: int, first: int, end: int) -> tuple[slice, slice]:
    """Of a window's columns those in the block, counted from the block's first and from the window's."""
    low, high = max(col, first), min(col + width, end)
    return slice(low - first, high - first), slice(low - col, high - col)


def _padded(image: NDArray[np.uint8], extent: int) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    if (height, width) == (extent, extent):
        return image
    return np.pad(image, ((0, extent - height), (0, extent - width), (0, 0)), mode="reflect")


def _logits(
    network: Callable[[Tensor], Tensor], images: NDArray[np.uint8], windows: Windows, device: torch.device | str
) -> Tensor:
    """(N, extent, extent, B) → float32 (N, K, extent, extent) at the scale of the image."""
    batch = to_float(images, device)
    resized = windows.extent != windows.window
    if resized:
        batch = F.interpolate(batch, size=(windows.window, windows.window), mode="bilinear", antialias=True)
    logits = network(batch).float()
    if resized:
        logits = F.interpolate(logits, size=(windows.extent, windows.extent), mode="bilinear")
    return logits
