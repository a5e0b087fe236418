"""Which pixels could be labelled next: the best one of each cell of an image."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sparse_seg.classes import IGNORE_INDEX, Mask
from sparse_seg.suggest.records import PIXEL


def entropy(logits: Tensor) -> Tensor:
    """Predictive entropy −Σ p·log p ÷ log K of (K, H, W) logits: (H, W), 0 = certain, 1 = all classes alike.

    Shannon's entropy as in Settles, Active Learning Literature Survey (2009), section 2.3.
    """
    total: Tensor = torch.special.entr(logits.softmax(0)).sum(0)
    return total / math.log(len(logits))


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
