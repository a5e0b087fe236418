"""What moves pixels: image and mask move together, nothing is lost or invented, draws depend on the seed alone."""

import os
import random
import subprocess
import sys

import albumentations as A
import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sparse_seg.classes import IGNORE_INDEX
from sparse_seg.data.transforms import augment, report_augmentation, resize_image, resize_mask

SIDE = 15
GEOMETRY = report_augmentation(0, 0, 0, 0)
# Every pixel has a colour and a class of its own: its number.
NUMBERS = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)
NUMBERED = np.stack([NUMBERS, NUMBERS // 2, 255 - NUMBERS], axis=2)
PICTURE = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)
masks = hnp.arrays(np.uint8, shapes, elements=st.sampled_from([0, 1, 2, 254, IGNORE_INDEX]))


@pytest.mark.parametrize("seed", range(40))
def test_every_pixel_keeps_its_colour_and_its_class(seed):
    image, mask = augment(GEOMETRY, NUMBERED, NUMBERS, [seed])
    assert image.dtype == mask.dtype == np.uint8
    assert sorted(mask.ravel().tolist()) == list(range(SIDE * SIDE))
    np.testing.assert_array_equal(image, np.stack([mask, mask // 2, 255 - mask], axis=2))


def test_exactly_the_eight_symmetries_of_the_square_occur():
    symmetries = {np.rot90(m, k).tobytes() for m in (NUMBERS, NUMBERS.T) for k in range(4)}
    seen = [augment(GEOMETRY, NUMBERED, NUMBERS, [0, epoch, 1])[1].tobytes() for epoch in range(160)]
    assert set(seen) == symmetries
    assert len(symmetries) == 8
    assert min(seen.count(s) for s in symmetries) >= 8  # 20 expected; 3 deviations of 4.2 less is 7.5


def test_no_point_is_lost_and_none_changes_its_class():
    rng = np.random.default_rng(1)
    for seed in range(60):
        mask = np.full((SIDE, SIDE), IGNORE_INDEX, np.uint8)
        places = rng.choice(SIDE * SIDE, 9, replace=False)
        mask.ravel()[places] = rng.integers(5, size=9)
        image, moved = augment(GEOMETRY, NUMBERED, mask, [seed])
        kept = moved != IGNORE_INDEX
        colours_and_classes = sorted(zip(image[kept, 0].tolist(), moved[kept].tolist(), strict=True))
        assert colours_and_classes == sorted(zip(places.tolist(), mask.ravel()[places].tolist(), strict=True))


def test_colour_jitter_changes_the_image_and_not_the_mask():
    jitter = report_augmentation()
    for seed in range(30):
        image, mask = augment(jitter, PICTURE, NUMBERS, [seed])
        plain, expected = augment(GEOMETRY, PICTURE, NUMBERS, [seed])
        np.testing.assert_array_equal(mask, expected)
        assert image.dtype == np.uint8
        assert image.shape == PICTURE.shape
        assert (image != plain).mean() > 0.1


def test_brightness_stays_within_its_range_and_uses_it():
    grey = np.full((4, 4, 3), 100, np.uint8)
    jitter = report_augmentation(0.2, 0, 0, 0)
    levels = np.array([augment(jitter, grey, grey[..., 0], [seed])[0].mean() for seed in range(100)])
    assert 80 <= levels.min() < 85
    assert 115 < levels.max() <= 120


@pytest.mark.parametrize("bands", [1, 2, 4, 13, 128])
def test_images_of_any_number_of_bands_move_with_their_mask(bands):
    pixels = np.stack([(NUMBERS.astype(int) * (k + 1) % 256).astype(np.uint8) for k in range(bands)], axis=2)
    for seed in range(12):
        image, mask = augment(GEOMETRY, pixels, NUMBERS, [seed])
        np.testing.assert_array_equal(image, pixels.reshape(-1, bands)[mask])
        np.testing.assert_array_equal(mask, augment(GEOMETRY, NUMBERED, NUMBERS, [seed])[1])


@pytest.mark.parametrize("bands", [2, 4, 13])
def test_jitter_of_other_bands_is_brightness_and_contrast_alike(bands):
    grey = np.full((4, 4, bands), 100, np.uint8)
    jitter = report_augmentation(0.2, 0, 0.9, 0.5)
    for seed in range(30):
        rgb = augment(report_augmentation(0.2, 0, 0, 0), grey[..., [0, 0, 0]], grey[..., 0], [seed])[0]
        image = augment(jitter, grey, grey[..., 0], [seed])[0]
        assert np.ptp(image) == 0
        assert abs(int(image[0, 0, 0]) - int(rgb[0, 0, 0])) <= 1
    picture = np.random.default_rng(1).integers(60, 190, (SIDE, SIDE, bands)).astype(np.uint8)
    for seed in range(30):
        plain = augment(GEOMETRY, picture, NUMBERS, [seed])[0].astype(float)
        image = augment(report_augmentation(0, 0.3), picture, NUMBERS, [seed])[0]
        factor, shift = np.polyfit(plain.ravel(), image.ravel().astype(float), 1)
        assert 0.69 < factor < 1.31
        assert np.abs(factor * plain + shift - image).max() < 1
        assert abs(image.mean() - plain.mean()) < 1


def test_three_bands_are_jittered_as_albumentations_does():
    jitter = A.ColorJitter(brightness=(0.8, 1.2), contrast=(0.8, 1.2), saturation=(0.8, 1.2), hue=(-0.1, 0.1), p=1.0)
    theirs = A.Compose([*GEOMETRY.transforms[:3], jitter])
    for seed in range(20):
        np.testing.assert_array_equal(
            augment(report_augmentation(), PICTURE, NUMBERS, [seed])[0], augment(theirs, PICTURE, NUMBERS, [seed])[0]
        )


def test_the_same_seed_gives_the_same_result_whatever_was_drawn_before():
    transform = report_augmentation()
    image, mask = augment(transform, PICTURE, NUMBERS, [3, 1, 2])
    for before in range(4):
        random.seed(before)
        np.random.seed(before)
        for _ in range(before):
            transform(image=PICTURE, mask=NUMBERS)
        used = transform if before % 2 else report_augmentation()
        again, moved = augment(used, PICTURE, NUMBERS, [3, 1, 2])
        np.testing.assert_array_equal(again, image)
        np.testing.assert_array_equal(moved, mask)


def test_global_random_state_is_left_alone():
    random.seed(0)
    np.random.seed(0)
    before = random.getstate(), np.random.get_state()[1].tolist()
    augment(report_augmentation(), PICTURE, NUMBERS, [0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


def test_steps_draw_independently_of_each_other():
    """With one seed for all steps, brightness would go with the rotation: each rotation its own mean."""
    grey, jitter = np.full((SIDE, SIDE, 3), 100, np.uint8), report_augmentation(0.2, 0, 0, 0)
    levels: dict[bytes, list[float]] = {}
    for seed in range(400):
        image, mask = augment(jitter, grey, NUMBERS, [seed])
        levels.setdefault(mask.tobytes(), []).append(float(image.mean()))
    assert all(np.ptp(some) > 30 for some in levels.values())  # of 40; about 50 draws for each of 8 symmetries


@pytest.mark.parametrize("other", [[1, 0, 0], [0, 1, 0], [0, 0, 1]], ids=["seed", "epoch", "image"])
def test_each_part_of_the_seed_counts(other):
    jitter = report_augmentation()
    assert (augment(jitter, PICTURE, NUMBERS, other)[0] != augment(jitter, PICTURE, NUMBERS, [0, 0, 0])[0]).any()


def test_a_single_transform_of_the_user_is_seeded_too():
    flip = A.HorizontalFlip(p=0.5)
    results = [augment(flip, PICTURE, NUMBERS, [seed])[1].tobytes() for seed in [*range(20)] * 2]
    assert results[:20] == results[20:]
    assert len(set(results)) == 2


def test_inputs_are_not_changed():
    image, mask = PICTURE.copy(), NUMBERS.copy()
    for seed in range(5):
        augment(report_augmentation(), image, mask, [seed])
    np.testing.assert_array_equal(image, PICTURE)
    np.testing.assert_array_equal(mask, NUMBERS)


@given(masks, st.integers(1, 30))
def test_a_resized_mask_holds_no_new_class(mask, size):
    small = resize_mask(mask, size)
    assert small.shape == (size, size)
    assert small.dtype == mask.dtype
    assert set(np.unique(small)) <= set(np.unique(mask))


@given(hnp.arrays(np.uint8, st.integers(1, 20).map(lambda n: (n, n))))
def test_resizing_a_mask_to_its_own_size_is_the_identity(mask):
    np.testing.assert_array_equal(resize_mask(mask, len(mask)), mask)


@given(masks, st.integers(1, 6))
def test_enlarging_a_mask_by_a_whole_factor_and_shrinking_it_again_is_the_identity(mask, factor):
    square = resize_mask(mask, max(mask.shape))
    large = resize_mask(square, factor * len(square))
    np.testing.assert_array_equal(large, square.repeat(factor, 0).repeat(factor, 1))
    np.testing.assert_array_equal(resize_mask(large, len(square)), square)


@pytest.mark.parametrize(("native", "size"), [((644, 797), 256), ((37, 53), 32), ((20, 9), 33), ((16, 16), 8)])
def test_masks_are_resized_as_pillow_does_by_nearest_neighbour(native, size):
    mask = np.random.default_rng(0).integers(0, 256, native).astype(np.uint8)
    expected = np.array(PIL.Image.fromarray(mask).resize((size, size), PIL.Image.Resampling.NEAREST))
    np.testing.assert_array_equal(resize_mask(mask, size), expected)


@pytest.mark.parametrize("native", [(40, 60), (9, 7), (40, 7), (16, 16)], ids=["shrink", "enlarge", "both", "same"])
def test_resized_images_keep_type_and_mean(native):
    image = np.random.default_rng(0).integers(100, 140, (*native, 3)).astype(np.uint8)
    small = resize_image(image, 16)
    assert small.shape == (16, 16, 3)
    assert small.dtype == np.uint8
    assert abs(small.mean() - image.mean()) < 2
    flat = resize_image(np.full((*native, 3), (10, 200, 30), np.uint8), 16)
    assert (flat == (10, 200, 30)).all()


@pytest.mark.parametrize("size", [7, 16, 30])
def test_every_band_is_resized_by_itself(size):
    image = np.random.default_rng(0).integers(0, 256, (16, 24, 13)).astype(np.uint8)
    whole = resize_image(image, size)
    assert whole.shape == (size, size, 13)
    for k in range(13):
        np.testing.assert_array_equal(whole[..., [k]], resize_image(image[..., [k]], size))
    method = cv2.INTER_AREA if size <= 16 else cv2.INTER_LINEAR
    np.testing.assert_array_equal(
        resize_image(image[..., :3], size), cv2.resize(image[..., :3].copy(), (size, size), interpolation=method)
    )


def test_shrinking_an_image_averages_areas():
    image = np.random.default_rng(0).integers(0, 256, (8, 12, 3)).astype(np.uint8)
    means = image.reshape(4, 2, 4, 3, 3).mean(axis=(1, 3))
    assert np.abs(resize_image(image, 4) - means).max() <= 0.5


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 20))
def test_image_and_mask_of_any_shape_get_the_same_size(height, width, size):
    image = np.zeros((height, width, 3), np.uint8)
    assert resize_image(image, size).shape[:2] == resize_mask(image[..., 0], size).shape == (size, size)


@pytest.mark.parametrize("module", ["datamodule", "dataset", "transforms"])
def test_whatever_is_imported_first_no_package_index_is_asked(module):
    code = (
        "import sys, urllib.request\n"
        "urllib.request.OpenerDirector.open = lambda *words, **more: print('asked', words[1])\n"
        f"import sparse_seg.data.{module}\n"
        "print('albumentations' in sys.modules)"
    )
    env = {name: value for name, value in os.environ.items() if name != "NO_ALBUMENTATIONS_UPDATE"}
    made = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert made.stdout == "True\n"
