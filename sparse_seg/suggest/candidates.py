"""Which pixels a person should label next: one candidate per cell of each image, then a choice that is spread out."""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sparse_seg.classes import IGNORE_INDEX, Mask

PIXEL = np.dtype(
    [("score", "f4"), ("row", "i4"), ("col", "i4"), ("predicted", "u1"), ("truth", "u1"), ("entropy", "f4")]
    + [("confidence", "f4")]
)
"""predicted: class index that the network gives the pixel; truth: that of the mask, 255 without one. entropy: 0..1.
confidence: the probability of the class predicted."""

CRITERIA = ("entropy", "errors")


def entropy(logits: Tensor) -> Tensor:
    """Predictive entropy −Σ p·log p ÷ log K of (K, H, W) logits: (H, W), 0 = certain, 1 = all classes alike.

    Shannon's entropy as in Settles, Active Learning Literature Survey (2009), section 2.3.
    """
    return torch.special.entr(logits.softmax(0)).sum(0) / math.log(len(logits))


class Candidates:
    """The best pixel of each cell of (cell, cell) pixels of one image, gathered strip by strip.

    size: height and width of the image. by: "entropy", the best pixel is the least certain one; or "errors", the most
    confident one among those that the mask gives another class. The outermost `cell` pixels of the image have none:
    a network is uncertain there because it does not see what comes next. Memory: 22 bytes per cell.
    """

    def __init__(self, size: tuple[int, int], cell: int, by: str = "entropy") -> None:
        self.size, self.cell, self.by = size, cell, by
        self.cells = np.zeros((-(-size[0] // cell), -(-size[1] // cell)), PIXEL)
        self.cells["score"] = -1

    def add(self, row: int, col: int, logits: Tensor, valid: NDArray[np.bool_], truth: Mask | None = None) -> None:
        """Take in a strip whose upper left pixel is (row, col).

        logits: (K, h, w). valid: bool (h, w). truth: (h, w) class index or 255. No candidate is a pixel that is not
        valid, or that the mask leaves unlabelled.
        """
        probability, predicted = logits.softmax(0).max(0)
        uncertain, usable = (
            entropy(logits),
            torch.from_numpy(valid & self._inside(row, col, valid.shape)).to(logits.device),
        )
        said = torch.full_like(predicted, IGNORE_INDEX)
        if truth is not None:
            said = torch.from_numpy(truth.astype(np.int64)).to(logits.device)
            usable = usable & (said != IGNORE_INDEX)
        if self.by == "errors":
            usable = usable & (said != predicted)
        score = torch.where(usable, probability if self.by == "errors" else uncertain, -1.0)
        top, left = row % self.cell, col % self.cell  # the strip may begin within a cell
        padded = F.pad(score[None, None], (left, 0, top, 0), value=-1.0)
        best, index = F.max_pool2d(padded, self.cell, ceil_mode=True, return_indices=True)
        r = (index[0, 0] // padded.shape[-1] - top).clamp_min(0)
        c = (index[0, 0] % padded.shape[-1] - left).clamp_min(0)
        new = np.zeros(best.shape[2:], PIXEL)
        for name, values in (
            ("score", best[0, 0]),
            ("row", r + row),
            ("col", c + col),
            ("predicted", predicted[r, c]),
            ("truth", said[r, c]),
            ("entropy", uncertain[r, c]),
            ("confidence", probability[r, c]),
        ):
            new[name] = values.cpu().numpy()
        y, x = row // self.cell, col // self.cell
        here = self.cells[y : y + new.shape[0], x : x + new.shape[1]]
        better = new["score"] > here["score"]
        here[better] = new[better]

    def _inside(self, row: int, col: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        axes = []
        for start, length, total in zip((row, col), shape, self.size, strict=True):
            at, edge = np.arange(start, start + length), min(self.cell, (total - 1) // 2)
            axes.append((at >= edge) & (at < total - edge))
        return np.logical_and.outer(*axes)

    def best(self) -> NDArray[np.void]:
        """(N,) of PIXEL: the candidate of each cell that has one, best first."""
        found = self.cells[self.cells["score"] >= 0]
        return found[np.argsort(-found["score"], kind="stable")]


def choose(
    candidates: Sequence[NDArray[np.void]], n: int, apart: Sequence[float]
) -> list[tuple[int, NDArray[np.void]]]:
    """Choose up to n candidates with high scores, spread out over images, classes and space.

    candidates: per image (N,) of PIXEL, best first. apart: per image, the distance in pixels between two choices.
    One after the other: the image with the fewest choices (of several, the one with the best candidate left), in it the
    predicted class with the fewest choices over all images (likewise), of it the best candidate that is far enough from
    the image's other choices. When none is left anywhere, the distances are halved.

    Returns (image, PIXEL record) in the order of choice; fewer than n if there are no more candidates.
    """
    chosen: list[tuple[int, NDArray[np.void]]] = []
    per_image, per_class = np.zeros(len(candidates), int), np.zeros(256, int)
    taken = [np.zeros(len(c), bool) for c in candidates]
    distance = np.asarray(apart, float)
    while len(chosen) < n and not all(t.all() for t in taken):
        free = [~t for t in taken]
        for image, record in chosen:
            free[image] &= ~_within(candidates[image], record, distance[image])
        while len(chosen) < n and any(f.any() for f in free):
            firsts = {i: int(np.argmax(f)) for i, f in enumerate(free) if f.any()}
            image = min(firsts, key=lambda i: (per_image[i], -float(candidates[i]["score"][firsts[i]]), i))
            mine, open_ = candidates[image], np.flatnonzero(free[image])
            classes, first = np.unique(mine["predicted"][open_], return_index=True)
            _, k = min(zip(per_class[classes].tolist(), open_[first].tolist(), strict=True))
            chosen.append((image, mine[k]))
            per_image[image] += 1
            per_class[mine["predicted"][k]] += 1
            taken[image][k] = True
            free[image] &= ~_within(mine, mine[k], distance[image]) & ~taken[image]
        distance = distance / 2
    return chosen


def _within(candidates: NDArray[np.void], record: NDArray[np.void], distance: float) -> NDArray[np.bool_]:
    return np.hypot(candidates["row"] - record["row"], candidates["col"] - record["col"]) < distance
