"""The tiles that the page's map is made of: of an image, of its map, and of the map's confidence."""

import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from sparse_seg.annotate.imagery import reduction, tile_of
from sparse_seg.annotate.session import Session
from sparse_seg.errors import UserError
from sparse_seg.palette import UNLABELLED, palette

SIDE = 256
"""Of a tile, in pixels of the screen."""


def levels_of(size: tuple[int, int]) -> int:
    """Zoom at which a pixel of an image of (height, width) is one of the screen; at 0 all of it is one tile.

    Example:
        >>> levels_of((20_000, 20_000)), levels_of((200, 100))
        (7, 0)
    """
    return max(0, math.ceil(math.log2(max(size) / SIDE)))


def tile(session: Session, where: Mapping[str, Any]) -> tuple[bytes, str] | None:
    """A tile's file and its format; None where there is none.

    Args:
        session: whose images and maps.
        where: layer, "image", "map", "confidence" or "trained"; image, its number; z, x, y, the tile's, as Leaflet
            counts them.
    """
    state, layer = session.state, where["layer"]
    images = state.images
    if layer not in ("image", "map", "confidence", "trained") or not 0 <= where["image"] < len(images):
        return None
    image = images[where["image"]]
    if image not in state.imagery.pictures:
        return None
    height, width = state.imagery.size(image)
    level = levels_of((height, width)) - where["z"]
    if not 0 <= level <= 24:
        return None
    factor = 1 << level
    row, col = where["y"] * SIDE * factor, where["x"] * SIDE * factor
    if not (0 <= row < height and 0 <= col < width):
        return None
    part = row, col, min(SIDE * factor, height - row), min(SIDE * factor, width - col), factor
    if layer == "trained":
        written = session.trained
        if written is None or image not in written.pictures or written.size(image) != (height, width):
            return None
        pixels, valid = written.read(image, *part)
        return _encoded(tile_of(pixels), valid & (pixels != UNLABELLED).any(2), png=True)
    if layer == "image":
        if factor >= reduction((height, width)) and state.imagery.needs_reduction(image):
            session.wait_until_small(image)
        try:
            pixels, valid = state.imagery.read(image, *part)
        except UserError as error:  # the page says so, and shows what can be read
            state.imagery.damaged[image] = str(error)
            session.changed()
            return None
        return _encoded(tile_of(pixels), valid)
    maps = session.follow.maps
    if maps is None or (found := maps.tile(image, factor, row, col)) is None:
        return None
    label, confidence = found
    there = label != 255
    if layer == "map":
        return _encoded(palette([r.colour for r in state.classes])[label], there, png=True)
    grey = np.repeat(confidence[..., None], 3, axis=2).astype(np.uint16) * 255 // 100
    return _encoded(grey.astype(np.uint8), there, png=True)


def _encoded(rgb: NDArray[np.uint8], valid: NDArray[np.bool_], png: bool = False) -> tuple[bytes, str]:
    """A tile's file and its format, continued to SIDE by what is transparent."""
    height, width = valid.shape
    whole = valid.all() and (height, width) == (SIDE, SIDE)
    out = io.BytesIO()
    if whole and not png:
        PIL.Image.fromarray(rgb).save(out, "JPEG", quality=90)
        return out.getvalue(), "jpeg"
    rgba = np.zeros((SIDE, SIDE, 4), np.uint8)
    rgba[:height, :width, :3], rgba[:height, :width, 3] = rgb, valid * np.uint8(255)
    PIL.Image.fromarray(rgba).save(out, "PNG", compress_level=1)
    return out.getvalue(), "png"
