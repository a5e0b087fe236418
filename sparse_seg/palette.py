"""Colours: of classes, of what is unlabelled, and as text."""

import colorsys
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_seg.classes import RGB, Image, Mask
from sparse_seg.errors import UserError

UNLABELLED: RGB = (160, 160, 160)
"""How pictures and class maps show what is unlabelled."""


def palette(colours: Sequence[Sequence[int]]) -> NDArray[np.uint8]:
    """(256, 3): the colour of every class index, grey for all that are no class."""
    table = np.full((256, 3), UNLABELLED, np.uint8)
    table[: len(colours)] = colours
    return table


def colour(mask: Mask, colours: Sequence[Sequence[int]]) -> Image:
    """(H, W) class index → (H, W, 3) in the classes' colours, unlabelled grey."""
    return palette(colours)[mask]


def rgb_of(image: Image) -> Image:
    """(H, W, bands) → (H, W, 3): the first three bands, or of one or two the first one as grey."""
    return image[..., :3] if image.shape[2] >= 3 else image[..., :1].repeat(3, axis=2)


def packed(rgb: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """(…, 3) → (…): each colour as one number, R·65536 + G·256 + B."""
    number = rgb[..., 0].astype(np.uint32)
    for band in (1, 2):  # in place: a large mask is held three times already
        number <<= 8
        number |= rgb[..., band]
    return number


def unpacked(value: int) -> RGB:
    """The (R, G, B) of a colour that is one number."""
    return value >> 16 & 255, value >> 8 & 255, value & 255


def parse_colour(value: Any, where: str) -> RGB:
    """From "#RRGGBB" or [R, G, B] to (R, G, B). Raises UserError that begins with `where`."""
    if isinstance(value, str) and re.fullmatch(r"#?[0-9a-fA-F]{6}", value):
        red, green, blue = bytes.fromhex(value.removeprefix("#"))
        return red, green, blue
    if isinstance(value, list) and len(value) == 3 and all(isinstance(v, int) and 0 <= v <= 255 for v in value):
        return (value[0], value[1], value[2])
    raise UserError(f'{where}: colour {value!r} must be "#RRGGBB", in quotes, or [R, G, B] from 0 to 255')


def hex_colour(colour: Sequence[int]) -> str:
    """(R, G, B) → "#RRGGBB"."""
    return "#{:02X}{:02X}{:02X}".format(*colour)


def usual_colours(count: int) -> list[RGB]:
    """Colours that can be told apart, for classes that have none."""
    shades = [colorsys.hsv_to_rgb(k * 0.618 % 1, 0.75, 0.95 if k % 2 else 0.7) for k in range(count)]
    return [(round(255 * r), round(255 * g), round(255 * b)) for r, g, b in shades]
