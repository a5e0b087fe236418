"""Masks opened at the pixels of their images."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from sparse_seg.errors import UserError
from sparse_seg.raster.formats import Header
from sparse_seg.raster.held import MOST, Held, Valid, Values, Windowed, decoded
from sparse_seg.raster.placed import Grid, Placement, place_of
from sparse_seg.raster.readers import GeoTiff, gdal_env, open_geotiff, reader_of


class Aligned(Held):
    """A mask read at the positions of another grid, of each pixel the nearest."""

    def __init__(self, held: Held, placement: Placement) -> None:
        self._held, self._placement = held, placement
        self.path, self.coloured, self.table = held.path, held.coloured, held.table
        self.nodata, self.lossy = held.nodata, held.lossy
        self.height, self.width = placement.grid.height, placement.grid.width

    def read(self, row: int, col: int, height: int, width: int) -> tuple[Values, Valid]:
        rows, cols = self._placement.nearest(row, col, height, width)
        inside = rows >= 0
        if not inside.any():
            return np.zeros((height, width), np.uint8), inside
        (top, left), (bottom, right) = ((f(rows[inside]), f(cols[inside])) for f in (np.min, np.max))
        size = int(bottom - top + 1), int(right - left + 1)
        if size[0] * size[1] > MOST and height * width > 1:
            half = (height + 1) // 2, (width + 1) // 2
            if height >= width:
                parts = [(row, col, half[0], width), (row + half[0], col, height - half[0], width)]
            else:
                parts = [(row, col, height, half[1]), (row, col + half[1], height, width - half[1])]
            both = [self.read(*part) for part in parts]
            values, valid = (np.concatenate(v, axis=int(height < width)) for v in zip(*both, strict=True))
            return values, valid
        values, valid = self._held.read(int(top), int(left), *size)
        at = np.where(inside, rows - top, 0), np.where(inside, cols - left, 0)
        return values[at], valid[at] & inside


@contextmanager
def open_held(path: Path, grid: Grid | None = None) -> Iterator[Held]:
    """Open a mask.

    Args:
        path: the file.
        grid: the image's pixels. Where both state a position, the mask is read at the image's; else it must be equally
            large. None: the mask by itself.

    Raises:
        UserError: the file is damaged, its size differs, or it lies elsewhere.
    """
    # GDAL's memory is limited as for images, and stays so for as long as the mask is open.
    if issubclass(reader_of(path), GeoTiff):
        with gdal_env(), open_geotiff(path) as file:
            yield _on(Windowed(path, file), path, grid)
    else:
        yield _on(decoded(path, *stamp(path)), path, grid)


def _on(held: Held, path: Path, grid: Grid | None) -> Held:
    placement = None if grid is None else placement_of(path, grid)
    return held if placement is None else Aligned(held, placement)


def placement_of(path: Path, grid: Grid, header: Header | None = None, image: str = "the image") -> Placement | None:
    """How a mask is read at the positions of an image; None where its pixels are the image's.

    header: of the mask, where it was read before. image: what messages call the image.

    Raises UserError as `open_held` does.
    """
    mask = reader_of(path).header(path) if header is None else header
    if grid.transform is None or mask.transform is None:
        if (mask.height, mask.width) != (grid.height, grid.width):
            raise UserError(
                f"{image} is {grid.width}×{grid.height} but its mask {path} is {mask.width}×{mask.height} "
                "(width × height)\nthey must be equal: is this the mask of another image?"
            )
        return None
    placement = Placement(grid, mask)
    if placement.is_same:
        return None
    if not placement.overlaps:
        raise UserError(
            f"{image} covers {place_of(grid)}, but its mask {path} lies elsewhere: {place_of(mask)}; "
            "write it with the image's position or with none"
        )
    return placement


def stamp(path: Path) -> tuple[int, int]:
    """Of a file's content, as far as one process needs to know whether it is the same. Raises UserError."""
    try:
        stat = path.stat()
    except OSError as error:
        raise UserError(f"cannot open {path}: {error.strerror}") from error
    return stat.st_mtime_ns, stat.st_size
