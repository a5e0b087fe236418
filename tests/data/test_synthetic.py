"""The scenes made in code: reproducible, within the contract of samples, and not solvable by colour."""

import pickle

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from sparse_seg.classes import IGNORE_INDEX, LAND_COVER
from sparse_seg.data.sample import Image, Sample
from sparse_seg.data.synthetic import VERSION, synthetic_samples


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return synthetic_samples(images=16)


def test_pixels_depend_on_neither_order_nor_list_length_nor_global_state(samples: list[Sample]) -> None:
    again = synthetic_samples(images=9)
    for index in (8, 0):
        np.random.seed(index)
        image, mask = again[index].read()
        assert again[index].image_id == samples[index].image_id
        assert again[index].content == samples[index].content
        np.testing.assert_array_equal(image, samples[index].read()[0])
        np.testing.assert_array_equal(mask, samples[index].read()[1])


def test_each_image_and_each_seed_has_its_own_pixels() -> None:
    masks = [s.read()[1] for seed in (0, 1) for s in synthetic_samples(images=4, size=128, seed=seed, groups=1)]
    for i, mask in enumerate(masks):
        assert not any(np.array_equal(mask, other) for other in masks[:i])


@pytest.mark.parametrize("size", [64, 321])
def test_arrays_keep_the_contract(size: int) -> None:
    for sample in synthetic_samples(images=3, size=size, seed=5):
        image, mask = sample.read()
        assert image.dtype == mask.dtype == np.uint8
        assert image.shape == (*mask.shape, 3)
        assert mask.shape[0] == size < mask.shape[1] <= 1.2 * size + 1
        assert set(np.unique(mask)) <= {*range(len(LAND_COVER)), IGNORE_INDEX}


def test_every_class_is_in_every_image_and_land_is_the_largest(samples: list[Sample]) -> None:
    counts = np.array([np.bincount(s.read()[1].ravel(), minlength=256) for s in samples])
    shares = counts / counts.sum(axis=1, keepdims=True)
    assert shares[:, : len(LAND_COVER)].min() > 0.01
    assert shares.sum(axis=0).argmax() == LAND_COVER.names.index("Land")
    assert 0 < shares[:, IGNORE_INDEX].mean() < 0.02


def test_groups_are_the_scenes_and_share_a_size(samples: list[Sample]) -> None:
    assert [s.group for s in samples[:5]] == ["1", "2", "3", "4", "1"]
    assert samples[6].image_id == "scene 03/image_002"
    assert len({s.image_id for s in samples}) == len(samples)
    assert samples[0].read()[1].shape == samples[4].read()[1].shape != samples[1].read()[1].shape


def test_content_changes_with_whatever_changes_pixels(samples: list[Sample]) -> None:
    lists = [
        samples,
        synthetic_samples(4, size=64),
        synthetic_samples(4, seed=1),
        synthetic_samples(4, size=64, seed=1),
    ]
    contents = [sample.content for some in lists for sample in some]
    assert len(set(contents)) == len(contents)
    assert all(len(content) == 64 for content in contents)


def test_pixels_change_with_the_version_alone() -> None:
    """Every 16th pixel. Within 2, since processors round differently; other draws change them by more."""
    if tuple(map(int, cv2.__version__.split(".")[:2])) < (4, 13):
        pytest.skip("OpenCV before 4.13 draws other thick lines, so that other houses find room")
    image, mask = synthetic_samples(2, 64, groups=1)[1].read()
    red = [[78, 135, 98, 115], [75, 136, 83, 113], [102, 112, 76, 147], [188, 132, 107, 92]]
    green = [[78, 122, 97, 121], [76, 124, 66, 106], [105, 114, 75, 142], [184, 122, 104, 83]]
    labels = [[1, 2, 4, 0], [0, 2, 1, 2], [1, 3, 4, 1], [3, 2, 4, 3]]
    assert VERSION == 1, "then the values above are others, too"
    for k, expected in enumerate((red, green)):
        np.testing.assert_allclose(image[8::16, 8::16, k].astype(int), expected, atol=2)
    np.testing.assert_array_equal(mask[8::16, 8::16], labels)


def test_samples_can_be_sent_to_worker_processes(samples: list[Sample]) -> None:
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(samples[0])).read()[0], samples[0].read()[0])


@pytest.mark.parametrize("wrong", [{"images": 0}, {"size": 63}, {"seed": -1}, {"groups": 0}])
def test_wrong_values_are_refused_by_name(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be at least"):
        synthetic_samples(**wrong)


def _context(image: Image) -> NDArray[np.float32]:
    """(H, W, 3) -> (H, W, F): colour, and blurred colour, deviation and slope at three scales."""
    colour, grey = image.astype(np.float32), cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    features: list[NDArray[np.float32]] = [colour]
    for sigma in (1, 3, 8):
        mean, square = (cv2.GaussianBlur(x, (0, 0), sigma) for x in (grey, grey * grey))
        slope = np.hypot(cv2.Sobel(mean, cv2.CV_32F, 1, 0), cv2.Sobel(mean, cv2.CV_32F, 0, 1))
        deviation = np.sqrt(np.maximum(square - mean * mean, 0))
        features += [np.asarray(cv2.GaussianBlur(colour, (0, 0), sigma), np.float32), np.dstack([deviation, slope])]
    return np.concatenate(features, axis=-1)


def _mean_iou(features: list[NDArray[np.float32]], masks: list[NDArray[np.uint8]], training: int) -> float:
    """mIoU of a forest over pixels, trained on the first images and tested on the others."""
    rng, x, y = np.random.default_rng(0), [], []
    for feature, mask in zip(features, masks, strict=True):
        chosen = rng.choice(np.flatnonzero(mask != IGNORE_INDEX), 800, replace=False)
        x.append(feature.reshape(mask.size, -1)[chosen])
        y.append(mask.ravel()[chosen])
    forest = RandomForestClassifier(30, min_samples_leaf=5, n_jobs=1, random_state=0)
    forest.fit(np.concatenate(x[:training]), np.concatenate(y[:training]))
    truth, guess = np.concatenate(y[training:]), forest.predict(np.concatenate(x[training:]))
    return float(np.mean([((truth == c) & (guess == c)).sum() / ((truth == c) | (guess == c)).sum() for c in range(5)]))


def test_colour_alone_does_not_solve_it_but_context_helps(samples: list[Sample]) -> None:
    held_out = [s for s in samples if s.group != "4"] + [s for s in samples if s.group == "4"]
    images, masks = zip(*(s.read() for s in held_out), strict=True)
    colour = _mean_iou([image.astype(np.float32) for image in images], list(masks), training=12)
    context = _mean_iou([_context(image) for image in images], list(masks), training=12)
    assert colour < 0.45
    assert context > colour + 0.05
