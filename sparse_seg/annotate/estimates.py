"""How good a map is, and how large its classes are, from check points: stratified estimators with intervals.

Olofsson et al. 2014, "Good practices for estimating area and assessing accuracy of land change", Remote Sensing of
Environment 148 (doi 10.1016/j.rse.2014.02.015), eq. 2 to 11; IoU is a ratio of two such estimates, with the variance of
Stehman 2014 (doi 10.1080/01431161.2014.930207), whose estimators are those of a map that the points were not drawn by,
too. The map may change between two check points: then pixels of one class were not all equally likely to be asked for,
and count by the weight that each has. With equal weights that is Olofsson's estimator.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Z = 1.959964
"""Of a 95 % interval."""
Values = NDArray[np.float64]
FEWEST = 2
"""Check points of a class of the map, from which a variance is known."""


class Estimate(NamedTuple):
    """A share and half of its 95 % interval; NaN where nothing is known of it."""

    value: float
    half: float


class Estimates(NamedTuple):
    """accuracy: share of the area that the map has right. miou: mean over classes. iou, area: of each class; area is a
    share of all of it. missing: classes of the map with too few check points; what they cover counts in none of these.
    """

    accuracy: Estimate
    miou: Estimate
    iou: list[Estimate]
    area: list[Estimate]
    missing: list[int]


def estimates(
    mapped: Sequence[int],
    reference: Sequence[int],
    weights: Sequence[float],
    pixels: Sequence[float],
    strata: Sequence[int] | None = None,
) -> Estimates:
    """Estimate accuracy, IoU and areas.

    Args:
        mapped: (N,) class of the map at each check point.
        reference: (N,) class that a person says.
        weights: (N,) of the points: one ÷ the probability with which each was asked for, up to a factor.
        pixels: (C,) of each class in the map that the points were drawn by.
        strata: (N,) class of that map at each point, where another one is scored; None: it is the one that is scored.

    Example:
        >>> mapped, said = [0] * 50 + [1] * 50, [0] * 45 + [1] * 55
        >>> found = estimates(mapped, said, [1] * 100, [300, 700])
        >>> round(found.accuracy.value, 3), round(found.area[0].value, 3)
        (0.97, 0.27)
    """
    classes, drawn = len(pixels), np.asarray(mapped if strata is None else strata)
    missing, share = _shares(drawn, pixels)
    if not share.sum():
        nothing = Estimate(math.nan, math.nan)
        return Estimates(nothing, nothing, [nothing] * classes, [nothing] * classes, missing)
    use = share[drawn] > 0
    here, said, w = np.asarray(mapped)[use], np.asarray(reference)[use], np.asarray(weights, np.float64)[use]
    drawn, ones = drawn[use], np.ones(int(use.sum()))
    both = [_ratio((here == k) & (said == k), (here == k) | (said == k), drawn, w, share) for k in range(classes)]
    known = [k for k in range(classes) if not math.isnan(both[k][0])]
    mean = float(np.mean([both[k][0] for k in known]))
    spread = np.mean([both[k][1] for k in known], axis=0)
    return Estimates(
        _estimate(*_ratio(here == said, ones, drawn, w, share), drawn, w, share),
        _estimate(mean, spread, drawn, w, share),
        [_estimate(*b, drawn, w, share) for b in both],
        [_estimate(*_ratio(said == k, ones, drawn, w, share), drawn, w, share) for k in range(classes)],
        missing,
    )


def ahead(
    mapped: Sequence[int],
    reference: Sequence[int],
    weights: Sequence[float],
    pixels: Sequence[float],
    strata: Sequence[int],
) -> Estimate:
    """How much more of the area one map has right than the map that the points were drawn by.

    Both are scored by the same points, so the interval is narrower than those of the two accuracies.

    Args:
        mapped, reference, weights, pixels, strata: as for `estimates`.

    Example:
        >>> round(ahead([0, 0, 1, 1, 1], [0, 0, 1, 1, 1], [1] * 5, [60, 40], [0, 0, 0, 1, 1]).value, 3)
        0.2
    """
    drawn = np.asarray(strata)
    _, share = _shares(drawn, pixels)
    if not share.sum():
        return Estimate(math.nan, math.nan)
    use = share[drawn] > 0
    here, said, w = np.asarray(mapped)[use], np.asarray(reference)[use], np.asarray(weights, np.float64)[use]
    more = (here == said).astype(np.float64) - (drawn[use] == said)
    return _estimate(*_ratio(more, np.ones(len(here)), drawn[use], w, share), drawn[use], w, share)


def _shares(strata: NDArray[np.int_], pixels: Sequence[float]) -> tuple[list[int], Values]:
    """Classes with too few points, and the share of each other one in what these leave; zeros if that is nothing."""
    missing = [k for k, n in enumerate(pixels) if n > 0 and np.count_nonzero(strata == k) < FEWEST]
    area = np.asarray(pixels, np.float64) * [k not in missing for k in range(len(pixels))]
    return missing, area / (area.sum() or 1)


def _ratio(
    y: NDArray[Any], x: NDArray[Any], strata: NDArray[np.int_], w: Values, share: Values
) -> tuple[float, Values]:
    """Σ y ÷ Σ x over all pixels, and what each point adds to it, to first order."""
    above, below = y.astype(np.float64), x.astype(np.float64)
    top, bottom = (sum(share[h] * _mean(v, strata == h, w) for h in np.unique(strata)) for v in (above, below))
    if not bottom:
        return math.nan, np.full(len(above), math.nan)
    return float(top / bottom), (above - top / bottom * below) / bottom


def _mean(v: Values, use: NDArray[np.bool_], w: Values) -> float:
    return float((w[use] * v[use]).sum() / w[use].sum())


def _estimate(value: float, part: Values, strata: NDArray[np.int_], w: Values, share: Values) -> Estimate:
    variance = 0.0
    for h in np.unique(strata):
        use = strata == h
        n, relative = int(use.sum()), w[use] / w[use].sum()
        residual = part[use] - _mean(part, use, w)
        variance += float(share[h] ** 2 * (relative**2 * residual**2).sum() * n / (n - 1))
    return Estimate(value, Z * math.sqrt(variance))


def more_to_halve(count: int) -> int:
    """How many check points more would halve an interval: it shrinks with the root of their number."""
    return 3 * count
