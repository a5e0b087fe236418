"""Masks of colours that Pillow reads, decoded whole."""

from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from sparse_seg.classes import IGNORE_INDEX, Classes, Mask
from sparse_seg.errors import UserError
from sparse_seg.palette import hex_colour
from sparse_seg.raster.images import open_image


def decode_mask(path: Path, classes: Classes) -> tuple[Mask, int]:
    """Read a colour-coded mask (RGB, RGBA or palette image; alpha is ignored).

    Returns the mask, uint8 (H, W) with class index or 255, and the number of pixels whose colour is neither that
    of a class nor in `classes.unlabelled`; these are 255, too.

    Raises:
        UserError: as for `read_image`, or more than half of the pixels have such a colour.
    """
    file = open_image(path)
    if file.mode == "P":
        palette = np.zeros(256, np.uint32)
        rgb = np.array(file.getpalette("RGB"), np.uint32).reshape(-1, 3)
        palette[: len(rgb)] = rgb[:, 0] | rgb[:, 1] << 8 | rgb[:, 2] << 16
        index = np.asarray(file)
        target, unknown = _match_colours(palette, classes)
        mask = target[index]
        off = int(np.bincount(index.ravel(), minlength=256)[unknown].sum())
    else:
        mask, unknown = _match_colours(_packed(file), classes)
        off = int(np.count_nonzero(unknown))
    if 2 * off > mask.size:
        raise _wrong_palette(path, _packed(file), classes)
    return mask, off


def _packed(file: PIL.Image.Image) -> NDArray[np.uint32]:
    """(H, W) colours as R + 256 G + 65536 B."""
    # Pillow keeps RGB in four bytes per pixel, so no arithmetic is needed beyond clearing the fourth.
    packed = np.frombuffer(file.convert("RGB").tobytes("raw", "RGBX"), "<u4") & np.uint32(0xFFFFFF)
    return packed.reshape(file.height, file.width)


def _match_colours(packed: NDArray[np.uint32], classes: Classes) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """For each packed colour: class index or 255, and whether it is neither a class nor unlabelled."""
    target = np.full(packed.shape, IGNORE_INDEX, np.uint8)
    unknown = np.ones(packed.shape, np.bool_)
    for index, (red, green, blue) in enumerate(classes.colours + classes.unlabelled):
        hit = packed == red + (green << 8) + (blue << 16)
        if index < len(classes):
            np.putmask(target, hit, np.uint8(index))
        unknown &= ~hit
    return target, unknown


def _wrong_palette(path: Path, packed: NDArray[np.uint32], classes: Classes) -> UserError:
    colours, counts = np.unique(packed, return_counts=True)
    unknown = _match_colours(colours, classes)[1]
    most = sorted(zip(counts[unknown].tolist(), colours[unknown].tolist(), strict=True), reverse=True)[:3]
    found = ", ".join(f"{hex_colour((c & 0xFF, c >> 8 & 0xFF, c >> 16))} ({n / packed.size:.0%})" for n, c in most)
    known = ", ".join(f"{name} {hex_colour(rgb)}" for name, rgb in zip(classes.names, classes.colours, strict=True))
    return UserError(
        f"{path}: {counts[unknown].sum() / packed.size:.0%} of the pixels have the colour of no class, mostly {found}\n"
        f"the classes are {known}: give the colours that these masks use, or list a colour as unlabelled"
    )
