"""Estimates from check points, against the paper's example and against what is true of a simulated map."""

import math

import numpy as np
import pytest

from sparse_seg.annotate.estimates import Estimates, estimates, more_to_halve

MATRIX = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
PIXELS = [200_000, 150_000, 3_200_000, 6_450_000]
"""Olofsson et al. 2014, tables 8 and 9: deforestation, forest gain, stable forest, stable non-forest, in hectares."""


def of_matrix(matrix: np.ndarray, pixels: list[int]) -> Estimates:
    mapped, said = np.nonzero(matrix)
    counts = matrix[mapped, said]
    return estimates(np.repeat(mapped, counts), np.repeat(said, counts), [1.0] * int(counts.sum()), pixels)


def test_the_papers_example() -> None:
    found = of_matrix(MATRIX, PIXELS)
    assert found.accuracy.value == pytest.approx(0.947, abs=5e-4)
    assert found.accuracy.half == pytest.approx(0.0185, abs=5e-4)
    total = sum(PIXELS)
    assert found.area[0].value * total == pytest.approx(235_086, rel=1e-4)
    assert found.area[0].half * total == pytest.approx(68_418, rel=1e-3)
    assert not found.missing


def test_a_map_that_is_right_has_no_doubt() -> None:
    found = of_matrix(np.diag([5, 5, 5]), [10, 20, 70])
    assert found.accuracy == (1, 0)
    assert found.miou == (1, 0)
    assert [a.value for a in found.area] == pytest.approx([0.1, 0.2, 0.7])


def test_classes_with_too_few_points_are_named_and_left_out() -> None:
    found = of_matrix(np.array([[4, 1, 0], [1, 4, 0], [0, 0, 1]]), [10, 20, 70])
    assert found.missing == [2]
    assert sum(a.value for a in found.area) == pytest.approx(1)
    assert math.isnan(found.iou[2].value)
    none = estimates([], [], [], [10, 20])
    assert none.missing == [0, 1]
    assert math.isnan(none.accuracy.value)


def test_halving_takes_four_times_as_many() -> None:
    few, many = of_matrix(MATRIX, PIXELS), of_matrix(MATRIX * 4, PIXELS)
    assert many.accuracy.half / few.accuracy.half == pytest.approx(0.5, abs=0.01)
    assert more_to_halve(int(MATRIX.sum())) + MATRIX.sum() == 4 * MATRIX.sum()


@pytest.mark.parametrize(
    ("changes", "points", "least"),
    [(False, 450, 0.91), (True, 450, 0.91), (False, 150, 0.9)],
    ids=["one map", "a map that changes", "fewer points"],
)
def test_intervals_hold_the_truth_nineteen_times_in_twenty(changes: bool, points: int, least: float) -> None:
    draw = np.random.default_rng(1)
    truth = draw.choice(3, 20_000, p=[0.1, 0.3, 0.6])
    final = np.where(draw.random(20_000) < 0.85, truth, draw.integers(0, 3, 20_000))
    early = np.where(draw.random(20_000) < 0.5, final, draw.integers(0, 3, 20_000))
    inside = {name: [np.flatnonzero(m == k) for k in range(3)] for name, m in (("early", early), ("final", final))}
    pixels = np.bincount(final, minlength=3).tolist()
    iou = [((final == k) & (truth == k)).sum() / ((final == k) | (truth == k)).sum() for k in range(3)]
    true = np.array([np.mean(final == truth), np.mean(iou), iou[0], np.mean(truth == 0)])
    rounds = 300
    error = np.zeros((rounds, 4))
    hits = np.zeros((rounds, 4))
    for k in range(rounds):
        label = draw.integers(3, size=points)
        where = ["early" if changes and number < points // 3 else "final" for number in range(points)]
        sets = [inside[name][h] for name, h in zip(where, label, strict=True)]
        at = [int(those[draw.integers(len(those))]) for those in sets]
        found = estimates(final[at].tolist(), truth[at].tolist(), [float(len(those)) for those in sets], pixels)
        each = [found.accuracy, found.miou, found.iou[0], found.area[0]]
        error[k] = [e.value for e in each] - true
        hits[k] = np.abs(error[k]) <= [e.half for e in each]
    assert (hits.mean(0) > least).all(), hits.mean(0)
    assert (hits.mean(0) < 0.985).all(), hits.mean(0)
    assert (np.abs(error.mean(0)) < 0.006).all(), error.mean(0)
