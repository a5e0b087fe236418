"""PNG and JPEG files, through Pillow."""

import struct
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import PIL.Image

from sparse_seg.errors import UserError
from sparse_seg.raster.formats import Header, Raster, Window, chosen_bands, needed_scale, register, to_uint8
from sparse_seg.raster.images import open_image


@register(".png", ".jpg", ".jpeg", masks=True)
class PlainImage(Raster):
    """PNG and JPEG, through Pillow; held decoded, at up to four bytes per pixel."""

    whole = True

    def __init__(
        self,
        path: Path,
        bands: Sequence[int] | None,
        scale: Sequence[float] | None,
        stack: ExitStack,
        alpha: bool = True,
    ) -> None:
        with warnings.catch_warnings():
            # Pillow refuses what is twice as large.
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            file = self._file = open_image(path, any_depth=True)
        self.width, self.height = file.size
        deep = file.mode.startswith(("I", "F"))
        self._scale = needed_scale(path, "uint16" if ";16" in file.mode else file.mode, scale) if deep else None
        self._mode = file.mode if deep else "LA" if file.mode in ("1", "L", "LA", "La") else "RGBA"
        if not ("A" in file.getbands() or "a" in file.getbands() or "transparency" in file.info):
            self._mode = self._mode.removesuffix("A")
        self._bands = chosen_bands(path, bands, [1, 2, 3] if self._mode.startswith("RGB") else [1])
        self.count = len(self._bands)

    @classmethod
    def header(cls, path: Path) -> Header:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
                with PIL.Image.open(path) as file:
                    has_alpha = "A" in file.getbands() or "transparency" in file.info
                    return Header(file.height, file.width, has_alpha=has_alpha, kind=file.mode)
        except PIL.Image.DecompressionBombError as error:
            raise UserError(f"{path} is too large for its format: save it as GeoTIFF ({error})") from error
        except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
            raise UserError(
                f"{path} is damaged or no image: {error}\nreplace it by an intact copy (`make data` does so for Dubai)"
            ) from error

    @classmethod
    def verify(cls, path: Path) -> None:
        open_image(path, any_depth=True)

    def _read(self, row: int, col: int, height: int, width: int) -> Window:
        part = self._file.crop((col, row, col + width, row + height))
        values = np.asarray(part if part.mode == self._mode else part.convert(self._mode)).reshape(height, width, -1)
        valid = values[..., -1] > 0 if self._mode.endswith("A") else np.ones((height, width), np.bool_)
        if values.dtype.kind == "f":
            valid &= ~np.isnan(values).any(-1)
        if self._scale is not None:
            values = to_uint8(values, self._scale)
        return np.ascontiguousarray(values[..., [b - 1 for b in self._bands]]), valid
