"""Points: how many, where, of which class, and that nothing but (seed, image, class) decides it."""

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sparse_seg.classes import IGNORE_INDEX
from sparse_seg.points.draw import CHUNK, points_to_mask, sample_points, sample_windows, write_points
from sparse_seg.points.formats import label_names, read_own_points
from sparse_seg.points.records import Bad, Place

NAMES = ("Water", "Land", "Road")
MASK = np.random.default_rng(0).choice(np.array([0, 1, 2, IGNORE_INDEX], np.uint8), (40, 53), p=[0.5, 0.3, 0.1, 0.1])
masks = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.sampled_from([0, 1, 7, IGNORE_INDEX])
)
sides = st.integers(1, 40)


@settings(deadline=None)
@given(masks, st.integers(1, 30), st.integers(0, 2**40), st.text(max_size=8))
def test_each_class_gives_n_different_pixels_of_its_own_or_all_it_has(mask, n, seed, image_id):
    points = sample_points(mask, n, seed, image_id)
    assert points.shape == (len(points), 3)
    assert points.dtype == np.int64
    assert len({(r, c) for r, c, _ in points.tolist()}) == len(points)
    np.testing.assert_array_equal(mask[points[:, 0], points[:, 1]], points[:, 2])
    pixels = np.bincount(mask.ravel(), minlength=256)
    pixels[IGNORE_INDEX] = 0
    np.testing.assert_array_equal(np.bincount(points[:, 2], minlength=256), np.minimum(pixels, n))


@settings(deadline=None)
@given(masks, st.integers(1, 20), st.integers(1, 20), st.integers(0, 99))
def test_fewer_points_are_the_beginning_of_more(mask, n, more, seed):
    few, many = sample_points(mask, n, seed, "a"), sample_points(mask, n + more, seed, "a")
    np.testing.assert_array_equal(many[: len(few)], few)


def test_5_points_are_among_20_among_50_in_each_class():
    five, twenty, fifty = ({tuple(p) for p in sample_points(MASK, n, 0, "a").tolist()} for n in (5, 20, 50))
    assert (len(five), len(twenty), len(fifty)) == (15, 60, 150)
    assert five < twenty < fifty


def test_drawing_neither_reads_nor_moves_global_random_state():
    np.random.seed(1)
    before = np.random.get_state()[1].tolist()
    first = sample_points(MASK, 20, 0, "a")
    assert np.random.get_state()[1].tolist() == before
    np.random.seed(2)
    np.testing.assert_array_equal(sample_points(MASK, 20, 0, "a"), first)


def test_a_class_is_drawn_as_if_the_others_were_not_there():
    alone = np.where(MASK == 1, MASK, IGNORE_INDEX).astype(np.uint8)
    points = sample_points(MASK, 20, 0, "a")
    np.testing.assert_array_equal(points[points[:, 2] == 1], sample_points(alone, 20, 0, "a"))


def test_seeds_images_and_classes_have_their_own_draws():
    halves = np.repeat(np.array([[0, 1]], np.uint8), 40, axis=0).repeat(40, axis=1)
    drawn = [sample_points(halves, 10, seed, image_id) for seed in (0, 1) for image_id in ("a", "b")]
    places = [{(r, c % 40) for r, c, k in points.tolist() if k == label} for points in drawn for label in (0, 1)]
    for i, place in enumerate(places):
        assert all(len(place & other) < 5 for other in places[:i])


def test_draws_are_those_of_the_published_runs():
    """Fails if numpy or this code draws otherwise: figures of earlier runs could no longer be reproduced."""
    mask = np.zeros((100, 100), np.uint8)
    assert sample_points(mask, 3, 0, "Tile 1/image_part_001").tolist() == [[65, 79, 0], [65, 0, 0], [89, 39, 0]]
    mask[:, 5:] = 1
    assert sample_points(mask[:10, :10], 2, 3, "b").tolist() == [[5, 4, 0], [2, 9, 1], [4, 1, 0], [4, 5, 1]]


def test_masks_of_any_memory_layout_give_the_same_points():
    np.testing.assert_array_equal(
        sample_points(np.asfortranarray(MASK), 20, 0, "a"), sample_points(np.ascontiguousarray(MASK), 20, 0, "a")
    )


def test_a_mask_without_labels_gives_no_points():
    assert sample_points(np.full((4, 5), IGNORE_INDEX, np.uint8), 3, 0, "a").shape == (0, 3)


@pytest.mark.parametrize("points", [0, -1])
def test_less_than_one_point_is_refused(points):
    with pytest.raises(ValueError, match=f"points must be a positive integer, got {points}"):
        sample_points(MASK, points, 0, "a")


def test_more_points_than_a_chunk_are_all_different_and_still_nested():
    mask = np.zeros((70, 90), np.uint8)
    many = sample_points(mask, 3 * CHUNK + 7, 0, "a")
    assert len(np.unique(many, axis=0)) == len(many) == 3 * CHUNK + 7
    np.testing.assert_array_equal(sample_points(mask, CHUNK + 1, 0, "a"), many[: CHUNK + 1])


def test_all_points_of_a_class_larger_than_a_chunk_are_all_its_pixels():
    points = sample_points(np.zeros((20, 30), np.uint8), 601, 0, "a")
    assert sorted((points[:, 0] * 30 + points[:, 1]).tolist()) == list(range(600))


@pytest.mark.parametrize("draw", [0, 4])
def test_points_are_uniform_over_the_pixels_of_their_class(draw):
    """The first point, and the fifth after duplicates are left out; the class is 40 of 80 pixels."""
    mask = np.zeros((8, 10), np.uint8)
    mask[::2] = 3
    hits = np.zeros(mask.shape, int)
    for seed in range(2000):
        points = sample_points(mask, 5, seed, "a")
        row, col, _ = points[points[:, 2] == 3][draw]
        hits[row, col] += 1
    assert hits[1::2].sum() == 0
    assert scipy.stats.chisquare(hits[::2].ravel()).pvalue > 0.01


@settings(deadline=None)
@given(st.tuples(sides, sides), st.tuples(sides, sides), st.integers(0, 99), st.integers(0, 30))
def test_a_point_goes_to_the_cell_of_its_corner_and_the_first_one_stays(native, size, seed, count):
    rng = np.random.default_rng(seed)
    points = rng.integers(0, (*native, 5), size=(count, 3))
    cells: dict[tuple[int, int], int] = {}
    for row, col, label in points.tolist():
        cell = math.floor(Fraction(row * size[0], native[0])), math.floor(Fraction(col * size[1], native[1]))
        cells.setdefault(cell, label)
    mask = points_to_mask(points, native, size)
    assert mask.dtype == np.uint8
    assert mask.shape == size
    assert {(row, col): mask[row, col] for row, col in np.argwhere(mask != IGNORE_INDEX).tolist()} == cells


@given(st.tuples(sides, sides), st.tuples(sides, sides))
def test_corner_pixels_stay_inside(native, size):
    last = np.array([[native[0] - 1, native[1] - 1, 2]])
    assert (points_to_mask(last, native, size) == 2).sum() == 1
    assert points_to_mask(np.array([[0, 0, 1]]), native, size)[0, 0] == 1


def test_the_last_pixel_of_a_large_image_goes_to_the_last_cell():
    last = np.array([[643, 796, 1], [0, 0, 0]])
    mask = points_to_mask(last, (644, 797), (256, 256))
    assert (mask[255, 255], mask[0, 0], (mask != IGNORE_INDEX).sum()) == (1, 0, 2)


def test_at_native_resolution_every_point_keeps_its_place():
    points = sample_points(MASK, 50, 0, "a")
    mask = points_to_mask(points, MASK.shape, MASK.shape)
    assert (mask != IGNORE_INDEX).sum() == 150
    np.testing.assert_array_equal(mask[mask != IGNORE_INDEX], MASK[mask != IGNORE_INDEX])


def test_no_points_give_an_unlabelled_mask():
    assert (points_to_mask(np.empty((0, 3), np.int64), (5, 6), (4, 4)) == IGNORE_INDEX).all()


IMAGE_IDS = ["Tile 1/image_part_001", "a, b", 'Größe "groß"', "一/二", " spaced ", "two\nlines"]


@pytest.mark.parametrize("names", [NAMES, ("Water, deep", "Bäume", 'a "b"'), ("1", "2", "0")])
def test_points_survive_writing_and_reading(tmp_path: Path, names):
    points = {image_id: sample_points(MASK, 3, seed, image_id) for seed, image_id in enumerate(IMAGE_IDS)}
    write_points(tmp_path / "points.csv", points, names)
    places = dict.fromkeys(IMAGE_IDS, Place(*MASK.shape))
    ids = {name: name for name in IMAGE_IDS}
    found = read_own_points(tmp_path / "points.csv", ids, places, label_names(names, None), Bad())
    assert list(found) == IMAGE_IDS
    for image_id in IMAGE_IDS:
        assert found[image_id].dtype == np.int64
        np.testing.assert_array_equal(found[image_id][:, :3], points[image_id])


def test_the_file_has_named_columns_and_classes_and_nothing_lies_beside_it(tmp_path: Path):
    path = tmp_path / "points.csv"
    path.write_text("an older run's\n")
    write_points(path, {"a, b": np.array([[3, 14, 1], [0, 2, 0]])}, NAMES)
    assert path.read_text().splitlines() == ["image,row,col,class", '"a, b",3,14,Land', '"a, b",0,2,Water']
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("count", [1, 7, 400])
def test_windows_one_below_the_other_are_drawn_as_one_image(count: int):
    drawn = sample_windows(np.split(MASK, [10, 11, 40]), count, 3, "a")
    tops = [0, 10, 11, 40]
    found = [tuple(p) for top, points in zip(tops, drawn, strict=True) for p in np.add(points, [top, 0, 0]).tolist()]
    assert sorted(found) == sorted(map(tuple, sample_points(MASK, count, 3, "a").tolist()))
