"""Scores of validation beside the confusion matrix's: each gives numbers by name, which every record passes on."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from sparse_seg.boundary import boundary_counts, boundary_iou
from sparse_seg.errors import UserError

OfCounts = Callable[[Sequence[Sequence[int]], Sequence[str]], Mapping[str, float]]
Score = Metric | OfCounts
"""A metric with `update(logits, target)` and a `compute()` that gives numbers by name, or a function of the confusion
matrix (rows truth, columns prediction) and the classes' names that does."""


class BoundaryIoU(Metric):
    """`sparse_seg.boundary` over a validation set: `boundary_iou`, and `boundary_iou_<class>` for each class.

    update: logits (B, C, H, W) and target (B, H, W) int64, 255 = unlabelled. Counts add up over images and ranks.

    Args:
        class_names: C names.

    Example:
        >>> score = BoundaryIoU(["ground", "roof"])
        >>> score.update(torch.zeros(1, 2, 8, 8), torch.zeros(1, 8, 8, dtype=torch.int64))
        >>> score.compute()["boundary_iou_ground"]
        1.0
    """

    full_state_update = False
    needs_masks = True
    """Single points have no outline, so validation on points leaves this score out."""

    intersection: Tensor
    union: Tensor

    def __init__(self, class_names: Sequence[str]) -> None:
        super().__init__()
        self.class_names = list(class_names)
        for name in ("intersection", "union"):
            self.add_state(name, torch.zeros(len(self.class_names), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Count a batch."""
        intersection, union = boundary_counts(logits.max(1).indices, target, len(self.class_names))
        self.intersection += intersection
        self.union += union

    def compute(self) -> Mapping[str, float]:
        """The scores of all that was counted."""
        return boundary_iou(self.intersection, self.union, self.class_names)


def as_score(name: str, score: Any, class_names: Sequence[str]) -> Score:
    """A score from what Hydra built out of a configuration.

    Args:
        name: its key, for messages.
        score: a metric; a function of (confusion, class_names); or a `functools.partial` (`_partial_: true`) of
            either, where that of a metric's class is given `class_names` if it takes them.
        class_names: of the data set.

    Raises:
        UserError: anything else.
    """
    made = score.func if isinstance(score, functools.partial) else score
    if inspect.isclass(made) and issubclass(made, Metric):
        takes_names = "class_names" in inspect.signature(score).parameters
        score = made = score(class_names=list(class_names)) if takes_names else score()
    if isinstance(made, Metric) or inspect.isroutine(made):
        found: Score = score
        return found
    raise UserError(
        f"scores.{name} must be a torchmetrics.Metric or a function of (confusion, class_names) with _partial_: true, "
        f"got {type(score).__name__}"
    )


def numbers_of(name: str, said: Any) -> dict[str, float]:
    """What a score said, as plain numbers by name.

    Raises:
        UserError: it is not a mapping of names to single numbers.
    """
    try:
        return {str(key): float(value) for key, value in said.items()}
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"scores.{name} must give a dict of single numbers by name: {error}") from error
