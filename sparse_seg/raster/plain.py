"""PNG and JPEG files, decoded whole through Pillow, of 16 bits through OpenCV."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageFile
from numpy.typing import NDArray

from sparse_seg.errors import UserError
from sparse_seg.raster.formats import Header, Raster, Window, chosen_bands, needed_scale, register, to_uint8
from sparse_seg.raster.geofile import DRIVERS, TURNED, import_rasterio, open_geotiff
from sparse_seg.raster.images import deep_bands, open_image, opened, orientation_of, read_deep, turn_of
from sparse_seg.raster.position import Position, beside, position_of, world_suffixes
from sparse_seg.raster.turned import UPRIGHT, Turn

BROKEN_EXIF = "its EXIF data is damaged, so that it may lie turned"
NO_RASTERIO = "what beside it may say where it lies is not used: that needs rasterio, pip install -e '.[geo]'"
OTHER_FORMAT = "the .aux.xml beside it is not used: the file is of another format than its suffix says"
STEPS = {"L;2": 85, "L;4": 17}
"""What Pillow multiplies the greys of fewer than 8 bits with."""


@register(".png", ".jpg", ".jpeg", masks=True)
class PlainImage(Raster):
    """PNG and JPEG; held decoded, at up to eight bytes per pixel."""

    whole = True

    def __init__(
        self,
        path: Path,
        bands: Sequence[int] | None,
        scale: Sequence[float] | None,
        stack: ExitStack,
        alpha: bool = True,
    ) -> None:
        with opened(path) as file:
            header, place = _header(path, file)
            deep, raw, names = deep_bands(file), _raw_mode(file), file.getbands()
            self._key = file.info.get("transparency")
        self.height, self.width = header.height, header.width
        self.crs, self.transform, self.gcps = place.crs, place.transform, place.gcps
        self._scale = needed_scale(path, "uint16", scale) if deep else None
        is_grey = deep in (1, 2) or names in (("1",), ("L",), ("L", "A"))
        colour = [1] if is_grey else [1, 2, 3]
        marked = [len(colour) + 1] if deep in (2, 4) or names[-1] == "A" else []
        every = [*colour, *marked]
        self._bands = chosen_bands(path, bands, colour if alpha else every, every)
        self.count = len(self._bands)
        self._alpha = marked[0] if marked and alpha and marked[0] not in self._bands else None
        self._pixels: PIL.Image.Image | NDArray[np.uint16] = read_deep(path) if deep else open_image(path)
        self._mode = ("L" if is_grey else "RGB") + ("A" if marked or self._key is not None else "")
        if isinstance(self._key, int) and isinstance(self._pixels, PIL.Image.Image):
            if raw in STEPS:
                self._pixels.info["transparency"] = self._key * STEPS[raw]
            elif names == ("1",):  # older Pillow forgets the transparent one of two values
                self._pixels = PIL.Image.fromarray(np.asarray(self._pixels).astype(np.uint8) * 255)
                self._pixels.info["transparency"] = 255 if self._key else 0

    @classmethod
    def header(cls, path: Path) -> Header:
        with opened(path) as file:
            return _header(path, file)[0]

    @classmethod
    def verify(cls, path: Path) -> None:
        open_image(path, any_depth=True)

    def transparency(self, row: int, col: int, height: int, width: int) -> NDArray[Any] | None:
        return None if self._alpha is None else self._part(row, col, height, width)[..., -1]

    def _part(self, row: int, col: int, height: int, width: int) -> NDArray[Any]:
        """The bands of a window, (height, width, bands), alpha last."""
        if not isinstance(self._pixels, PIL.Image.Image):
            return self._pixels[row : row + height, col : col + width]
        part = self._pixels.crop((col, row, col + width, row + height))
        return np.asarray(part if part.mode == self._mode else part.convert(self._mode)).reshape(height, width, -1)

    def _read(self, row: int, col: int, height: int, width: int) -> Window:
        values = self._part(row, col, height, width)
        valid = np.ones((height, width), np.bool_)
        if self._alpha is not None:
            valid = values[..., -1] > 0
        elif self._key is not None and self._scale is not None:
            valid = (values != np.asarray(self._key)).any(-1)
        elif self._key is not None:
            valid = values[..., -1] > 0
        values = values[..., [b - 1 for b in self._bands]]
        if self._scale is not None:
            values = to_uint8(values, self._scale)
        return np.ascontiguousarray(values), valid


def _header(path: Path, file: PIL.ImageFile.ImageFile) -> tuple[Header, Position]:
    """Of an image whose pixels are not read yet, with the position of what is shown."""
    orientation = orientation_of(file, path)
    turn = turn_of(orientation)
    height, width = turn.size(file.height, file.width)
    notes = [BROKEN_EXIF] if orientation is None else [TURNED] if turn != UPRIGHT else []
    place = _position(path, file.format, turn, (height, width))
    names, deep = file.getbands(), deep_bands(file)
    bands = deep or (3 if file.mode == "P" else len(names))
    return Header(
        height,
        width,
        place.crs,
        place.transform,
        has_alpha="A" in names or "transparency" in file.info,
        kind=f"uint16 × {deep}" if deep else file.mode,
        bands=bands,
        notes=(*notes, *place.notes),
    ), place


def _position(path: Path, form: str | None, turn: Turn, size: tuple[int, int]) -> Position:
    """Where what is shown lies. Only files beside an image say so."""
    aux = path.with_name(f"{path.name}.aux.xml").is_file()
    if not aux and beside(path, *world_suffixes(path)) is None:
        return Position()
    try:
        import_rasterio()
    except UserError:
        return Position(notes=(NO_RASTERIO,))
    mine = DRIVERS[path.suffix.lower()][0] == {"MPO": "JPEG"}.get(form or "", form)
    if aux and mine:
        with open_geotiff(path) as file:
            return Position(file.crs, file.transform, file.gcps, tuple(n for n in file.notes if n != TURNED))
    place = position_of(path)
    notes = (*place.notes, *([OTHER_FORMAT] if aux else []))
    if place.transform is None:
        return Position(notes=notes)
    return Position(place.crs, turn.transform(place.transform, size), notes=notes)


def _raw_mode(file: PIL.ImageFile.ImageFile) -> str:
    """How a PNG stores its pixels, as Pillow names it."""
    return str(file.tile[0][3]) if file.format == "PNG" and file.tile else ""
