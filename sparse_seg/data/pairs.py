"""An image and its colour-coded mask as a sample."""

import hashlib
import warnings
from functools import partial
from pathlib import Path

from sparse_seg.classes import Classes, Image, Mask
from sparse_seg.data.sample import Sample
from sparse_seg.errors import UserError
from sparse_seg.raster.beside import content
from sparse_seg.raster.colour_masks import decode_mask
from sparse_seg.raster.images import read_image
from sparse_seg.raster.warned import OffPaletteWarning


def pair_sample(image_path: Path, mask_path: Path, image_id: str, group: str, classes: Classes) -> Sample:
    """Make a sample of an image and its mask. Hashes both files now, decodes them when `read` is called.

    `read` raises UserError if a file is damaged or the sizes differ, and issues `OffPaletteWarning`.

    Raises:
        UserError: a file cannot be opened.
    """
    whole = hashlib.sha256(repr(classes).encode() + content(image_path) + content(mask_path))
    return Sample(image_id, group, whole.hexdigest(), partial(_read_pair, image_path, mask_path, classes))


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
