"""How good a map is, and how large its classes are, from check points: stratified estimators with intervals.

Olofsson et al. 2014, "Good practices for estimating area and assessing accuracy of land change", Remote Sensing of
Environment 148 (doi 10.1016/j.rse.2014.02.015), eq. 2 to 11; IoU is a ratio of two such estimates, with the variance of
Stehman 2014 (doi 10.1080/01431161.2014.930207). The map may change between two check points: then pixels of one class
were not all equally likely to be asked for, and count by the weight that each has. With equal weights that is
Olofsson's estimator.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Z = 1.959964
"""Of a 95 % interval."""
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
    mapped: Sequence[int], reference: Sequence[int], weights: Sequence[float], pixels: Sequence[float]
) -> Estimates:
    """Estimate accuracy, IoU and areas.

    Args:
        mapped: (N,) class of the map at each check point.
        reference: (N,) class that a person says.
        weights: (N,) of the points: one ÷ the probability with which each was asked for, up to a factor.
        pixels: (C,) of each class in the map.

    Example:
        >>> mapped, said = [0] * 50 + [1] * 50, [0] * 45 + [1] * 55
        >>> found = estimates(mapped, said, [1] * 100, [300, 700])
        >>> round(found.accuracy.value, 3), round(found.area[0].value, 3)
        (0.97, 0.27)
    """
    strata, said, w = np.asarray(mapped), np.asarray(reference), np.asarray(weights, np.float64)
    classes = len(pixels)
    missing = [k for k in range(classes) if pixels[k] > 0 and np.count_nonzero(strata == k) < FEWEST]
    area = np.asarray(pixels, np.float64) * [k not in missing for k in range(classes)]
    if not area.sum():
        nothing = Estimate(math.nan, math.nan)
        return Estimates(nothing, nothing, [nothing] * classes, [nothing] * classes, missing)
    share = area / area.sum()
    use = share[strata] > 0
    strata, said, w = strata[use], said[use], w[use]
    ones = np.ones(len(strata))
    both = [_ratio((strata == k) & (said == k), (strata == k) | (said == k), strata, w, share) for k in range(classes)]
    known = [k for k in range(classes) if not math.isnan(both[k][0])]
    mean = float(np.mean([both[k][0] for k in known]))
    spread = np.mean([both[k][1] for k in known], axis=0)
    return Estimates(
        _estimate(*_ratio(strata == said, ones, strata, w, share), strata, w, share),
        _estimate(mean, spread, strata, w, share),
        [_estimate(*b, strata, w, share) for b in both],
        [_estimate(*_ratio(said == k, ones, strata, w, share), strata, w, share) for k in range(classes)],
        missing,
    )


Values = NDArray[np.float64]


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
