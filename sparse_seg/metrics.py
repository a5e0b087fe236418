"""Scores from one confusion matrix over the whole validation set. Plain numpy: reports use them without torch."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


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


def _ratio(part: Floats, whole: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, part / whole, np.nan)
