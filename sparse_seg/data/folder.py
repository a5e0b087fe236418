"""Images and colour-coded masks read from files."""

import hashlib
import struct
import warnings
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from sparse_seg.data.classes import IGNORE_INDEX, Classes
from sparse_seg.data.sample import Image, Mask, Sample
from sparse_seg.errors import UserError


class OffPaletteWarning(UserWarning):
    """A mask holds colours that are neither a class nor unlabelled; these pixels are taken as unlabelled.

    path: the mask. count: how many pixels.
    """

    def __init__(self, path: Path, count: int) -> None:
        super().__init__(path, count)
        self.path = path
        self.count = count

    def __str__(self) -> str:
        return f"{self.path}: {self.count} pixels have the colour of no class and are taken as unlabelled"


def read_image(path: Path) -> Image:
    """Read an image of any 8-bit mode as uint8 (H, W, 3) RGB. EXIF rotation is not applied: masks have none.

    Raises:
        UserError: the file is missing, damaged, no image, or has 16-bit or float pixels in one band.
    """
    return np.array(open_image(path).convert("RGB"))


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
        target, unknown = match_colours(palette, classes)
        mask = target[index]
        off = int(np.bincount(index.ravel(), minlength=256)[unknown].sum())
    else:
        mask, unknown = match_colours(_packed(file), classes)
        off = int(np.count_nonzero(unknown))
    if 2 * off > mask.size:
        raise _wrong_palette(path, _packed(file), classes)
    return mask, off


def pair_sample(image_path: Path, mask_path: Path, image_id: str, group: str, classes: Classes) -> Sample:
    """Make a sample of an image and its mask. Hashes both files now, decodes them when `read` is called.

    `read` raises UserError if a file is damaged or the sizes differ, and issues `OffPaletteWarning`.

    Raises:
        UserError: a file cannot be opened.
    """
    content = hashlib.sha256(repr(classes).encode())
    for path in (image_path, mask_path):
        try:
            with path.open("rb") as file:
                content.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise UserError(f"cannot open {path}: {error.strerror}") from error
    return Sample(image_id, group, content.hexdigest(), partial(_read_pair, image_path, mask_path, classes))


def _read_pair(image_path: Path, mask_path: Path, classes: Classes) -> tuple[Image, Mask]:
    image = read_image(image_path)
    mask, off = decode_mask(mask_path, classes)
    if image.shape[:2] != mask.shape:
        raise UserError(
            f"image {image_path} is {image.shape[1]}×{image.shape[0]} but its mask {mask_path} is "
            f"{mask.shape[1]}×{mask.shape[0]} (width × height)\nthey must be equal: is this the mask of another image?"
        )
    if off:
        warnings.warn(OffPaletteWarning(mask_path, off), stacklevel=2)
    return image, mask


def open_image(path: Path, any_depth: bool = False) -> PIL.Image.Image:
    """Open and decode an image. Whatever goes wrong is a UserError, more than 8 bits too unless any_depth."""
    try:
        with PIL.Image.open(path) as file:
            file.load()
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise UserError(f"cannot open {path}: {error.strerror}") from error
    except PIL.Image.DecompressionBombError as error:
        raise UserError(f"{path} is too large, cut it into tiles first: {error}") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise UserError(
            f"{path} is damaged or no image: {error}\nreplace it by an intact copy (`make data` does so for Dubai)"
        ) from error
    if file.mode.startswith(("I", "F")) and not any_depth:
        raise UserError(f"{path} has more than 8 bits per pixel and band (mode {file.mode}): convert it to 8-bit RGB")
    return file


def _packed(file: PIL.Image.Image) -> NDArray[np.uint32]:
    """(H, W) colours as R + 256 G + 65536 B."""
    # Pillow keeps RGB in four bytes per pixel, so no arithmetic is needed beyond clearing the fourth.
    packed = np.frombuffer(file.convert("RGB").tobytes("raw", "RGBX"), "<u4") & np.uint32(0xFFFFFF)
    return packed.reshape(file.height, file.width)


def match_colours(packed: NDArray[np.uint32], classes: Classes) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
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
    unknown = match_colours(colours, classes)[1]
    most = sorted(zip(counts[unknown].tolist(), colours[unknown].tolist(), strict=True), reverse=True)[:3]
    found = ", ".join(f"{_hex(c & 0xFF, c >> 8 & 0xFF, c >> 16)} ({n / packed.size:.0%})" for n, c in most)
    known = ", ".join(f"{name} {_hex(*rgb)}" for name, rgb in zip(classes.names, classes.colours, strict=True))
    return UserError(
        f"{path}: {counts[unknown].sum() / packed.size:.0%} of the pixels have the colour of no class, mostly {found}\n"
        f"the classes are {known}: give the colours that these masks use, or list a colour as unlabelled"
    )


def _hex(red: int, green: int, blue: int) -> str:
    return f"#{red:02X}{green:02X}{blue:02X}"
