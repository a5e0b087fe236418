"""Predictions of whole images against their masks, at native resolution."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tabulate import tabulate

from sparse_seg.boundary import boundary_iou
from sparse_seg.classes import IGNORE_INDEX, Classes, Mask
from sparse_seg.errors import UserError
from sparse_seg.metrics import accuracy, confusion_matrix, iou_per_class, mean_iou
from sparse_seg.palette import UNLABELLED
from sparse_seg.raster.aligned import placement_of
from sparse_seg.raster.coding import Value
from sparse_seg.raster.masks import Labels, no_class, read_mask
from sparse_seg.raster.readers import Raster, reader_of


class Scores:
    """Counts over all images: the confusion matrix, rows truth, columns prediction, and those of the boundaries.

    flips: whether the predictions are averages over flips and rotations.
    """

    def __init__(self, classes: Classes, flips: bool = False) -> None:
        self.classes, self.flips = classes, flips
        self.confusion = np.zeros((len(classes), len(classes)), np.int64)
        self.boundaries = np.zeros((2, len(classes)), np.int64)
        self.images: list[str] = []

    def add(self, truth: Mask, said: Mask) -> None:
        """Count the pixels that are labelled in both; both (H, W), class index or 255."""
        self.confusion += confusion_matrix(truth, said, len(self.classes))

    def include(self, image: str, other: "Scores") -> None:
        """Add the counts of one whole image."""
        self.confusion += other.confusion
        self.boundaries += other.boundaries
        self.images.append(image)

    def as_dict(self) -> dict[str, Any]:
        """What scores.json holds: plain values, None for what is undefined."""
        iou = iou_per_class(self.confusion).tolist()
        return {
            "miou": _or_none(mean_iou(self.confusion)),
            "accuracy": _or_none(accuracy(self.confusion)),
            "iou": {n: _or_none(v) for n, v in zip(self.classes.names, iou, strict=True)},
            "scores": {key: _or_none(value) for key, value in self._boundary_iou().items()},
            "confusion_matrix": self.confusion.tolist(),
            "classes": list(self.classes.names),
            "images": self.images,
            **({"flips": True} if self.flips else {}),
        }

    def _boundary_iou(self) -> Mapping[str, float]:
        both, either = torch.from_numpy(self.boundaries)
        return boundary_iou(both, either, self.classes.names)

    def table(self) -> str:
        """IoU and boundary IoU per class and their means."""
        iou = [*iou_per_class(self.confusion).tolist(), mean_iou(self.confusion)]
        mean, *boundary = self._boundary_iou().values()
        pixels = self.confusion.sum(1).tolist()
        rows = zip([*self.classes.names, "mean"], iou, [*boundary, mean], [*pixels, sum(pixels)], strict=True)
        text = [(name, *("–" if math.isnan(v) else f"{v:.4f}" for v in values), f"{n:,}") for name, *values, n in rows]
        align = ("left", "right", "right", "right")
        return tabulate(text, headers=["class", "IoU", "boundary IoU", "pixels"], colalign=align, disable_numparse=True)

    def json(self) -> str:
        """The text of scores.json."""
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

    Args:
        mask: a file, whose colours and numbers mean what `mask_code` says, and which is read at the image's positions
            where both state one; or (H, W) class index, 255 = unlabelled.
        raster: the image.
        classes: the network's.

    Raises:
        UserError: the mask is damaged, does not belong to the image, or most of its pixels hold no class.
    """

    def __init__(self, mask: Path | Mask, raster: Raster, classes: Classes) -> None:
        self.classes, self.raster = mask_code(classes), raster
        self.by_order = classes.indices is None
        self.off = self.seen = 0
        self.values: Counter[Value] = Counter()
        self._whole: Mask | None = None
        if isinstance(mask, Path):
            self.path = mask
            placement_of(mask, raster)
            if reader_of(mask).whole:
                self._whole = self._read(0, 0, raster.height, raster.width).mask
            return
        if mask.shape != (raster.height, raster.width):
            height, width = mask.shape
            raise UserError(
                f"the image is {raster.width}×{raster.height} but its mask is {width}×{height} "
                "(width × height)\nthey must be equal: is this the mask of another image?"
            )
        if (odd := mask[(mask != IGNORE_INDEX) & (mask >= len(classes))]).size:
            raise UserError(f"the mask has the value {odd[0]}, which is the index of no class, nor 255")
        self._whole = mask

    def read(self, row: int, col: int, height: int, width: int) -> Mask:
        """(height, width) class index, 255 = unlabelled."""
        if self._whole is not None:
            return self._whole[row : row + height, col : col + width]
        labels = self._read(row, col, height, width)
        self.off += labels.off
        self.seen += labels.mask.size
        self.values += labels.values
        return labels.mask

    def _read(self, row: int, col: int, height: int, width: int) -> Labels:
        return read_mask(self.path, self.classes, (row, col, height, width), self.raster, self.by_order)

    def check(self) -> None:
        """After the last window: raise UserError if most pixels have the colour or number of no class."""
        if 2 * self.off > self.seen > 0:
            raise no_class(self.path, self.off, self.seen, self.values, self.classes)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
