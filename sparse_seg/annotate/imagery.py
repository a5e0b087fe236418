"""The images of a folder as a page looks at them: parts of any size, read at the zoom asked for. No torch."""

import threading
import weakref
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse_seg.errors import UserError
from sparse_seg.raster.formats import Raster, Scale, Window
from sparse_seg.raster.masks import Picture, probe
from sparse_seg.raster.readers import gdal_env, open_geotiff, open_raster

OPEN = 4
"""Images that are held open."""
SMALL = 4096
"""Side of an image that can be read as a whole for a look at it."""
KEPT = 2
"""Large images that are held small."""
SAMPLES = 12
"""Windows of an image that its values of black and white are told from."""


class Imagery:
    """The images of a folder. They are read by one thread, whoever asks: GDAL's settings belong to a thread.

    Args:
        paths: id → file.
        bands: the numbers of the bands to read; None: the usual ones.
        scale: what becomes black and white of pixels that are not uint8; None: told from each folder's first images.

    Attributes:
        pictures: id → header, of the images that can be opened.
        damaged: id → why one cannot.
    """

    def __init__(
        self, paths: Mapping[str, Path], bands: Sequence[int] | None = None, scale: Scale | None = None
    ) -> None:
        self.paths = dict(paths)
        self.bands, self.scale = bands, scale
        self.pictures: dict[str, Picture] = {}
        self.damaged: dict[str, str] = {}
        for key, path in self.paths.items():
            try:
                self.pictures[key] = probe(path)
            except UserError as error:
                self.damaged[key] = str(error)
        self._reader = ThreadPoolExecutor(1, "imagery", _keep_settings)
        self._open: OrderedDict[str, tuple[Raster, ExitStack]] = OrderedDict()
        self._small: dict[str, Window] = {}
        weakref.finalize(self, _close_later, self._reader, self._open)
        self.is_usual = bands is None and scale is None
        if scale is None:
            self.scale = self._usual_scale()

    @property
    def deep(self) -> list[str]:
        """The images whose pixels are not of eight bits, and so need a scale."""
        return [key for key, picture in self.pictures.items() if not picture.kind.startswith(EIGHT)]

    @property
    def version(self) -> int:
        """Changes with the bands and the scale."""
        return zlib.crc32(repr((tuple(self.bands or USUAL), self.scale)).encode())

    def look(self, bands: Sequence[int], scale: Scale | None = None) -> None:
        """Read other bands from now on. scale: None: told anew from the images.

        Raises:
            UserError: another number of bands, one that an image does not have, or white that is not above black.
        """
        count = len(self.bands or USUAL)
        if len(bands) != count or len(set(bands)) != count:
            raise UserError(f"bands {' '.join(map(str, bands))}: the map is made of {count} different ones")
        for key, picture in self.pictures.items():
            if not 1 <= min(bands) <= max(bands) <= picture.bands:
                raise UserError(f"bands {' '.join(map(str, bands))}: {key} has {picture.bands}, counted from 1")
        if scale is not None and not scale[0] < scale[1]:
            raise UserError(f"white, {scale[1]:g}, must be above black, {scale[0]:g}")
        self.bands = tuple(bands)
        self.scale = (scale or self._usual_scale()) if self.deep else self.scale
        self._small.clear()
        self.close()

    def size(self, image: str) -> tuple[int, int]:
        """Height and width in pixels. Raises UserError if there is no such image, or it cannot be opened."""
        if image not in self.pictures:
            raise UserError(self.damaged.get(image, f"there is no image {image}"))
        return self.pictures[image].height, self.pictures[image].width

    def inside(self, image: str, row: int, col: int) -> bool:
        """Whether a pixel lies within an image. Raises UserError as `size` does."""
        height, width = self.size(image)
        return 0 <= row < height and 0 <= col < width

    def valid(self, image: str, row: int, col: int) -> bool:
        """Whether a pixel within an image holds something. Raises UserError if it cannot be read."""
        return bool(self.read(image, row, col, 1, 1)[1][0, 0])

    def read(self, image: str, row: int, col: int, height: int, width: int, factor: int = 1) -> Window:
        """A window of an image at 1 ÷ factor of its size, as `Raster.read_reduced` says.

        Raises:
            UserError: it cannot be read.
        """
        own = reduction(self.size(image))
        if factor >= own and (small := self._small.get(image)) is not None:
            return _part(small, row // own, col // own, height, width, factor // own, own)
        return self._reader.submit(lambda: self._raster(image).read_reduced(row, col, height, width, factor)).result()

    def needs_reduction(self, image: str) -> bool:
        """Whether an image is large and has no overviews, so that a look at all of it would read all of it."""
        if image in self._small or max(self.size(image)) <= SMALL:
            return False
        return not self._reader.submit(lambda: self._raster(image).has_overviews).result()

    def reduce(self, image: str, said: threading.Event | None = None) -> None:
        """Read a large image once, strip by strip, and keep it small; of others, the last. said: stops it.

        Other reads go on between the strips. Raises UserError if it cannot be read.
        """
        height, width = self.size(image)
        own = reduction((height, width))
        parts = []
        rows = 64 * own
        for top in range(0, height, rows):
            if said is not None and said.is_set():
                return
            parts.append(self.read(image, top, 0, min(rows, height - top), width, own))
        while len(self._small) >= KEPT:
            self._small.pop(next(iter(self._small)), None)
        self._small[image] = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def close(self) -> None:
        """Close all images; a later read opens them again."""
        self._reader.submit(_close, self._open).result()

    def _raster(self, image: str) -> Raster:
        self.size(image)
        if image not in self._open:
            while len(self._open) >= OPEN:
                self._open.popitem(last=False)[1][1].close()
            stack = ExitStack()
            self._open[image] = stack.enter_context(open_raster(self.paths[image], self.bands, self.scale)), stack
        self._open.move_to_end(image)
        return self._open[image][0]

    def _usual_scale(self) -> Scale | None:
        """From the 2nd to the 98th percentile of what some windows hold; None where all images are of eight bits."""
        if not self.deep:
            return None
        lows, highs = [], []
        for key in self.deep[:3]:
            picture = self.pictures[key]
            height, width = min(256, picture.height), min(256, picture.width)
            draw = np.random.default_rng(0)
            low, high = _range_of(picture)
            with open_raster(self.paths[key], self.bands, (low, high)) as raster:
                for _ in range(SAMPLES):
                    row = int(draw.integers(picture.height - height + 1))
                    col = int(draw.integers(picture.width - width + 1))
                    values, valid = raster.read(row, col, height, width)
                    if valid.any():
                        ends = np.percentile(values[valid], [2, 98]) / 255 * (high - low) + low
                        lows.append(float(ends[0]))
                        highs.append(float(ends[1]))
        low, high = (float(np.median(lows)), float(np.median(highs))) if lows else (0.0, 1.0)
        return low, max(high, low + 1e-6)


def _close(images: OrderedDict[str, tuple[Raster, ExitStack]]) -> None:
    while images:
        images.popitem()[1][1].close()


def _close_later(reader: ThreadPoolExecutor, images: OrderedDict[str, tuple[Raster, ExitStack]]) -> None:
    with suppress(RuntimeError):  # at the end of the program nothing needs closing
        reader.submit(_close, images)
        reader.shutdown(wait=False)


def _keep_settings() -> None:
    """Images are closed in another order than they were opened, which rasterio allows within settings that stay."""
    with suppress(UserError):  # without rasterio there are PNG and JPEG
        gdal_env().__enter__()


USUAL = (1, 2, 3)
"""The bands of an image that are read if none are chosen."""
EIGHT = ("uint8", "L", "RGB", "RGBA", "P", "1", "LA")
"""Kinds of pixels of eight bits, as headers say them."""


def _range_of(picture: Picture) -> Scale:
    """What the values of an image lie within: of a GeoTIFF by its pixels, read small."""
    if picture.is_plain:
        return 0.0, 65535.0
    with open_geotiff(picture.path) as file:
        step = max(1, max(file.height, file.width) // 512)
        shape = (max(1, file.height // step), max(1, file.width // step))
        window = ((0, min(file.height, 512)), (0, min(file.width, 512))) if not file.overviews(1) else None
        size = shape if window is None else None
        values = file.read(window=window, shape=size).astype(np.float64)
        valid = file.read_masks(window=window, shape=size) > 0
    values = values[valid & np.isfinite(values)]
    values = values[(values > -9999) | (values > 0)]
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, [0.5, 99.5])
    return float(low), float(max(high, low + 1e-6))


def reduction(size: tuple[int, int]) -> int:
    """The power of two that makes an image of (height, width) fit into SMALL.

    Example:
        >>> reduction((20_000, 20_000)), reduction((600, 800))
        (8, 1)
    """
    return 1 << max(0, (max(size) - 1) // SMALL).bit_length()


def _part(small: Window, row: int, col: int, height: int, width: int, step: int, own: int) -> Window:
    """A window of an image that was reduced: its upper left pixel there, its size in the image's own pixels."""
    rows, cols = -(-height // own), -(-width // own)
    values, valid = (a[row : row + rows : step, col : col + cols : step] for a in small)
    return np.ascontiguousarray(values), np.ascontiguousarray(valid)


def tile_of(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, bands) → (H, W, 3), as a page shows it."""
    return image[..., :3] if image.shape[2] >= 3 else image[..., :1].repeat(3, axis=2)
