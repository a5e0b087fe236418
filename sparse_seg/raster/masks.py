"""Pixels of one's own images and masks, whole or by windows."""

import warnings
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from sparse_seg.classes import IGNORE_INDEX, Classes, Image, Mask
from sparse_seg.errors import UserError
from sparse_seg.palette import hex_colour
from sparse_seg.raster.colour_masks import decode_mask
from sparse_seg.raster.readers import (
    GEO_SUFFIXES,
    GeoTiff,
    PlainImage,
    Raster,
    colour_table,
    import_rasterio,
    open_geotiff,
    open_raster,
    reader_of,
)
from sparse_seg.raster.warned import OffPaletteWarning

Window = tuple[int, int, int, int]
"""row, column, height, width; may reach beyond the image, where it is black and unlabelled."""


@dataclass(frozen=True)
class Picture:
    """An image that is not read yet: its file and that of its mask, if any, and what `raster.formats.Header` says."""

    path: Path
    height: int
    width: int
    mask: Path | None = None
    crs: Any = None
    transform: Any = None
    has_alpha: bool = False
    kind: str = "uint8 × 3"
    bands: int = 3
    notes: tuple[str, ...] = ()

    @property
    def is_geotiff(self) -> bool:
        return issubclass(reader_of(self.path), GeoTiff)

    @property
    def is_plain(self) -> bool:
        """Whether it is a PNG or a JPEG."""
        return issubclass(reader_of(self.path), PlainImage)


def probe(path: Path, mask: Path | None = None) -> Picture:
    """Read an image's header and check that its mask is equally large.

    Raises UserError if a file cannot be opened or the sizes differ.
    """
    picture = _probe(path)
    if mask is not None and (other := _probe(mask)) and (other.height, other.width) != (picture.height, picture.width):
        raise UserError(
            f"image {path} is {picture.width}×{picture.height} but its mask {mask} is {other.width}×{other.height} "
            "(width × height)\nthey must be equal: is this the mask of another image?"
        )
    return Picture(**{**vars(picture), "mask": mask})


def _probe(path: Path) -> Picture:
    return Picture(path, **vars(reader_of(path).header(path)))


def read_sample(
    picture: Picture,
    classes: Classes,
    bands: tuple[int, ...] | None,
    scale: tuple[float, float] | None,
    window: Window,
    points: NDArray[np.int64] | None,
    alpha: bool = True,
) -> tuple[Image, Mask]:
    """Read a window of an image and of its mask, or with no mask of its points. Unlabelled where there is no image.

    Raises UserError if a file is damaged or the mask holds something else than the classes; issues `OffPaletteWarning`.
    """
    image, valid = _read_image(picture, bands, scale, window, alpha)
    if picture.mask is None:
        mask = np.full(window[2:], IGNORE_INDEX, np.uint8)
        if points is not None:
            mask[points[:, 0], points[:, 1]] = points[:, 2]
    else:
        mask, off = read_mask(picture.mask, classes, window)
        if off:
            warnings.warn(OffPaletteWarning(picture.mask, off), stacklevel=2)
    mask[~valid] = IGNORE_INDEX
    return image, mask


def _read_image(
    picture: Picture, bands: tuple[int, ...] | None, scale: tuple[float, float] | None, window: Window, alpha: bool
) -> tuple[Image, NDArray[np.bool_]]:
    row, col, height, width = window
    inner = min(height, picture.height - row), min(width, picture.width - col)
    image = np.zeros((height, width, 3 if bands is None else len(bands)), np.uint8)
    valid = np.zeros((height, width), np.bool_)
    here = slice(inner[0]), slice(inner[1])
    if reader_of(picture.path).whole:
        image[here], valid[here] = _held(picture.path, bands, scale, alpha).read(row, col, *inner)
    else:
        with open_raster(picture.path, bands, scale, alpha) as raster:
            image[here], valid[here] = raster.read(row, col, *inner)
    return image, valid


@lru_cache(maxsize=1)
def _held(path: Path, bands: tuple[int, ...] | None, scale: tuple[float, float] | None, alpha: bool) -> Raster:
    """An image that is read as a whole, decoded once for all of its windows, which come one after the other."""
    with ExitStack() as stack:
        return stack.enter_context(open_raster(path, bands, scale, alpha))


def holds_numbers(path: Path, classes: Classes) -> bool:
    """Whether a mask's values are the classes' indices: one band without a palette, and the classes have indices."""
    if classes.indices is None:
        return False
    if path.suffix.lower() in GEO_SUFFIXES:
        with open_geotiff(path) as file:
            return _is_numbered(file, classes)
    with PIL.Image.open(path) as file:
        return file.mode in ("L", "1") or file.mode.startswith("I")


def _is_numbered(file: Any, classes: Classes) -> bool:
    return classes.indices is not None and bool(file.count == 1 and colour_table(file) is None)


def read_mask(path: Path, classes: Classes, window: Window) -> tuple[Mask, int]:
    """Read a window of a mask: class number or 255, and how many pixels hold neither a class nor unlabelled.

    Raises UserError if the file is damaged, or, read as a whole, more than half of the pixels are such.
    """
    row, col, height, width = window
    out = np.full((height, width), IGNORE_INDEX, np.uint8)
    if path.suffix.lower() not in GEO_SUFFIXES:
        mask, off = _whole_mask(path, classes)
        part = mask[row : row + height, col : col + width]
        out[: part.shape[0], : part.shape[1]] = part
        return out, off if part.shape == mask.shape else 0
    with open_geotiff(path) as file:
        rasterio = import_rasterio()
        from rasterio.windows import Window as Rectangle

        inner = Rectangle(col, row, min(width, file.width - col), min(height, file.height - row))
        try:
            values = file.read(window=inner)
            valid = file.read_masks([1, 2, 3] if file.count >= 3 else [1], window=inner).any(0)
        except rasterio.errors.RasterioError as error:
            raise UserError(f"{path} is damaged: {error}\nreplace it by an intact copy") from error
        if _is_numbered(file, classes):
            held = values[0]
            mask, unknown = _numbered(held, classes)
        else:
            held = _rgb(values, colour_table(file) if file.count == 1 else None)
            mask, unknown = _coloured(held, classes)
        whole = inner.height == file.height and inner.width == file.width
    unknown &= valid
    off = int(np.count_nonzero(unknown))
    if whole and 2 * off > mask.size:
        raise _foreign(path, off / mask.size, held[unknown], classes)
    mask[~valid] = IGNORE_INDEX
    out[: mask.shape[0], : mask.shape[1]] = mask
    return out, off


@lru_cache(maxsize=1)
def _whole_mask(path: Path, classes: Classes) -> tuple[Mask, int]:
    if not holds_numbers(path, classes):
        return decode_mask(path, classes)
    with PIL.Image.open(path) as file:
        try:
            values = np.asarray(file.convert("L") if file.mode == "1" else file)
        except (OSError, SyntaxError, ValueError) as error:
            raise UserError(f"{path} is damaged or no image: {error}\nreplace it by an intact copy") from error
    mask, unknown = _numbered(values, classes)
    off = int(np.count_nonzero(unknown))
    if 2 * off > mask.size:
        raise _foreign(path, off / mask.size, values[unknown], classes)
    return mask, off


def _rgb(values: NDArray[Any], palette: NDArray[np.uint8] | None) -> NDArray[Any]:
    """values: (bands, H, W) of a GeoTIFF → colours (H, W, 3)."""
    if palette is None:
        return np.stack([values[k if len(values) >= 3 else 0] for k in range(3)], axis=-1)
    return np.asarray(palette[values[0]])


def _coloured(rgb: NDArray[Any], classes: Classes) -> tuple[Mask, NDArray[np.bool_]]:
    """rgb: (H, W, 3) → class number or 255, and what is neither the colour of a class nor of unlabelled."""
    mask = np.full(rgb.shape[:2], IGNORE_INDEX, np.uint8)
    unknown = np.ones(rgb.shape[:2], np.bool_)
    for index, colour in enumerate(classes.colours + classes.unlabelled):
        hit = (rgb == colour).all(-1)
        if index < len(classes):
            mask[hit] = index
        unknown &= ~hit
    return mask, unknown


def _numbered(values: NDArray[Any], classes: Classes) -> tuple[Mask, NDArray[np.bool_]]:
    """values: (H, W) of class indices → class number or 255, and what is neither a class nor unlabelled."""
    mask = np.full(values.shape, IGNORE_INDEX, np.uint8)
    unknown = values != IGNORE_INDEX
    for number, index in enumerate(classes.indices or ()):
        mask[values == index] = number
    unknown &= (mask == IGNORE_INDEX) & ~np.isin(values, classes.blank)
    return mask, unknown


def _foreign(path: Path, share: float, values: NDArray[Any], classes: Classes) -> UserError:
    """values: numbers (N,) or colours (N, 3) of the pixels that hold no class."""
    kinds, counts = np.unique(values, axis=0, return_counts=True)
    top = kinds[np.argsort(-counts)[:3]].tolist()
    most = [hex_colour(v) if values.ndim == 2 and values.dtype.kind in "iu" else str(v) for v in top]
    theirs = map(hex_colour, classes.colours) if values.ndim == 2 else map(str, classes.indices or ())
    known = ", ".join(f"{name} {own}" for name, own in zip(classes.names, theirs, strict=True))
    return UserError(
        f"{path}: {share:.0%} of the pixels hold the value of no class, mostly {', '.join(most)}\n"
        f"the classes are {known}: is this a mask of theirs? The classes.yaml of training says which values they have, "
        "and which mean unlabelled"
    )
