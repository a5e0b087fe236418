"""Predictions of whole images against their masks, at native resolution."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from sparse_seg.data.classes import IGNORE_INDEX, Classes
from sparse_seg.data.folder import decode_mask, match_colours
from sparse_seg.data.sample import Mask
from sparse_seg.errors import UserError
from sparse_seg.metrics import accuracy, iou_per_class, mean_iou
from sparse_seg.raster import GEO_SUFFIXES, Raster, open_raster

MASK_SUFFIXES = (".png", *GEO_SUFFIXES)


def find_masks(folder: Path, images: list[Path]) -> dict[Path, Path]:
    """Return the mask of each image: the PNG or GeoTIFF of the same stem. Raises UserError if one has none."""
    if not folder.is_dir():
        raise UserError(f"--masks {folder} is no folder")
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


class Truth:
    """The mask of one image, by windows. A GeoTIFF is never whole in memory, a PNG is.

    Raises:
        UserError: the mask is damaged, or has another size than the image or other colours than the classes.
    """

    def __init__(self, path: Path, raster: Raster, classes: Classes) -> None:
        self.path, self.classes = path, classes
        self.off = self.seen = 0
        self._whole: Mask | None = None
        if path.suffix.lower() in GEO_SUFFIXES:
            with open_raster(path) as mask:
                size = mask.height, mask.width
        else:
            self._whole, self.off = decode_mask(path, classes)
            size = self._whole.shape[0], self._whole.shape[1]
        if size != (raster.height, raster.width):
            raise UserError(
                f"{path} is {size[1]}×{size[0]} but its image is {raster.width}×{raster.height} (width × height)\n"
                "they must be equal: is this the mask of another image?"
            )

    def read(self, row: int, col: int, height: int, width: int) -> Mask:
        if self._whole is not None:
            return self._whole[row : row + height, col : col + width]
        with open_raster(self.path) as file:
            rgb, valid = file.read(row, col, height, width)
        red, green, blue = (rgb[..., k].astype(np.uint32) for k in range(3))
        packed = (red | green << 8 | blue << 16).astype(np.uint32)
        mask, unknown = match_colours(packed, self.classes)
        mask[~valid] = IGNORE_INDEX
        self.off += int(np.count_nonzero(unknown & valid))
        self.seen += valid.size
        return mask

    def check(self) -> None:
        """After the last window: raise UserError if most pixels have the colour of no class."""
        if 2 * self.off > self.seen > 0:
            raise UserError(
                f"{self.path}: {self.off / self.seen:.0%} of the pixels have the colour of no class\n"
                "is this a mask in the colours that the network was trained with?"
            )


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
