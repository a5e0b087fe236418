"""Where the pixels of one raster lie in another, by the positions that both state."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sparse_seg.raster.geofile import gdal_env

SAME = 0.5
"""Pixels by which the corners of two grids may differ: within it, the nearest pixel is the one of the same number."""
TINY = 1e-6
"""Pixels. Centres on the edge of two pixels belong to the one below and to the right, whatever the rounding."""

Floats = NDArray[np.float64]


class Grid(Protocol):
    """The pixels of a raster. crs: rasterio's or None. transform: of pixel (column, row) to the CRS, or None."""

    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def crs(self) -> Any: ...
    @property
    def transform(self) -> Any: ...


def known_crs(grid: Grid) -> Any:
    """The CRS of a raster, None where it has none or one that lies nowhere on Earth, such as a plane of its own."""
    crs = grid.crs
    return crs if crs is not None and (crs.is_geographic or crs.is_projected) else None


class Placement:
    """From the pixels of `grid` to those of `other`; both have a transform. Where one has no CRS, it is the other's."""

    def __init__(self, grid: Grid, other: Grid) -> None:
        self.grid, self.other = grid, other
        crs, others = known_crs(grid), known_crs(other)
        self._one_crs = crs is None or others is None or crs == others
        self._inverse = ~other.transform

    def __call__(self, cols: Floats, rows: Floats) -> tuple[Floats, Floats]:
        """Columns and rows of points in `grid` → those in `other`; infinite where there is none."""
        x, y = _apply(self.grid.transform, cols, rows)
        if not self._one_crs:
            moved = _moved(self.grid.crs, self.other.crs, np.ravel(x), np.ravel(y))
            x, y = (v.reshape(cols.shape) for v in moved)
        return _apply(self._inverse, x, y)

    def nearest(self, row: int, col: int, height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row and column in `other` of each pixel's centre in a window of `grid`; -1 where it lies outside."""
        x, y = np.meshgrid(np.arange(col, col + width) + 0.5, np.arange(row, row + height) + 0.5)
        cols, rows = self(x, y)
        with np.errstate(invalid="ignore"):
            cols, rows = np.floor(cols + TINY), np.floor(rows + TINY)
            inside = (rows >= 0) & (rows < self.other.height) & (cols >= 0) & (cols < self.other.width)
        return np.where(inside, rows, -1).astype(np.int64), np.where(inside, cols, -1).astype(np.int64)

    @property
    def is_same(self) -> bool:
        """Whether the pixels are the same, within SAME."""
        if (self.grid.height, self.grid.width) != (self.other.height, self.other.width):
            return False
        x, y = _edge(self.grid)
        cols, rows = self(x, y)
        return bool(max(np.abs(cols - x).max(), np.abs(rows - y).max()) <= SAME + TINY)

    @property
    def overlaps(self) -> bool:
        """Whether the two share more than half a pixel of each."""
        # Two parallelograms are apart if and only if they are so along an edge of one of them.
        return _within(self) and _within(Placement(self.other, self.grid))


def _apply(transform: Any, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Not by `*`, which newer versions of affine warn of."""
    with np.errstate(invalid="ignore"):
        return (
            transform.a * x + transform.b * y + transform.c,
            transform.d * x + transform.e * y + transform.f,
        )


def _moved(crs: Any, other: Any, xs: Floats, ys: Floats) -> tuple[Floats, Floats]:
    """Positions (N,) in one CRS → those in the other; infinite where it has none."""
    from rasterio.warp import transform

    try:
        with gdal_env():  # within it, PROJ does not write to the screen
            x, y = transform(crs, other, xs, ys)[:2]
    except Exception as error:  # rasterio's own class for this is private, and one bad position fails all
        if not type(error).__module__.startswith("rasterio"):
            raise
        if len(xs) == 1:
            return np.full(1, np.inf), np.full(1, np.inf)
        half = len(xs) // 2
        parts = [_moved(crs, other, xs[part], ys[part]) for part in (slice(half), slice(half, None))]
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    return np.asarray(x, np.float64), np.asarray(y, np.float64)


def _within(placement: Placement) -> bool:
    cols, rows = placement(*_edge(placement.grid))
    known = np.isfinite(cols) & np.isfinite(rows)
    if not known.any():
        return False
    cols, rows, other = cols[known], rows[known], placement.other
    wide = min(cols.max(), other.width) - max(cols.min(), 0)
    high = min(rows.max(), other.height) - max(rows.min(), 0)
    return bool(min(wide, high) >= SAME)


def _edge(grid: Grid) -> tuple[Floats, Floats]:
    """Columns and rows of points along the four edges, which are curves in another CRS."""
    along = np.linspace(0, 1, 21)
    zero, one = np.zeros_like(along), np.ones_like(along)
    return (
        np.concatenate([along, along, zero, one]) * grid.width,
        np.concatenate([zero, one, along, along]) * grid.height,
    )


def place_of(grid: Grid) -> str:
    """What a raster covers, in its own coordinates, for people."""
    x, y = _apply(grid.transform, *_edge(grid))
    crs = known_crs(grid)
    crs = "without a CRS" if crs is None else crs.to_string()
    crs = crs if len(crs) < 60 else "a CRS of its own"
    return f"x {x.min():.10g} to {x.max():.10g}, y {y.min():.10g} to {y.max():.10g} ({crs})"
