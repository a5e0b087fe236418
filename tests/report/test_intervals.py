"""Means and paired differences with their intervals, and the sentences on them."""

import pandas as pd
import pytest
from scipy import stats

from sparse_seg.report.cells import sentence
from sparse_seg.report.intervals import Estimate, estimate, paired


def test_interval_of_the_mean_is_that_of_the_t_distribution() -> None:
    found = estimate([0.47, 0.49, 0.48])
    assert found is not None
    assert found.half is not None
    assert found.mean == pytest.approx(0.48)
    # Student's t at 0.975 with 2 degrees of freedom is 4.302653; the standard error is 0.01 / √3.
    assert found.half == pytest.approx(4.302653 * 0.01 / 3**0.5, rel=1e-6)


def test_paired_difference_is_the_paired_t_test_of_the_common_seeds() -> None:
    a = pd.Series([0.5, 0.52, 0.51, 0.6], index=[0, 1, 2, 7])
    b = pd.Series([0.47, 0.5, 0.45, 0.4], index=[0, 1, 2, 8])
    found, test = paired(a, b), stats.ttest_rel([0.5, 0.52, 0.51], [0.47, 0.5, 0.45])
    assert found is not None
    assert found.n == 3
    assert found.p == pytest.approx(test.pvalue)
    interval = test.confidence_interval(0.95)
    assert [found.low, found.high] == pytest.approx([interval.low, interval.high])


def test_one_value_has_no_interval_and_none_has_no_mean() -> None:
    assert estimate([0.5, float("nan")]) == Estimate(0.5, 1)
    assert estimate([float("nan")]) is None


def test_equal_values_have_an_interval_without_width() -> None:
    same, half = pd.Series([0.5, 0.25]), pd.Series([0.25, 0.0])
    assert paired(same, same) == Estimate(0.0, 2, 0.0, 0.0, 1.0)
    assert paired(same, half) == Estimate(0.25, 2, 0.25, 0.25, 0.0)
    assert estimate([0.5, 0.5]) == Estimate(0.5, 2, 0.5, 0.5)


def test_sentences_say_what_is_shown() -> None:
    assert sentence("CE − focal", Estimate(0.4, 3, -1.1, 1.9, 0.36), "CE", "focal") == (
        "CE − focal = +0.4 points, 95 % interval −1.1 to +1.9, p = 0.360: no difference shown with 3 seeds."
    )
    assert sentence("CE − focal", Estimate(-2.0, 5, -3.0, -1.0, 0.0002), "CE", "focal", 0.4) == (
        "CE − focal = −2.0 points, 95 % interval −3.0 to −1.0, p < 0.001: focal is higher, shown with 5 seeds "
        "(the report, one run each: +0.4)."
    )
    later = sentence("Epochs", Estimate(-2.3, 3, -3.8, -0.9, 0.02), "CE", "focal", unit="epochs", more="needs more")
    assert later.endswith("p = 0.020: focal needs more, shown with 3 seeds.")
    assert "one seed: no interval" in sentence("x", Estimate(0.4, 1), "CE", "focal")
    assert "no seed has both" in sentence("x", None, "CE", "focal")
