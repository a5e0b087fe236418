"""Scores against scikit-learn, and at the edges: absent classes, nothing at all."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, jaccard_score
from torch import nn

from sparse_seg import metrics
from sparse_seg.classes import IGNORE_INDEX
from sparse_seg.metrics import accuracy, f1_per_class, iou_per_class, mean_iou
from sparse_seg.training.task import SegmentationTask

CLASSES = 5
labels = st.tuples(st.integers(0, 2**31), st.integers(0, 200), st.integers(1, CLASSES), st.floats(0, 1))


def draw(seed: int, pixels: int, used: int, right: float) -> tuple[np.ndarray, np.ndarray]:
    """Truth with ignored pixels, and a prediction that is right in at least `right` of them; of `used` classes."""
    rng = np.random.default_rng(seed)
    truth, guess = rng.integers(used, size=(2, pixels))
    guess = np.where(rng.random(pixels) < right, truth, guess)
    return np.where(rng.random(pixels) < 0.2, IGNORE_INDEX, truth), guess


def matrix(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    kept = truth != IGNORE_INDEX
    if not kept.any():
        return np.zeros((CLASSES, CLASSES), int)
    return confusion_matrix(truth[kept], guess[kept], labels=range(CLASSES))


@settings(deadline=None, max_examples=50)
@given(labels)
def test_scores_are_those_of_scikit_learn(drawn):
    truth, guess = draw(*drawn)
    counts, kept = matrix(truth, guess), truth != IGNORE_INDEX
    np.testing.assert_array_equal(metrics.confusion_matrix(truth, guess, CLASSES), counts)
    truth, guess = truth[kept], guess[kept]
    present = np.union1d(truth, guess)
    absent = np.setdiff1d(np.arange(CLASSES), present)
    for score, reference in ((iou_per_class, jaccard_score), (f1_per_class, f1_score)):
        assert np.isnan(score(counts)[absent]).all()
        assert score(counts).shape == (CLASSES,)
        if len(present):
            np.testing.assert_allclose(score(counts)[present], reference(truth, guess, labels=present, average=None))
    if len(present):
        assert mean_iou(counts) == pytest.approx(jaccard_score(truth, guess, labels=present, average="macro"))
        assert accuracy(counts) == pytest.approx(accuracy_score(truth, guess))


def test_rows_are_truth_and_the_figures_are_those_by_hand():
    counts = [[3, 1, 0], [2, 4, 0], [0, 0, 0]]  # class 2 is nowhere
    np.testing.assert_allclose(iou_per_class(counts), [3 / 6, 4 / 7, np.nan])
    np.testing.assert_allclose(f1_per_class(counts), [6 / 9, 8 / 11, np.nan])
    assert mean_iou(counts) == pytest.approx((3 / 6 + 4 / 7) / 2)
    assert accuracy(counts) == 0.7


def test_pixels_that_one_map_leaves_open_are_not_counted():
    truth, said = np.array([[0, 255, 1]], np.uint8), np.array([[255, 0, 0]], np.uint8)
    assert metrics.confusion_matrix(truth, said, 2).tolist() == [[0, 0], [1, 0]]
    with pytest.raises(ValueError, match="3 is the index of no class; there are 2"):
        metrics.confusion_matrix(truth, np.full_like(said, 3), 2)
    with pytest.raises(ValueError, match="must be of one shape"):
        metrics.confusion_matrix(truth, said[0], 2)


def test_a_class_that_is_only_predicted_scores_zero_and_counts():
    counts = [[5, 5], [0, 0]]
    assert iou_per_class(counts).tolist() == [0.5, 0.0]
    assert mean_iou(counts) == 0.25


def test_areas_are_the_sums_of_rows_and_columns():
    counts = [[3, 1, 0], [2, 3, 1], [0, 0, 0]]  # the truth lacks class 2
    true, predicted = metrics.area_shares(counts)
    assert (true.tolist(), predicted.tolist()) == ([0.4, 0.6, 0], [0.5, 0.4, 0.1])
    np.testing.assert_allclose(metrics.area_ratios(counts), [5 / 4, 4 / 6, np.nan])


def test_all_right_is_one_and_all_wrong_is_zero():
    right, wrong = np.diag([1, 20, 300]), np.array([[0, 5], [7, 0]])
    assert iou_per_class(right).tolist() == f1_per_class(right).tolist() == [1, 1, 1]
    assert (mean_iou(right), accuracy(right)) == (1, 1)
    assert (mean_iou(wrong), accuracy(wrong)) == (0, 0)


def test_nothing_scored_is_nan_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        empty = np.zeros((3, 3), int)
        assert np.isnan(iou_per_class(empty)).all()
        assert np.isnan(f1_per_class(empty)).all()
        assert np.isnan(metrics.area_shares(empty)).all()
        assert np.isnan(metrics.area_ratios(empty)).all()
        assert math.isnan(mean_iou(empty))
        assert math.isnan(accuracy(empty))
        assert not math.isnan(mean_iou([[1, 0, 0], [0, 0, 0], [0, 0, 0]]))


def test_counts_of_billions_of_pixels_are_exact_enough():
    counts = np.array([[2**40, 1], [1, 2**40]], np.int64)
    assert iou_per_class(counts).tolist() == [2**40 / (2**40 + 2)] * 2


def task() -> SegmentationTask:
    return SegmentationTask(nn.Identity(), nn.Identity(), class_names=[str(k) for k in range(CLASSES)])


@settings(deadline=None, max_examples=15)
@given(labels)
def test_the_matrix_of_the_task_is_that_of_scikit_learn_over_all_batches(drawn):
    seed, pixels, used, right = drawn
    truth, guess = draw(seed, pixels + 4, used, right)
    confusion = task().confusion
    for part in np.array_split(np.arange(len(truth)), 3):
        confusion.update(torch.from_numpy(guess[part]), torch.from_numpy(truth[part]))
    np.testing.assert_array_equal(confusion.compute(), matrix(truth, guess))


def test_validation_steps_add_up_to_one_matrix_of_the_full_masks():
    """Logits in, argmax, unlabelled pixels left out; a batch of nothing but padding changes nothing."""
    truth, guess = (x.reshape(6, 4, 5) for x in draw(0, 120, CLASSES, 0.5))
    scored = task()
    truths = [*np.split(truth, 3), np.full((2, 4, 5), IGNORE_INDEX)]
    for t, g in zip(truths, [*np.split(guess, 3), guess[:2]], strict=True):
        logits = nn.functional.one_hot(torch.from_numpy(g), CLASSES).movedim(-1, 1).float()
        scored.validation_step({"image": logits, "target": torch.from_numpy(t)}, 0)
    np.testing.assert_array_equal(scored.confusion.compute(), matrix(truth.ravel(), guess.ravel()))
