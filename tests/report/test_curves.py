"""A curve over points per class, fitted to scores whose truth is known."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sparse_seg.report.curves import fit
from sparse_seg.report.rows import more_densities


def table_of(values: Any, points: Sequence[int]) -> pd.DataFrame:
    return pd.DataFrame(np.atleast_2d(values), columns=list(points))


@pytest.mark.parametrize("points", [(5, 20, 50), (5, 10, 20, 50), (1, 3, 10, 30, 100)])
@pytest.mark.parametrize("c", [0.3, 0.5, 1.0])
def test_a_power_law_is_recovered(points: Sequence[int], c: float) -> None:
    n = np.array(points)
    curve = fit(table_of(0.6 - 0.4 * n**-c, points))
    assert curve is not None
    assert curve.saturates
    assert curve.power_law == pytest.approx((0.6, 0.4, c), abs=1e-3)
    assert curve.value(7).mean == pytest.approx(0.6 - 0.4 * 7**-c, abs=1e-5)
    last = points[-1]
    assert curve.gain().mean == pytest.approx(0.4 * (last**-c - (2 * last) ** -c), abs=1e-5)
    assert curve.gain().low is None  # one row


@pytest.mark.parametrize("points", [(5, 20), (5, 20, 50), (5, 10, 20, 40, 80)])
def test_a_line_in_log2_n_is_recovered(points: Sequence[int]) -> None:
    curve = fit(table_of(0.35 + 0.02 * np.log2(points), points))
    assert curve is not None
    assert curve.saturates == (len(points) > 2)
    assert curve.gain().mean == pytest.approx(0.02, abs=2e-4)
    assert curve.power_law is None


def test_of_two_densities_the_interval_is_the_paired_t_interval() -> None:
    rng = np.random.default_rng(0)
    scores = np.array([0.4, 0.46]) + rng.normal(0, 0.01, (4, 1)) + rng.normal(0, 0.01, (4, 2))
    curve = fit(table_of(scores, (5, 20)))
    assert curve is not None
    test = stats.ttest_1samp((scores[:, 1] - scores[:, 0]) / 2, 0)  # 5 → 20 are two doublings
    gain, interval = curve.gain(), test.confidence_interval(0.95)
    assert gain.mean == pytest.approx((scores[:, 1] - scores[:, 0]).mean() / 2)
    assert [gain.low, gain.high] == pytest.approx([interval.low, interval.high])


def test_what_a_seed_changes_everywhere_alike_leaves_the_gain_certain() -> None:
    n = np.array([5, 10, 20, 50])
    curve = fit(table_of(0.6 - 0.4 * n**-0.5 + np.array([[0.0], [0.03], [-0.05]]), n.tolist()))
    assert curve is not None
    gain, level = curve.gain(), curve.value(50)
    assert gain.half == pytest.approx(0, abs=1e-9)
    assert level.half is not None
    assert level.half > 0.05


@pytest.mark.parametrize(
    ("truth", "points", "seeds", "widest"),
    [
        (lambda n: 0.6 - 0.4 * n**-0.5, (5, 20, 50), 3, 1.5),
        (lambda n: 0.6 - 0.4 * n**-0.5, (5, 10, 20, 50), 3, 1.5),
        (lambda n: 0.6 - 0.4 * n**-0.5, (5, 10, 20, 50, 100), 5, 1.5),
        (lambda n: 0.35 + 0.02 * np.log2(n), (5, 20), 3, 1.5),
        (lambda n: 0.5 + 0 * n, (5, 10, 20, 50), 3, 4.0),  # where nothing rises, its shape is anybody's guess
    ],
)
def test_intervals_of_the_gain_hold_the_truth_and_are_no_wider_than_that_takes(
    truth: Any, points: Sequence[int], seeds: int, widest: float
) -> None:
    rng, n = np.random.default_rng(7), np.array(points, float)
    true, hits = truth(2 * n[-1]) - truth(n[-1]), 0
    gains: list[float] = []
    halves: list[float] = []
    for _ in range(60):
        noise = rng.normal(0, 0.01, (seeds, 1)) + rng.normal(0, 0.008, (seeds, len(n)))
        curve = fit(table_of(truth(n) + noise, points))
        assert curve is not None
        gain = curve.gain()
        assert gain.low is not None
        assert gain.high is not None
        hits += gain.low <= true <= gain.high
        gains.append(gain.mean)
        halves.append((gain.high - gain.low) / 2)
    assert hits >= 51  # of 60 at 95 %: fewer have a chance below 1 in 1000
    needed = stats.t.ppf(0.975, seeds - 1) * np.std(gains)
    assert 0.5 * needed < np.mean(halves) < widest * needed


def test_no_curve_without_two_densities_or_with_an_empty_one() -> None:
    assert fit(table_of([0.5], (20,))) is None
    assert fit(table_of([[0.4, np.nan], [0.5, np.nan]], (5, 20))) is None


def test_densities_to_add_are_doublings_and_halvings() -> None:
    assert more_densities([20]) == [5, 10, 40]
    assert more_densities([5, 20, 50]) == [100]
    assert more_densities([1]) == [2, 4, 8]
    assert more_densities([]) == [5, 10, 20, 40]
    assert more_densities([5, 10, 20, 50]) == []
