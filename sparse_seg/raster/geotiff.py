"""GeoTIFF files, through rasterio."""

import os
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_seg.errors import UserError
from sparse_seg.raster.formats import Header, Raster, Window, chosen_bands, needed_scale, register, to_uint8

GEO_SUFFIXES = (".tif", ".tiff")


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


@register(*GEO_SUFFIXES, masks=True)
class GeoTiff(Raster):
    """Read window by window through rasterio."""

    def __init__(
        self,
        path: Path,
        bands: Sequence[int] | None,
        scale: Sequence[float] | None,
        stack: ExitStack,
        alpha: bool = True,
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
            chosen = chosen_bands(path, bands, [1, 2, 3])
            self._channels, self._bands, self.count = [b - 1 for b in chosen], [1], len(chosen)
            return
        alpha = rasterio.enums.ColorInterp.alpha
        colour = [i + 1 for i, c in enumerate(file.colorinterp) if c != alpha]
        self._bands = chosen_bands(path, bands, colour, list(range(1, file.count + 1)))
        self.count = len(self._bands)
        types = {str(file.dtypes[b - 1]) for b in self._bands}
        self._scale = needed_scale(path, ", ".join(sorted(types)), scale) if types != {"uint8"} else None

    @classmethod
    def header(cls, path: Path) -> Header:
        with open_geotiff(path) as file:
            transform = None if file.transform.is_identity else file.transform
            kind = f"{'/'.join(dict.fromkeys(file.dtypes))} × {file.count}"
            has_alpha = any(c.name == "alpha" for c in file.colorinterp)
            return Header(file.height, file.width, file.crs, transform, has_alpha, kind, file.count)

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
            values = to_uint8(values, self._scale)
        image = values[order].transpose(1, 2, 0)
        if self._palette is not None:
            image = self._palette[image[..., 0]][..., self._channels]
        return np.ascontiguousarray(image), valid


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


def _damaged(path: Path, error: Exception) -> UserError:
    error = error.__cause__ if isinstance(error.__cause__, Exception) else error  # "Read failed" says nothing
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(f"{path} is damaged or no GeoTIFF: {line}\nreplace it by an intact copy")
