"""Images of any size, read window by window: GeoTIFF through rasterio, PNG and JPEG through Pillow."""

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from sparse_seg.errors import UserError
from sparse_seg.raster.images import open_image

GEO_SUFFIXES = (".tif", ".tiff")
PLAIN_SUFFIXES = (".png", ".jpg", ".jpeg")
SUFFIXES = GEO_SUFFIXES + PLAIN_SUFFIXES
"""What `open_raster` reads, in lower case; a file may have them in any case."""

Scale = tuple[float, float]
Window = tuple[NDArray[np.uint8], NDArray[np.bool_]]


class Raster(ABC):
    """An image that is open for reading.

    height, width: pixels. count: how many bands `read` returns. crs: rasterio's CRS or None. transform: the affine
    transform of pixel (column, row) to the CRS, None where the file has none, as plain images.
    """

    height: int
    width: int
    count: int
    crs: Any = None
    transform: Any = None

    def read(self, row: int, col: int, height: int, width: int) -> Window:
        """Read a window that lies within the image.

        Returns the image, uint8 (height, width, count), and valid, bool (height, width): False where the nodata value
        in all bands read, an alpha band, a mask or a NaN says that there is no image. The image is 0 there.

        Raises:
            UserError: the file is damaged.
            ValueError: the window reaches beyond the image.
        """
        if min(row, col) < 0 or min(height, width) < 1 or row + height > self.height or col + width > self.width:
            raise ValueError(f"window {(row, col, height, width)} is not within {self.height}×{self.width} pixels")
        image, valid = self._read(row, col, height, width)
        image[~valid] = 0
        return image, valid

    @abstractmethod
    def _read(self, row: int, col: int, height: int, width: int) -> Window: ...


@contextmanager
def open_raster(
    path: Path, bands: Sequence[int] | None = None, scale: Sequence[float] | None = None
) -> Iterator[Raster]:
    """Open an image for reading by windows.

    path: a file with one of SUFFIXES. bands: the numbers of the bands to read, from 1 as in GDAL and in any order; None
    for the first three without alpha, or a single one three times. A band of a GeoTIFF that is marked as alpha is an
    image like the others where `bands` names it: unless told otherwise, GDAL marks the fourth of four uint8 bands so.
    A palette is looked up.
    scale: (low, high), the values that become 0 and 255 with all between in proportion and all beyond clipped. uint8
    is taken as it is, with or without a scale; every other type needs one.

    Raises:
        UserError: no such file, damaged, no such band, or a type other than uint8 without a scale.
    """
    if scale is not None and not (len(scale) == 2 and scale[0] < scale[1]):
        raise UserError(f"data.scale={list(scale)} must be two numbers, the lower one first")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path} is no image that can be read: its name must end in {', '.join(SUFFIXES)}")
    with ExitStack() as stack:
        if suffix in PLAIN_SUFFIXES:
            yield _Plain(path, bands, scale)
        else:
            yield _GeoTiff(path, bands, scale, stack)


def import_rasterio() -> Any:
    """The rasterio module. Raises UserError if it is not installed."""
    try:
        import rasterio
    except ImportError as e:
        raise UserError(f"GeoTIFF files need rasterio ({e}): pip install -e '.[geo]'") from e
    return rasterio


def gdal_env() -> Any:
    """A context with 256 MB for GDAL's cache of decoded blocks, which by itself takes 5 % of the machine's memory."""
    own = {} if "GDAL_CACHEMAX" in os.environ else {"GDAL_CACHEMAX": 256}
    return import_rasterio().Env(**own)


def open_geotiff(path: Path) -> Any:
    """An open GeoTIFF, as rasterio's. Raises UserError if it cannot be opened."""
    rasterio = import_rasterio()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            return rasterio.open(path, driver="GTiff")
    except rasterio.errors.RasterioError as error:
        raise UserError(f"{path} is damaged or no GeoTIFF: {error}\nreplace it by an intact copy") from error


class _GeoTiff(Raster):
    def __init__(
        self, path: Path, bands: Sequence[int] | None, scale: Sequence[float] | None, stack: ExitStack
    ) -> None:
        self.path = path
        rasterio = import_rasterio()
        self._error = rasterio.errors.RasterioError
        if not path.is_file():
            raise UserError(f"cannot open {path}: no such file")
        stack.enter_context(gdal_env())
        with warnings.catch_warnings():
            # Whether there is a transform, the caller sees.
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            try:
                # The driver is named, since others follow what the file says to files elsewhere.
                file = self._file = stack.enter_context(rasterio.open(path, driver="GTiff"))
            except self._error as e:
                raise _damaged(path, e) from e
            self.transform = None if file.transform.is_identity else file.transform
        self.height, self.width, self.crs = file.height, file.width, file.crs
        self._palette, self._scale = colour_table(file), None
        if self._palette is not None:
            chosen = _chosen(path, bands, [1, 2, 3])
            self._channels, self._bands, self.count = [b - 1 for b in chosen], [1], len(chosen)
            return
        alpha = rasterio.enums.ColorInterp.alpha
        colour = [i + 1 for i, c in enumerate(file.colorinterp) if c != alpha]
        self._bands = _chosen(path, bands, colour, list(range(1, file.count + 1)))
        self.count = len(self._bands)
        types = {str(file.dtypes[b - 1]) for b in self._bands}
        self._scale = _needed_scale(path, ", ".join(sorted(types)), scale) if types != {"uint8"} else None

    def _read(self, row: int, col: int, height: int, width: int) -> Window:
        from rasterio.windows import Window as Rectangle

        window = Rectangle(col, row, width, height)
        each = sorted(set(self._bands))
        order = [each.index(b) for b in self._bands]
        try:
            values = self._file.read(each, window=window)
            valid = self._file.read_masks(each, window=window).any(0)
        except self._error as e:
            raise _damaged(self.path, e) from e
        if values.dtype.kind == "f":
            valid &= ~np.isnan(values).any(0)
        if self._scale is not None:
            values = _to_uint8(values, self._scale)
        image = values[order].transpose(1, 2, 0)
        if self._palette is not None:
            image = self._palette[image[..., 0]][..., self._channels]
        return np.ascontiguousarray(image), valid


class _Plain(Raster):
    """Held decoded, as Pillow does, at up to four bytes per pixel."""

    def __init__(self, path: Path, bands: Sequence[int] | None, scale: Sequence[float] | None) -> None:
        with warnings.catch_warnings():
            # Pillow refuses what is twice as large.
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            file = self._file = open_image(path, any_depth=True)
        self.width, self.height = file.size
        deep = file.mode.startswith(("I", "F"))
        self._scale = _needed_scale(path, "uint16" if ";16" in file.mode else file.mode, scale) if deep else None
        self._mode = file.mode if deep else "LA" if file.mode in ("1", "L", "LA", "La") else "RGBA"
        if not ("A" in file.getbands() or "a" in file.getbands() or "transparency" in file.info):
            self._mode = self._mode.removesuffix("A")
        self._bands = _chosen(path, bands, [1, 2, 3] if self._mode.startswith("RGB") else [1])
        self.count = len(self._bands)

    def _read(self, row: int, col: int, height: int, width: int) -> Window:
        part = self._file.crop((col, row, col + width, row + height))
        values = np.asarray(part if part.mode == self._mode else part.convert(self._mode)).reshape(height, width, -1)
        valid = values[..., -1] > 0 if self._mode.endswith("A") else np.ones((height, width), np.bool_)
        if values.dtype.kind == "f":
            valid &= ~np.isnan(values).any(-1)
        if self._scale is not None:
            values = _to_uint8(values, self._scale)
        return np.ascontiguousarray(values[..., [b - 1 for b in self._bands]]), valid


def colour_table(file: Any) -> NDArray[np.uint8] | None:
    """The colours (256 or 65536, 3) of the values in the first band of an open GeoTIFF; None if it has no palette."""
    size = {"uint8": 2**8, "uint16": 2**16}.get(file.dtypes[0])
    try:
        entries = file.colormap(1) if size else {}
    except ValueError:  # so says rasterio where there is none
        return None
    if not size or not entries:
        return None
    table = np.zeros((size, 3), np.uint8)
    for value, rgba in entries.items():
        table[value] = rgba[:3]
    return table


def _chosen(path: Path, bands: Sequence[int] | None, colour: list[int], existing: list[int] | None = None) -> list[int]:
    """The numbers of the bands to read. colour: those without alpha. existing: those that may be named, if others."""
    if bands is None:
        if len(colour) == 2 or not colour:
            raise UserError(f"{path} has {len(colour)} bands without alpha: say which to use, data.bands=[1,2]")
        return colour[:1] * 3 if len(colour) == 1 else colour[:3]
    existing = existing or colour
    for band in bands:
        if band not in existing:
            raise UserError(
                f"data.bands={list(bands)}: {path} has no band {band}, only {', '.join(map(str, existing))}"
            )
    if not bands:
        raise UserError("data.bands=[] names no band: leave it out to use the first three")
    return list(bands)


def _needed_scale(path: Path, dtype: str, scale: Sequence[float] | None) -> Scale:
    if "complex" in dtype:
        raise UserError(f"{path} has pixels of type {dtype}: only real numbers can be read")
    if scale is None:
        raise UserError(
            f"{path} has pixels of type {dtype}, not uint8: say which values are black and white, data.scale=[low,high]"
        )
    return float(scale[0]), float(scale[1])


def _to_uint8(values: NDArray[Any], scale: Scale) -> NDArray[np.uint8]:
    low, high = scale
    scaled = np.clip((values.astype(np.float32) - low) * (255 / (high - low)), 0, 255)
    return np.rint(np.nan_to_num(scaled, copy=False)).astype(np.uint8)


def _damaged(path: Path, error: Exception) -> UserError:
    error = error.__cause__ if isinstance(error.__cause__, Exception) else error  # "Read failed" says nothing
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(f"{path} is damaged or no GeoTIFF: {line}\nreplace it by an intact copy")
