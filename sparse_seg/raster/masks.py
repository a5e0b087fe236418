"""Pixels of one's own images and masks, whole or by windows."""

import warnings
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparse_seg.classes import IGNORE_INDEX, Classes, Image, Mask
from sparse_seg.errors import UserError
from sparse_seg.raster.aligned import open_held, placement_of, stamp
from sparse_seg.raster.coding import Value, code_of, shown
from sparse_seg.raster.held import MOST, histogram
from sparse_seg.raster.hidden import warn_of_alpha
from sparse_seg.raster.placed import Grid, known_crs
from sparse_seg.raster.readers import GeoTiff, PlainImage, Raster, open_raster, reader_of
from sparse_seg.raster.warned import AbsentWarning, BlurredWarning, HiddenClassWarning, OffPaletteWarning

Window = tuple[int, int, int, int]
"""row, column, height, width; may reach beyond the image, where it is black and unlabelled."""


@dataclass(frozen=True)
class Picture:
    """An image that is not read yet: its file and that of its mask, if any, and what `raster.formats.Header` says.
    aligned: whether the mask lies on another grid, and is read at the image's positions.
    """

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
    aligned: bool = False

    @property
    def is_geotiff(self) -> bool:
        return issubclass(reader_of(self.path), GeoTiff)

    @property
    def is_plain(self) -> bool:
        """Whether it is a PNG or a JPEG."""
        return issubclass(reader_of(self.path), PlainImage)


ALIGNED = "its mask lies on another grid and is read at the image's positions"
NO_CRS = "its mask states no CRS and is taken to be in the image's"
NO_CRS_OF_ITS_OWN = "it states no CRS and is taken to be in that of its mask"


def probe(path: Path, mask: Path | None = None) -> Picture:
    """Read an image's header and that of its mask.

    Raises UserError if a file cannot be opened, or the two do not belong together: both state a position, but lie
    elsewhere, or one states none and their sizes differ.
    """
    picture = Picture(path, **vars(reader_of(path).header(path)))
    if mask is None:
        return picture
    header = reader_of(mask).header(mask)
    aligned = placement_of(mask, picture, header, f"image {path}") is not None
    notes = [*picture.notes, *(f"of its mask: {note}" for note in header.notes)]
    placed = picture.transform is not None and header.transform is not None
    if placed and (known_crs(picture) is None) != (known_crs(header) is None):
        notes.append(NO_CRS if known_crs(header) is None else NO_CRS_OF_ITS_OWN)
    notes += [ALIGNED] if aligned else []
    return replace(picture, mask=mask, aligned=aligned, notes=tuple(notes))


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

    Raises UserError if a file is damaged or the mask holds something else than the classes; issues the warnings of
    `raster.warned`.
    """
    image, valid = _read_image(picture, bands, scale, window, alpha)
    if picture.mask is None:
        mask = np.full(window[2:], IGNORE_INDEX, np.uint8)
        if points is not None:
            mask[points[:, 0], points[:, 1]] = points[:, 2]
    else:
        labels = read_mask(picture.mask, classes, window, picture)
        mask = labels.mask
        if labels.off and labels.blurred:
            warnings.warn(BlurredWarning(picture.mask, labels.off), stacklevel=2)
        elif labels.off:
            warnings.warn(OffPaletteWarning(picture.mask, labels.off, labels.values), stacklevel=2)
        if labels.hidden and labels.nodata is not None:
            warnings.warn(HiddenClassWarning(picture.mask, labels.hidden, labels.nodata), stacklevel=2)
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
    with ExitStack() as stack:
        if reader_of(picture.path).whole:
            raster = _held(picture.path, bands, scale, alpha, stamp(picture.path))
        else:
            raster = stack.enter_context(open_raster(picture.path, bands, scale, alpha))
        image[here], valid[here] = raster.read(row, col, *inner)
        warn_of_alpha(picture.path, raster, row, col, *inner)
        if raster.absent:  # of this window: what is read by windows was opened for it
            warnings.warn(AbsentWarning(picture.path, raster.absent), stacklevel=3)
    return image, valid


@lru_cache(maxsize=1)
def _held(
    path: Path, bands: tuple[int, ...] | None, scale: tuple[float, float] | None, alpha: bool, changed: tuple[int, int]
) -> Raster:
    """An image that is read as a whole, decoded once for all of its windows, which come one after the other."""
    with ExitStack() as stack:
        return stack.enter_context(open_raster(path, bands, scale, alpha))


class Labels(NamedTuple):
    """A window of a mask. mask: class or 255, (H, W) uint8. off: how many pixels hold neither a class nor unlabelled.
    values: the most frequent of those, as number or colour. hidden: how many hold the number `nodata` of a class that
    the file calls no data. blurred: whether those that are off lie between the colours of a lossy file.
    """

    mask: Mask
    off: int
    values: Counter[Value]
    hidden: int
    nodata: int | None
    blurred: bool


def read_mask(path: Path, classes: Classes, window: Window, grid: Grid, by_order: bool = False) -> Labels:
    """Read a window of a mask at the pixels of its image.

    Args:
        path: the mask.
        classes: what its numbers or colours mean.
        window: of the image's pixels.
        grid: the image. Where both state a position, the mask is read at the image's: of each pixel the nearest of the
            mask, unlabelled where there is none. Else it must be equally large.
        by_order: as for `code_of`.

    Raises:
        UserError: the file is damaged, of another size, or lies elsewhere; its values are ambiguous; or, read as a
            whole, more than half of the pixels hold no class.
    """
    row, col, height, width = window
    mask = np.full((height, width), IGNORE_INDEX, np.uint8)
    with open_held(path, grid) as held:
        code = code_of(held, classes, by_order)
        inner = min(height, held.height - row), min(width, held.width - col)
        values, valid = held.read(row, col, *inner)
        mask[: inner[0], : inner[1]], unknown = code.decode(held, values, valid)
        off = int(np.count_nonzero(unknown))
        foreign = code.count(held, values[unknown]) if off and not held.lossy else Counter()
        if not held.lossy and inner == (held.height, held.width) and 2 * off > unknown.size:
            raise no_class(path, off, unknown.size, foreign, classes)
        hidden = 0
        if held.nodata is not None and held.nodata in (classes.indices or ()) and not classes.blank:
            hidden = int(np.count_nonzero(values[valid] == held.nodata))
    return Labels(mask, off, Counter(dict(foreign.most_common(8))), hidden, held.nodata, held.lossy)


@dataclass
class Counted:
    """What a whole mask says. pixels: of each class. total: of all. off: of those that hold no class. values: the most
    frequent of those, as number or colour. blurred: as of `Labels`.
    """

    pixels: NDArray[np.int64]
    total: int
    off: int
    values: Counter[Value]
    blurred: bool


def count_mask(path: Path, classes: Classes, grid: Grid) -> Counted:
    """Count the pixels of a mask as `read_mask` reads it, a large one by parts. Raises UserError as that does."""
    pixels, off, values, blurred = np.zeros(IGNORE_INDEX + 1, np.int64), 0, Counter[Value](), False
    step = max(1, MOST // max(grid.width, 1))
    for row in range(0, grid.height, step):
        labels = read_mask(path, classes, (row, 0, min(step, grid.height - row), grid.width), grid)
        pixels += histogram(labels.mask)
        off += labels.off
        values += labels.values
        blurred |= labels.blurred
    total = int(pixels.sum())
    if values and 2 * off > total:
        raise no_class(path, off, total, values, classes)
    return Counted(pixels[: len(classes)], total, off, values, blurred)


def no_class(path: Path, off: int, pixels: int, values: Counter[Value], classes: Classes) -> UserError:
    """What to say of a mask of which too many pixels, `off` of them, hold values of no class."""
    top = values.most_common(3)
    most = ", ".join(f"{shown(value)} ({n / pixels:.0%})" for value, n in top)
    coloured = bool(top) and isinstance(top[0][0], tuple)
    theirs = map(shown, classes.colours if coloured or classes.indices is None else classes.indices)
    known = ", ".join(f"{name} {own}" for name, own in zip(classes.names, theirs, strict=True))
    return UserError(
        f"{path}: {off / pixels:.0%} of the pixels hold the value of no class, mostly {most}\n"
        f"the classes are {known}: is this a mask of theirs? The classes.yaml of training says which values they have, "
        "and which mean unlabelled"
    )
