"""GeoTIFF, JPEG 2000 and VRT files, read by windows through rasterio."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_seg.raster.formats import Header, Raster, Window, chosen_bands, needed_scale, register, to_uint8
from sparse_seg.raster.geofile import GEO_SUFFIXES, import_rasterio, open_geotiff

ABSENT = (-9999.0, -99999.0, -32768.0, float(np.finfo(np.float32).min), float(np.finfo(np.float64).min))
"""What programs write where there is no image, when the file does not say so."""


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
        file = self._file = stack.enter_context(open_geotiff(path))
        self.height, self.width, self.crs, self.transform = file.height, file.width, file.crs, file.transform
        self.gcps = file.gcps
        self._palette, self._clear, self._scale, self._alpha = colour_table(file), _clear_values(file), None, None
        if self._palette is not None:
            chosen = chosen_bands(path, bands, [1, 2, 3])
            self._channels, self._bands, self.count = [b - 1 for b in chosen], [1], len(chosen)
            return
        marked = [k for k, colour in enumerate(file.colorinterp, 1) if alpha and colour.name == "alpha"]
        every = list(range(1, file.count + 1))
        self._bands = chosen_bands(path, bands, [k for k in every if k not in marked], every)
        self._alpha = next((k for k in marked if k not in self._bands), None)
        self.count = len(self._bands)
        types = {str(file.dtypes[b - 1]) for b in self._bands}
        self._scale = needed_scale(path, ", ".join(sorted(types)), scale) if types != {"uint8"} else None

    @classmethod
    def header(cls, path: Path) -> Header:
        with open_geotiff(path) as file:
            kind = f"{'/'.join(dict.fromkeys(file.dtypes))} × {file.count}"
            has_alpha = any(c.name == "alpha" for c in file.colorinterp)
            return Header(
                file.height, file.width, file.crs, file.transform, has_alpha, kind, file.count, tuple(file.notes)
            )

    def transparency(self, row: int, col: int, height: int, width: int) -> NDArray[Any] | None:
        if self._alpha is None:
            return None
        return np.asarray(self._file.read(self._alpha, window=((row, row + height), (col, col + width))))

    def _read(self, row: int, col: int, height: int, width: int) -> Window:
        return self._read_at(row, col, height, width, (height, width))

    @property
    def has_overviews(self) -> bool:
        return bool(self._file.overviews(1))

    def _read_reduced(self, row: int, col: int, height: int, width: int, factor: int) -> Window:
        return self._read_at(row, col, height, width, (-(-height // factor), -(-width // factor)))

    def _read_at(self, row: int, col: int, height: int, width: int, shape: tuple[int, int]) -> Window:
        window = ((row, row + height), (col, col + width))
        each = sorted(set(self._bands))
        order = [each.index(b) for b in self._bands]
        values = self._file.read(each, window=window, shape=shape)
        valid = self._stated(each, window, shape)
        if self._alpha is not None:
            valid &= self._file.read(self._alpha, window=window, shape=shape) > 0
        if values.dtype.kind == "f":
            valid &= np.isfinite(values).all(0)
        if self._scale is not None:
            absent = (np.isin(values, ABSENT) & (values < self._scale[0])).all(0)
            self.absent += int(np.count_nonzero(absent & valid))
            valid &= ~absent
            values = to_uint8(values, self._scale)
        image = values[order].transpose(1, 2, 0)
        if self._palette is not None:
            valid &= ~np.isin(image[..., 0], self._clear)
            image = self._palette[image[..., 0]][..., self._channels]
        return np.ascontiguousarray(image), valid

    def _stated(self, bands: list[int], window: Any, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Where nodata or a mask of the file does not say that there is no image; alpha bands do not count."""
        flag, stated = import_rasterio().enums.MaskFlags, self._file.mask_flag_enums
        if any(flag.alpha in stated[b - 1] or flag.all_valid in stated[b - 1] for b in bands):
            return np.ones(shape, np.bool_)
        return np.asarray(self._file.read_masks(bands, window=window, shape=shape).any(0))


def colour_table(file: Any) -> NDArray[np.uint8] | None:
    """The colours (256 or 65536, 3) of the values in the first band of an open GeoTIFF; None if it has no palette."""
    entries = _entries(file)
    if not entries:
        return None
    table = np.zeros((2**8 if file.dtypes[0] == "uint8" else 2**16, 3), np.uint8)
    for value, rgba in entries.items():
        table[value] = rgba[:3]
    return table


def _entries(file: Any) -> dict[int, tuple[int, int, int, int]]:
    try:
        return dict(file.colormap(1)) if file.dtypes[0] in ("uint8", "uint16") else {}
    except ValueError:  # so says rasterio where there is none
        return {}


def _clear_values(file: Any) -> list[int]:
    """The values whose colour is transparent."""
    return [value for value, rgba in _entries(file).items() if rgba[3] == 0]
