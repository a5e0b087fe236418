"""The confusion matrix, and scores from one over a whole validation set. Plain numpy: no torch is needed."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparse_seg.classes import IGNORE_INDEX, Mask

Floats = NDArray[np.float64]


def confusion_matrix(truth: Mask, said: Mask, classes: int) -> NDArray[np.int64]:
    """Count pixels by what they are and what they are called; those that are 255 in either map are left out.

    Args:
        truth: class index per pixel, 255 = unlabelled, of any shape.
        said: likewise, of the same shape.
        classes: number of classes.

    Returns:
        (classes, classes), rows truth, columns said.

    Raises:
        ValueError: the shapes differ, or an index is no class.

    Example:
        >>> confusion_matrix(np.array([0, 0, 1, 255]), np.array([0, 1, 1, 1]), 2)
        array([[1, 1],
               [0, 1]])
    """
    if truth.shape != said.shape:
        raise ValueError(f"truth and said must be of one shape, got {truth.shape} and {said.shape}")
    seen = (truth != IGNORE_INDEX) & (said != IGNORE_INDEX)
    rows, columns = truth[seen].astype(np.int64), said[seen].astype(np.int64)
    if len(rows) and (high := max(rows.max(), columns.max())) >= classes:
        raise ValueError(f"{high} is the index of no class; there are {classes}")
    return np.bincount(rows * classes + columns, minlength=classes**2).reshape(classes, classes)


def iou_per_class(confusion: ArrayLike) -> Floats:
    """Intersection over union. confusion: (C, C) counts, rows truth, columns prediction. Returns (C,).

    TP / (TP + FP + FN); NaN for a class that is absent from both truth and prediction.
    """
    m = np.asarray(confusion, np.float64)
    tp = np.diag(m)
    return _ratio(tp, m.sum(0) + m.sum(1) - tp)


def f1_per_class(confusion: ArrayLike) -> Floats:
    """F1 (Dice) score, 2 TP / (2 TP + FP + FN), as `iou_per_class`."""
    m = np.asarray(confusion, np.float64)
    return _ratio(2 * np.diag(m), m.sum(0) + m.sum(1))


def mean_iou(confusion: ArrayLike) -> float:
    """Plain mean of the classes' IoU without the absent ones; NaN if nothing was scored."""
    iou = iou_per_class(confusion)
    return float(np.nanmean(iou)) if np.isfinite(iou).any() else float("nan")


def accuracy(confusion: ArrayLike) -> float:
    """Share of the labelled pixels that are right; NaN if there are none."""
    m = np.asarray(confusion, np.float64)
    return float(_ratio(np.trace(m), m.sum()))


def area_shares(confusion: ArrayLike) -> tuple[Floats, Floats]:
    """Shares of the classes among the scored pixels, of the truth and of the prediction; NaN if nothing was scored.

    Args:
        confusion: (C, C) counts, rows truth, columns prediction.

    Returns:
        (C,) true and (C,) predicted; each has the sum 1.

    Example:
        >>> true, predicted = area_shares([[2, 1], [0, 1]])
        >>> true.tolist(), predicted.tolist()
        ([0.75, 0.25], [0.5, 0.5])
    """
    m = np.asarray(confusion, np.float64)
    return _ratio(m.sum(1), m.sum()), _ratio(m.sum(0), m.sum())


def area_ratios(confusion: ArrayLike) -> Floats:
    """Predicted ÷ true area of each class, (C,); NaN for a class that the truth lacks. confusion: as above."""
    m = np.asarray(confusion, np.float64)
    return _ratio(m.sum(0), m.sum(1))


def _ratio(part: Floats, whole: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, part / whole, np.nan)
