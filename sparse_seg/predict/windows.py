"""How an image is cut into overlapping windows. No torch."""

import math
from dataclasses import dataclass
from typing import Any

from sparse_seg.errors import UserError
from sparse_seg.networks.sizes import size_problem

MEMORY = 128 << 20
"""Bytes for the sums of overlapping logits; a wider image is done in blocks of columns. One window always fits."""


class Refused(UserError):
    """An argument that cannot be used. name, value: which one. why: what is wrong, and the way out.

    Example:
        >>> str(Refused("batch_size", 0, "must be at least 1"))
        'batch_size=0 must be at least 1'
    """

    def __init__(self, name: str, value: Any, why: str) -> None:
        super().__init__(f"{name}={value} {why}")
        self.name, self.value, self.why = name, value, why


@dataclass(frozen=True)
class Windows:
    """How an image is cut.

    Attributes:
        window: side of what the network sees, in its pixels.
        overlap: what neighbours share at least, in the same pixels.
        scale: pixels of the network per pixel of the image: 0.5 shows it twice the ground in half the detail.

    Raises:
        Refused: there is no advance from one window to the next.

    Example:
        >>> windows = Windows(256, 64, scale=0.5)
        >>> windows.extent, windows.step, windows.count(1000, 600, classes=5)
        (512, 384, 6)
    """

    window: int
    overlap: int
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.window:
            raise Refused("overlap", self.overlap, f"must be at least 0 and less than the window, {self.window}")
        if not (math.isfinite(self.scale) and 0 < self.scale <= self.window):
            raise Refused("scale", self.scale, "must be a positive number and not more than the window")

    @property
    def extent(self) -> int:
        """Side of a window in pixels of the image."""
        return max(1, round(self.window / self.scale))

    @property
    def step(self) -> int:
        """From one window to the next, in pixels of the image."""
        return max(1, self.extent - math.ceil(self.overlap / self.scale))

    def count(self, height: int, width: int, classes: int) -> int:
        """How many windows `blended` goes through."""
        rows, cols = (starts(n, self.extent, self.step) for n in (height, width))
        blocks = column_blocks(width, self.extent, classes)
        return len(rows) * sum(len(within(cols, self.extent, block)) for block in blocks)


def windows_of(
    window: int | None, overlap: int | None, scale: float, batch_size: int, size: int, multiple: int
) -> Windows:
    """The windows that arguments ask for.

    Args:
        window: side in pixels of the network; None for `size`.
        overlap: in the same pixels; None for a quarter of the window.
        scale: pixels of the network per pixel of the image.
        batch_size: windows at a time.
        size: what the network was trained at.
        multiple: what the network's images must be a multiple of.

    Raises:
        Refused: one of them cannot be used.
    """
    side = size if window is None else window
    if problem := size_problem(side, multiple):
        raise Refused("window", side, problem)
    if batch_size < 1:
        raise Refused("batch_size", batch_size, "must be at least 1")
    return Windows(side, side // 4 if overlap is None else overlap, scale)


def starts(length: int, extent: int, step: int) -> list[int]:
    """Where windows begin that cover 0..length; the last one ends with the image. [0] if one is enough.

    Example:
        >>> starts(1000, 512, 384)
        [0, 384, 488]
    """
    last = max(0, length - extent)
    return [*range(0, last, step), last]


def column_blocks(width: int, extent: int, classes: int) -> list[tuple[int, int]]:
    """Cut 0..width into (start, end), so that the sums over a block stay within MEMORY."""
    most = max(extent, MEMORY // (4 * (classes + 1) * extent))
    most = max(512, most // 512 * 512)  # what a GeoTIFF's tiles are written in
    return [(c, min(c + most, width)) for c in range(0, width, most)]


def within(cols: list[int], extent: int, block: tuple[int, int]) -> list[int]:
    """Of windows that begin at `cols` those that reach into a block of columns."""
    return [c for c in cols if c < block[1] and c + extent > block[0]]
