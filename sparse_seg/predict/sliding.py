"""A network run over an image of any size: overlapping windows, their logits blended so that no seam shows."""

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
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
    than a window is continued by its reflection; windows without a valid pixel are skipped. A thread reads the next
    windows while the network has these.
    """
    (height, width), extent = size, windows.extent
    weights = blend_weights(extent).to(device)
    rows, cols = starts(height, extent, windows.step), starts(width, extent, windows.step)
    blocks = column_blocks(width, extent, classes)
    inside = {block: within(cols, extent, block) for block in blocks}
    batches = _ahead(
        partial(_batch, read, row, inside[block][i : i + batch_size], (min(extent, height), min(extent, width)), extent)
        for block in blocks
        for row in rows
        for i in range(0, len(inside[block]), batch_size)
    )
    for first, end in blocks:
        sums = torch.zeros(classes, min(extent, height), end - first, device=device)
        total = torch.zeros(sums.shape[1:], device=device)
        valid = np.zeros(tuple(sums.shape[1:]), np.bool_)
        for k, row in enumerate(rows):
            for _ in range(0, len(inside[first, end]), batch_size):
                images, places = next(batches)
                for col, good in places:
                    here, there = _overlap(col, good.shape[1], first, end)
                    valid[:, here] |= good[:, there]
                if images is not None:
                    logits = _logits(network, images, windows, device) * weights
                    shown = [(col, good) for col, good in places if good.any()]
                    for (col, good), values in zip(shown, logits, strict=True):
                        here, there = _overlap(col, good.shape[1], first, end)
                        sums[:, :, here] += values[:, : sums.shape[1], there]
                        total[:, here] += weights[: sums.shape[1], there]
                advance(len(places))
            done = rows[k + 1] - row if k + 1 < len(rows) else sums.shape[1]
            tiny = torch.finfo(total.dtype).tiny
            yield Strip(row, first, sums[:, :done] / total[:done].clamp_min(tiny), valid[:done].copy())
            for held in (sums, total, torch.from_numpy(valid)):
                kept = held[..., done:, :].clone()
                held[..., : kept.shape[-2], :] = kept
                held[..., kept.shape[-2] :, :] = 0


Batch = tuple[NDArray[np.uint8] | None, list[tuple[int, NDArray[np.bool_]]]]
"""(N, extent, extent, B) of the windows that show anything, None without one; of each window its column, and valid."""


def _batch(read: Read, row: int, cols: list[int], shape: tuple[int, int], extent: int) -> Batch:
    images, places = [], []
    for col in cols:
        image, good = read(row, col, *shape)
        places.append((col, good))
        if good.any():
            images.append(_padded(image, extent))
    return np.stack(images) if images else None, places


def _ahead(jobs: Iterable[Callable[[], Batch]]) -> Iterator[Batch]:
    """What jobs give, in order; a thread does the next one meanwhile, and no more than that."""
    with ThreadPoolExecutor(1) as thread:
        coming: Future[Batch] | None = None
        for job in jobs:
            ready, coming = coming, thread.submit(job)
            if ready is not None:
                yield ready.result()
        if coming is not None:
            yield coming.result()


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
    # Not channels last, as the network may have them: sums of overlapping windows take a third of the time then.
    logits = network(batch).to(torch.float32, memory_format=torch.contiguous_format)
    if resized:
        logits = F.interpolate(logits, size=(windows.extent, windows.extent), mode="bilinear")
    return logits
