"""Predictions of whole images against their masks, at native resolution."""

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from sparse_seg.classes import IGNORE_INDEX, Classes, Mask
from sparse_seg.errors import UserError
from sparse_seg.metrics import accuracy, iou_per_class, mean_iou
from sparse_seg.palette import UNLABELLED
from sparse_seg.raster.masks import holds_numbers, probe, read_mask
from sparse_seg.raster.readers import GEO_SUFFIXES, Raster

MASK_SUFFIXES = (".png", *GEO_SUFFIXES)


def find_masks(folder: Path, images: list[Path]) -> dict[Path, Path]:
    """Return the mask of each image: the PNG or GeoTIFF of the same stem.

    Raises UserError if an image has none, or two images have one together.
    """
    if not folder.is_dir():
        raise UserError(f"--masks {folder} is no folder")
    stem, count = Counter(p.stem for p in images).most_common(1)[0]
    if count > 1:
        raise UserError(f"{count} images are called {stem}, and {folder} can have one mask for them: give fewer images")
    by_stem = {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in MASK_SUFFIXES}
    missing = [p for p in images if p.stem not in by_stem]
    if missing:
        raise UserError(
            f"{folder} has no mask {missing[0].stem}.png or .tif for {missing[0]}, {len(missing)} of {len(images)} "
            "images lack one: leave out --masks, or the images without a mask"
        )
    return {p: by_stem[p.stem] for p in images}


class Scores:
    """The confusion matrix over all images, rows truth, columns prediction."""

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self.confusion = np.zeros((len(classes), len(classes)), np.int64)
        self.images: list[str] = []

    def add(self, truth: Mask, said: Mask) -> None:
        """Count the pixels that are labelled in both; both (H, W), class index or 255."""
        seen = (truth != IGNORE_INDEX) & (said != IGNORE_INDEX)
        n = len(self.classes)
        pairs = truth[seen].astype(np.int64) * n + said[seen]
        self.confusion += np.bincount(pairs, minlength=n * n).reshape(n, n)

    def include(self, image: str, other: "Scores") -> None:
        """Add the counts of one whole image."""
        self.confusion += other.confusion
        self.images.append(image)

    def as_dict(self) -> dict[str, Any]:
        iou = iou_per_class(self.confusion).tolist()
        return {
            "miou": _or_none(mean_iou(self.confusion)),
            "accuracy": _or_none(accuracy(self.confusion)),
            "iou": {n: _or_none(v) for n, v in zip(self.classes.names, iou, strict=True)},
            "confusion_matrix": self.confusion.tolist(),
            "classes": list(self.classes.names),
            "images": self.images,
        }

    def table(self) -> str:
        """IoU per class and their mean."""
        iou = iou_per_class(self.confusion).tolist()
        pixels = self.confusion.sum(1).tolist()
        rows = [*zip(self.classes.names, iou, pixels, strict=True), ("mean", mean_iou(self.confusion), sum(pixels))]
        text = [(name, "–" if math.isnan(v) else f"{v:.4f}", f"{count:,}") for name, v, count in rows]
        return tabulate(text, headers=["class", "IoU", "pixels"], colalign=("left", "right", "right"))

    def json(self) -> str:
        return json.dumps(self.as_dict(), indent=1)


def mask_code(classes: Classes) -> Classes:
    """How masks to score against are read: like those of training, and class maps too.

    classes: the network's. Without indices they count from 0 in their order, unless one of them is grey: then a single
    band holds colours, as in training. The grey that class maps have for unlabelled is unlabelled, unless a class has
    it.
    """
    indices = classes.indices
    if indices is None and not any(red == green == blue for red, green, blue in classes.colours):
        indices = tuple(range(len(classes)))
    if UNLABELLED not in classes.colours:
        classes = replace(classes, unlabelled=(*classes.unlabelled, UNLABELLED))
    return replace(classes, indices=indices)


class Truth:
    """The mask of one image, by windows. A GeoTIFF is never whole in memory, a PNG is.

    classes: the network's; `mask_code` says what the mask's colours and numbers mean, `holds_numbers` which it has.

    Raises:
        UserError: the mask is damaged, has another size than the image, or most of its pixels hold no class.
    """

    def __init__(self, path: Path, raster: Raster, classes: Classes) -> None:
        self.path, self.classes = path, mask_code(classes)
        self.off = self.seen = 0
        self._whole: Mask | None = None
        mask = probe(path)
        if (mask.height, mask.width) != (raster.height, raster.width):
            raise UserError(
                f"{path} is {mask.width}×{mask.height} but its image is {raster.width}×{raster.height} "
                "(width × height)\nthey must be equal: is this the mask of another image?"
            )
        if not mask.is_geotiff:
            self._whole, _ = read_mask(path, self.classes, (0, 0, mask.height, mask.width))

    def read(self, row: int, col: int, height: int, width: int) -> Mask:
        if self._whole is not None:
            return self._whole[row : row + height, col : col + width]
        mask, off = read_mask(self.path, self.classes, (row, col, height, width))
        self.off += off
        self.seen += mask.size
        return mask

    def check(self) -> None:
        """After the last window: raise UserError if most pixels have the colour or number of no class."""
        if 2 * self.off > self.seen > 0:
            what = "number" if holds_numbers(self.path, self.classes) else "colour"
            raise UserError(
                f"{self.path}: {self.off / self.seen:.0%} of the pixels have the {what} of no class\n"
                f"is this a mask in the {what}s that the network was trained with?"
            )


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
