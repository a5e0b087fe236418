"""Where to click next: the entropy, the candidates of an image however it is cut, and the choice among them."""

import itertools

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_seg.suggest.candidates import Candidates, entropy
from sparse_seg.suggest.choice import choose
from sparse_seg.suggest.records import PIXEL

CLASSES = 3


def logits_of(seed: int, height: int, width: int) -> torch.Tensor:
    return 3 * torch.randn(CLASSES, height, width, generator=torch.Generator().manual_seed(seed))


def candidates(height: int, width: int, cell: int, rows: list[int], by: str = "entropy", truth=None, valid=None):
    """Gathered from strips that begin at `rows`."""
    logits, found = logits_of(0, height, width), Candidates((height, width), cell, by)
    valid = np.ones((height, width), bool) if valid is None else valid
    for start, end in itertools.pairwise([*sorted({0, *rows}), height]):
        part = np.s_[start:end]
        found.add(start, 0, logits[:, part], valid[part], None if truth is None else truth[part])
    return found.best()


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    """But for the last digit, in which the parts of a strip may be rounded otherwise."""
    one, other = (c[np.lexsort((c["col"], c["row"]))] for c in (found, expected))
    for name in ("row", "col", "predicted", "truth"):
        np.testing.assert_array_equal(one[name], other[name])
    np.testing.assert_allclose(one["score"], other["score"], rtol=1e-5)


def test_entropy_is_shannons_as_a_share_of_the_most_there_can_be():
    logits = logits_of(1, 4, 5)
    expected = scipy.stats.entropy(logits.softmax(0).numpy(), axis=0) / np.log(CLASSES)
    np.testing.assert_allclose(entropy(logits), expected, rtol=1e-5)
    assert entropy(torch.zeros(CLASSES, 1, 1)).item() == pytest.approx(1)
    assert entropy(torch.tensor([1e4, 0.0, 0.0])[:, None, None]).item() == 0


def test_each_cell_gives_its_least_certain_pixel_and_the_border_none():
    height, width, cell = 22, 30, 4
    uncertain = entropy(logits_of(0, height, width)).numpy().copy()
    uncertain[:cell] = uncertain[-cell:] = uncertain[:, :cell] = uncertain[:, -cell:] = -1
    best = {}
    for row, col in np.argwhere(uncertain >= 0).tolist():
        key = (row // cell, col // cell)
        best[key] = max(best.get(key, (-1.0,)), (float(uncertain[row, col]), row, col))
    found = candidates(height, width, cell, [])
    assert sorted(zip(found["row"].tolist(), found["col"].tolist(), strict=True)) == sorted(
        b[1:] for b in best.values()
    )
    assert (np.diff(found["score"]) <= 0).all()
    probability = logits_of(0, height, width).softmax(0).numpy()
    np.testing.assert_array_equal(found["predicted"], probability.argmax(0)[found["row"], found["col"]])
    np.testing.assert_allclose(found["confidence"], probability.max(0)[found["row"], found["col"]], rtol=1e-6)


@given(rows=st.lists(st.integers(1, 39), max_size=6), cell=st.integers(1, 9))
def test_however_an_image_is_cut_into_strips_its_candidates_are_the_same(rows, cell):
    assert_same(candidates(40, 24, cell, rows), candidates(40, 24, cell, []))


def test_blocks_of_columns_give_what_whole_strips_give():
    logits, valid, found = logits_of(0, 40, 24), np.ones((40, 24), bool), Candidates((40, 24), 5)
    for cols in (slice(0, 7), slice(7, 24)):
        found.add(0, cols.start, logits[:, :, cols], valid[:, cols])
    assert_same(found.best(), candidates(40, 24, 5, []))


def test_pixels_without_image_or_label_are_no_candidates():
    valid, truth = np.ones((40, 40), bool), np.zeros((40, 40), np.uint8)
    valid[:, :20], truth[:20] = False, 255
    found = candidates(40, 40, 4, [13], truth=truth, valid=valid)
    assert len(found)
    assert (found["col"] >= 20).all()
    assert (found["row"] >= 20).all()


def test_errors_are_the_most_confident_pixels_that_the_mask_calls_something_else():
    truth = np.random.default_rng(0).integers(0, CLASSES, (40, 40)).astype(np.uint8)
    found = candidates(40, 40, 40 // 2, [9], "errors", truth)
    probability, predicted = logits_of(0, 40, 40).softmax(0).max(0)
    wrong = (predicted.numpy() != truth)[19:21, 19:21]  # all that the border leaves
    assert len(found) == sum(wrong.ravel())
    found = candidates(40, 40, 4, [9], "errors", truth)
    assert (found["truth"] != found["predicted"]).all()
    np.testing.assert_array_equal(found["truth"], truth[found["row"], found["col"]])
    inside = np.where(predicted.numpy() != truth, probability.numpy(), -1)[4:-4, 4:-4]
    assert found["confidence"][0] == inside.max()


def made(rows: list[tuple[float, int, int, int]]) -> np.ndarray:
    """score, row, col, predicted."""
    records = np.zeros(len(rows), PIXEL)
    for name, values in zip(("score", "row", "col", "predicted"), zip(*rows, strict=True), strict=True):
        records[name] = values
    return records


def many(seed: int, count: int = 300) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = zip(rng.random(count), *rng.integers(0, 100, (2, count)), rng.integers(0, CLASSES, count), strict=True)
    return made(sorted(rows, reverse=True))


def test_the_choice_is_spread_over_images_classes_and_space():
    images = [many(k) for k in range(4)]
    chosen = choose(images, 22, [12.0] * 4)
    assert len(chosen) == 22
    per_image = np.bincount([i for i, _ in chosen], minlength=4)
    assert per_image.max() - per_image.min() <= 1
    per_class = np.bincount([int(r["predicted"]) for _, r in chosen], minlength=CLASSES)
    assert per_class.max() - per_class.min() <= 1
    for image in range(4):
        places = [(int(r["row"]), int(r["col"])) for i, r in chosen if i == image]
        assert min(np.hypot(a - c, b - d) for (a, b), (c, d) in itertools.combinations(places, 2)) >= 12


def test_the_first_choice_is_the_best_candidate_of_all():
    images = [many(k) for k in range(3)]
    image, record = choose(images, 1, [5.0] * 3)[0]
    assert record["score"] == max(float(c["score"][0]) for c in images)
    assert record == images[image][0]


def test_where_room_is_short_choices_come_closer_but_never_twice():
    image = made([(0.9, 0, 0, 0), (0.8, 0, 1, 0), (0.7, 0, 2, 0), (0.1, 50, 50, 0)])
    chosen = [(int(r["row"]), int(r["col"])) for _, r in choose([image], 10, [40.0])]
    assert chosen[:2] == [(0, 0), (50, 50)]
    assert sorted(chosen) == [(0, 0), (0, 1), (0, 2), (50, 50)]


def test_nothing_to_choose_from_gives_nothing():
    assert choose([many(0)[:0], many(0)[:0]], 5, [3.0, 3.0]) == []
