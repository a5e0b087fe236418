"""What masks hold: numbers or colours, and where they hold nothing. Whoever reads a mask reads it here."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_seg.errors import UserError
from sparse_seg.palette import packed
from sparse_seg.raster.images import open_image, read_deep, rgb_of_image
from sparse_seg.raster.readers import colour_table, import_rasterio
from sparse_seg.raster.trap import COUNTED, refuse_large, refuse_trap

MOST = 2**24
"""Pixels of a mask that are read at once for fewer pixels of its image."""
MOST_COLOURED = 2**26
"""Pixels of a mask of colours that is decoded as a whole, at up to 15 bytes each; numbers and palettes take 3."""
LARGEST_NUMBER = 2**53

Values = NDArray[Any]
Valid = NDArray[np.bool_]


def histogram(values: Values) -> NDArray[np.int64]:
    """Pixels of each number that the dtype has, uint8 or uint16; a part at a time, which the cache of a core holds."""
    counts, flat = np.zeros(np.iinfo(values.dtype).max + 1, np.int64), values.ravel()
    for start in range(0, len(flat), 2**18):
        counts += np.bincount(flat[start : start + 2**18], minlength=len(counts))
    return counts


def counted(values: Values) -> tuple[Values, Values]:
    """The values there are, in order, and how often each is there.

    Example:
        >>> [a.tolist() for a in counted(np.array([7, 0, 7], np.uint8))]
        [[0, 7], [1, 2]]
    """
    if values.dtype not in (np.uint8, np.uint16):
        return np.unique(values, return_counts=True)
    counts = histogram(values)
    there = np.flatnonzero(counts)
    return there, counts[there]


class Held(ABC):
    """A mask that is open.

    Attributes:
        path: the file.
        height, width: pixels.
        coloured: whether `read` gives colours, as `palette.packed` has them; else numbers.
        table: of numbers that stand for colours: the packed colour of each number, -1 for none. None elsewhere.
        nodata: the number that the file calls no data; it is not left out of `valid`. None for colours.
        lossy: whether the file's compression changes values.
    """

    path: Path
    height: int
    width: int
    coloured: bool
    table: NDArray[np.int64] | None = None
    nodata: int | None = None
    lossy: bool = False

    @abstractmethod
    def read(self, row: int, col: int, height: int, width: int) -> tuple[Values, Valid]:
        """Read a window that lies within the mask.

        Returns the values, (height, width) of whole numbers, and valid, bool (height, width): False where the file
        says that there is nothing: transparency, a mask of its own, no finite number, nodata in all bands of colours.

        Raises UserError if the file is damaged or holds fractions.
        """

    @property
    def is_binary(self) -> bool:
        """Whether it has one bit, 0 for black and 1 for white."""
        table = self.table
        return table is not None and bool(table[0] == 0 and table[1] == 0xFFFFFF and not (table[2:] > 0).any())

    @property
    def is_ramp(self) -> bool:
        """Whether its table has nothing but one grey after the other, so that numbers are numbers."""
        if self.table is None or self.is_binary:
            return False
        return bool((self.table % 0x010101 == 0).all() and len(set(np.sign(np.diff(self.table)).tolist())) == 1)

    def strips(self) -> Iterator[tuple[Values, Valid]]:
        """Yield all of it, what `read` gives of some rows at a time."""
        step = max(1, MOST // max(self.width, 1))
        for row in range(0, self.height, step):
            yield self.read(row, 0, min(step, self.height - row), self.width)

    def count(self) -> tuple[Counter[int], int]:
        """Pixels of each value, up to 65,536 of them, and how many pixels are not valid."""
        counts: Counter[int] = Counter()
        blank = 0
        for values, valid in self.strips():
            kinds, n = counted(values[valid])
            counts.update(dict(zip(kinds.tolist(), n.tolist(), strict=True)))
            blank += int(np.count_nonzero(~valid))
            if len(counts) > 2**16:
                break
        return counts, blank


class Whole(Held):
    """Decoded whole. values, valid: (H, W)."""

    def __init__(
        self,
        path: Path,
        values: Values,
        valid: Valid,
        coloured: bool = False,
        table: NDArray[np.int64] | None = None,
        lossy: bool = False,
    ) -> None:
        self.path, self._values, self._valid = path, values, valid
        self.height, self.width = values.shape
        self.coloured, self.table, self.lossy = coloured, table, lossy

    def read(self, row: int, col: int, height: int, width: int) -> tuple[Values, Valid]:
        here = np.s_[row : row + height, col : col + width]
        return self._values[here], self._valid[here].copy()


class Windowed(Held):
    """Read by windows through rasterio. file: an open dataset."""

    def __init__(self, path: Path, file: Any) -> None:
        self.path, self._file = path, file
        self.height, self.width = file.height, file.width
        if path.suffix.lower() != ".vrt":  # what that reads was opened by itself
            refuse_trap(path, file.height, file.width, *COUNTED)
        alpha = import_rasterio().enums.ColorInterp.alpha
        bands = [k for k, kind in enumerate(file.colorinterp, 1) if kind != alpha]
        self._alpha = next((k for k, kind in enumerate(file.colorinterp, 1) if kind == alpha), None)
        if len(bands) == 2 or not bands:
            raise UserError(
                f"{path} has {len(bands)} bands without alpha: a mask has one of numbers, or three of colours"
            )
        self.coloured = len(bands) > 2
        self._bands = bands[:3] if self.coloured else bands[:1]
        self._stated = file.nodatavals[self._bands[0] - 1]
        if not self.coloured:
            rgb = colour_table(file)
            self.table = None if rgb is None else packed(rgb).astype(np.int64)
            if self._stated is not None and abs(self._stated) < LARGEST_NUMBER and self._stated == int(self._stated):
                self.nodata = int(self._stated)
        how = file.tags(ns="IMAGE_STRUCTURE")
        self.lossy = "JPEG" in how.get("COMPRESSION", "") or how.get("COMPRESSION_REVERSIBILITY") == "LOSSY"

    def read(self, row: int, col: int, height: int, width: int) -> tuple[Values, Valid]:
        rasterio = import_rasterio()
        window = ((row, row + height), (col, col + width))
        valid = np.ones((height, width), np.bool_)
        try:
            values = self._file.read(self._bands, window=window)
            nodata = rasterio.enums.MaskFlags.nodata in self._file.mask_flag_enums[self._bands[0] - 1]
            if self.coloured or not nodata:
                valid = self._file.read_masks(self._bands, window=window).any(0)
            if self._alpha is not None:
                valid &= self._file.read(self._alpha, window=window) > 0
        except rasterio.errors.RasterioError as error:
            raise UserError(f"{self.path} is damaged: {error}\nreplace it by an intact copy") from error
        if self.coloured:
            return packed(_bytes(self.path, _whole(self.path, values, valid), valid)), valid
        if self._stated is not None and self.nodata is None:
            valid &= values[0] != np.asarray(self._stated).astype(values.dtype)
        return _whole(self.path, values, valid)[0], valid


@lru_cache(maxsize=1)
def decoded(path: Path, *stamp: int) -> Whole:
    """A mask that Pillow decodes, once for all of its windows, which come one after the other."""
    (bits, lossy), file = _kind(path), open_image(path, any_depth=True)
    mode, clear = file.mode, file.info.get("transparency")
    if bits == 16 and mode in ("LA", "RGB", "RGBA"):  # of which Pillow keeps 8
        return _deep(path, clear)
    if mode not in ("1", "L", "P") and not mode.startswith(("I", "F", "LA", "La")):
        refuse_large(path, file.height, file.width, MOST_COLOURED)
        has_alpha = mode in ("RGBA", "RGBa", "PA") or clear is not None
        pixels = np.asarray(file.convert("RGBA")) if has_alpha else rgb_of_image(file)
        return Whole(path, packed(pixels[..., :3]), _seen(pixels), coloured=True, lossy=lossy)
    values = np.asarray(file)
    valid = np.ones(values.shape[:2], np.bool_)
    if values.ndim == 3:  # LA
        values, valid = values[..., 0], values[..., 1] > 0
    table = None
    if mode == "P":
        table = np.full(256, -1)
        colours = packed(np.asarray(file.getpalette("RGB"), np.uint8).reshape(-1, 3))
        table[: len(colours)] = colours
        if isinstance(clear, bytes):
            opaque = np.ones(256, np.bool_)
            opaque[: len(clear)] = np.frombuffer(clear, np.uint8) > 0
            valid = opaque[values]
    elif bits < 8:  # Pillow spreads these over the greys; the numbers are what the file holds
        step = 255 // (2**bits - 1)
        values = values.astype(np.uint8) if mode == "1" else values // np.uint8(step)
        table = np.arange(2**bits) * step * 0x010101
    if isinstance(clear, int):
        valid = valid & (values != clear)
    values = _whole(path, values, valid)
    return Whole(path, values, valid, table=table, lossy=lossy)


def _deep(path: Path, clear: Any) -> Whole:
    """A PNG of 16 bits in each of several bands. clear: the colour that is transparent, if any."""
    pixels = read_deep(path)
    bands = pixels.shape[2]
    valid = pixels[..., -1] > 0 if bands in (2, 4) else np.ones(pixels.shape[:2], np.bool_)
    if bands == 2:
        return Whole(path, pixels[..., 0], valid)
    if clear is not None:
        valid &= (pixels != np.asarray(clear)).any(-1)
    return Whole(path, packed(_bytes(path, pixels[..., :3].transpose(2, 0, 1), valid)), valid, coloured=True)


def _seen(pixels: NDArray[np.uint8]) -> Valid:
    """Where (H, W, 3 or 4) is not fully transparent."""
    return pixels[..., 3] > 0 if pixels.shape[2] == 4 else np.ones(pixels.shape[:2], np.bool_)


def _kind(path: Path) -> tuple[int, bool]:
    """Bits of each value in a PNG, 8 elsewhere; and whether the file is compressed with loss, whatever its suffix."""
    with path.open("rb") as file:
        start = file.read(26)
    lossy = start[:3] == b"\xff\xd8\xff" or (start[8:12] == b"WEBP" and start[12:16] != b"VP8L")
    return start[24] if start[:4] == b"\x89PNG" and len(start) == 26 else 8, lossy


def _whole(path: Path, values: Values, valid: Valid) -> Values:
    """Values that are whole numbers, as such; what is not finite is marked as not valid."""
    if values.dtype.kind in "iub":
        return values
    if values.dtype.kind != "f":
        raise UserError(f"{path} has pixels of type {values.dtype}: a mask holds whole numbers or colours")
    finite = np.isfinite(values)
    valid &= finite.all(0) if values.ndim == 3 else finite
    values = np.where(finite & valid, values, 0).clip(-LARGEST_NUMBER, LARGEST_NUMBER)
    if (odd := values[values != np.rint(values)]).size:
        raise UserError(
            f"{path} holds the fraction {odd[0]:g}: a mask holds whole numbers or colours\n"
            "is this an image or a probability? Save the class numbers instead"
        )
    return values.astype(np.int64)


def _bytes(path: Path, values: Values, valid: Valid) -> Values:
    """(3, H, W) of colours → (H, W, 3) uint8. Of 16 bits, 0 to 65,535 in steps of 257 are colours, too."""
    if values.dtype != np.uint8:
        values = np.where(valid, values, 0)
        values = np.where((values > 255) & (values % 257 == 0), values // 257, values)
        if (odd := values[(values < 0) | (values > 255)]).size:
            raise UserError(f"{path} holds {odd[0]} in a colour: a mask has colours of 0 to 255; save it with 8 bits")
        values = values.astype(np.uint8)
    return values.transpose(1, 2, 0)
