"""Means over seeds with what is known of their accuracy."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean of `n` values.

    low, high: 95 % interval of the mean from the t distribution; None with one value. p: for a mean of paired
    differences, of the paired t-test that there is none; else None.
    """

    mean: float
    n: int
    low: float | None = None
    high: float | None = None
    p: float | None = None

    @property
    def half(self) -> float | None:
        """Half the interval's width."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def shown(self) -> bool:
        """True if the interval leaves out 0."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    def times(self, factor: float) -> "Estimate":
        """The same in another unit; factor > 0."""
        low, high = (None if v is None else v * factor for v in (self.low, self.high))
        return Estimate(self.mean * factor, self.n, low, high, self.p)


def estimate(values: Iterable[float]) -> Estimate | None:
    """Mean and interval of the values that are defined; None if none is."""
    found = _tested(values)
    return replace(found, p=None) if found else None


def paired(a: "pd.Series[float]", b: "pd.Series[float]") -> Estimate | None:
    """Mean of a − b over the seeds, their index, that both have; None if there is none.

    Example:
        >>> import pandas as pd
        >>> paired(pd.Series([0.5, 0.6]), pd.Series([0.4, 0.5, 0.9])).n
        2
    """
    return _tested((a - b).dropna())


def share(runs: "pd.Series[float]", full: "pd.Series[float]") -> Estimate | None:
    """Mean over the seeds, their index, that both have of 100 · runs / full, in percent."""
    return estimate((100 * runs / full).dropna())


def _tested(values: Iterable[float]) -> Estimate | None:
    """As `estimate`, with the p of the t-test that the mean is 0, which for differences is the paired t-test."""
    import numpy as np  # slow, and whoever lists the tables needs neither of the two
    from scipy import stats

    x = np.asarray(list(values), np.float64)
    x = x[np.isfinite(x)]
    if x.size == 0:
        return None
    mean = float(x.mean())
    if x.size == 1:
        return Estimate(mean, 1)
    if np.ptp(x) == 0:  # scipy warns and answers NaN where it divides by the spread
        return Estimate(mean, int(x.size), mean, mean, 1.0 if mean == 0 else 0.0)
    test = stats.ttest_1samp(x, 0.0)
    interval = test.confidence_interval(LEVEL)
    return Estimate(mean, int(x.size), float(interval.low), float(interval.high), float(test.pvalue))
