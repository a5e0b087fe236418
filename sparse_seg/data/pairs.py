"""An image and its colour-coded mask as a sample."""

import hashlib
from functools import partial
from pathlib import Path

from sparse_seg.classes import Classes, Image, Mask
from sparse_seg.data.sample import Sample
from sparse_seg.raster.beside import content
from sparse_seg.raster.masks import probe, read_sample


def pair_sample(image_path: Path, mask_path: Path, image_id: str, group: str, classes: Classes) -> Sample:
    """Make a sample of an image and its mask. Hashes both files now, decodes them when `read` is called.

    `read` raises UserError if a file is damaged or the sizes differ, and issues `OffPaletteWarning`.

    Raises:
        UserError: a file cannot be opened.
    """
    whole = hashlib.sha256(repr(classes).encode() + content(image_path) + content(mask_path))
    return Sample(image_id, group, whole.hexdigest(), partial(_read_pair, image_path, mask_path, classes))


def _read_pair(image_path: Path, mask_path: Path, classes: Classes) -> tuple[Image, Mask]:
    picture = probe(image_path, mask_path)
    return read_sample(picture, classes, None, None, (0, 0, picture.height, picture.width), None)
