import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion

from sparse_seg.boundary import boundary_counts, boundary_distance, boundary_iou


def by_scipy(prediction: np.ndarray, target: np.ndarray, classes: int, distance: int) -> tuple[list[int], list[int]]:
    """The definition, class by class: a mask less its erosion, unlabelled pixels in every mask while it is eroded."""
    square = np.ones((2 * distance + 1,) * 2, bool)
    both, either = [], []
    for c in range(classes):
        edges = []
        for labels in (prediction, target):
            unknown = target == 255
            eroded = binary_erosion((labels == c) | unknown, square, border_value=0)
            edges.append((labels == c) & ~eroded & ~unknown)
        both.append(int((edges[0] & edges[1]).sum()))
        either.append(int((edges[0] | edges[1]).sum()))
    return both, either


@settings(deadline=None, max_examples=60)
@given(
    height=st.integers(3, 24),
    width=st.integers(3, 24),
    distance=st.integers(1, 4),
    unknown=st.sampled_from([0.0, 0.03, 0.9]),
    blocky=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_counts_are_those_of_scipys_erosion(
    height: int, width: int, distance: int, unknown: float, blocky: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    maps = rng.integers(0, 3, (4, height, width))
    if blocky:
        maps = np.repeat(np.repeat(maps, 6, axis=1), 6, axis=2)[:, :height, :width]
    prediction, target = maps[:2], maps[2:].copy()
    target[rng.random(target.shape) < unknown] = 255
    wanted = [by_scipy(p, t, 4, distance) for p, t in zip(prediction, target, strict=True)]
    counts = boundary_counts(torch.from_numpy(prediction), torch.from_numpy(target), 4, distance)
    assert counts[0].tolist() == np.sum([w[0] for w in wanted], axis=0).tolist()
    assert counts[1].tolist() == np.sum([w[1] for w in wanted], axis=0).tolist()


def test_blocks_with_a_halo_add_up_to_the_whole_image() -> None:
    rng = np.random.default_rng(0)
    prediction, target = np.repeat(np.repeat(rng.integers(0, 3, (2, 1, 5, 7)), 9, axis=2), 9, axis=3)
    target[0, 20:23, 4:50] = 255
    p, t = torch.from_numpy(prediction), torch.from_numpy(target)
    height, width, d, block = 45, 63, 3, 16
    total = torch.zeros(2, 3, dtype=torch.int64)
    for top in range(0, height, block):
        for left in range(0, width, block):
            above, before = max(top - d, 0), max(left - d, 0)
            window = (slice(None), slice(above, top + block + d), slice(before, left + block + d))
            counted = (
                slice(top - above, top - above + block),
                slice(left - before, left - before + block),
            )
            total += torch.stack(boundary_counts(p[window], t[window], 3, d, counted))
    assert total.tolist() == torch.stack(boundary_counts(p, t, 3, d)).tolist()


def test_what_is_said_where_the_truth_is_unknown_counts_nothing() -> None:
    target = torch.zeros(1, 20, 20, dtype=torch.int64)
    target[:, 5:12] = 1
    target[:, 8:10, :6] = 255
    prediction = torch.where(target == 255, 2, target)
    both, either = boundary_counts(prediction, target, 3, 2)
    assert both.tolist() == either.tolist()
    assert both[2] == 0
    nothing = boundary_counts(prediction, torch.full_like(target, 255), 3, 2)
    assert torch.stack(nothing).sum() == 0


def test_a_displaced_square_loses_more_boundary_than_area() -> None:
    prediction, target = torch.zeros(2, 1, 64, 64, dtype=torch.int64)
    target[:, 16:48, 16:48] = 1
    prediction[:, 18:50, 16:48] = 1
    iou = boundary_iou(*boundary_counts(prediction, target, 2, 2), ["ground", "roof"])
    # Two bands of 2 pixels along 32 of one side each coincide in nothing, the others but for their ends.
    assert iou["boundary_iou_roof"] < 30 / 34
    assert iou["boundary_iou"] == pytest.approx((iou["boundary_iou_ground"] + iou["boundary_iou_roof"]) / 2)


def test_a_class_without_a_boundary_is_no_number_and_leaves_the_mean() -> None:
    target = torch.zeros(1, 9, 9, dtype=torch.int64)
    counts = boundary_counts(target, target, 2)
    iou = boundary_iou(*counts, ["all", "none"])
    assert (iou["boundary_iou"], iou["boundary_iou_all"]) == (1.0, 1.0)
    assert math.isnan(iou["boundary_iou_none"])


def test_distance_is_two_percent_of_the_diagonal_and_at_least_one() -> None:
    assert [boundary_distance(*size) for size in ((10, 10), (256, 256), (1000, 2000))] == [1, 7, 45]


@pytest.mark.parametrize(("shape", "distance"), [((2, 8, 8), 0), ((8, 8), 1)])
def test_what_cannot_be_counted_is_refused(shape: tuple[int, ...], distance: int) -> None:
    target = torch.zeros(shape, dtype=torch.int64)
    with pytest.raises(ValueError, match="must be"):
        boundary_counts(target, target, 2, distance)
