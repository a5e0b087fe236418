"""Shared by all tests: a cache that ends with the session, and tiny data sets in memory."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest

from sparse_seg.classes import IGNORE_INDEX, Classes
from sparse_seg.data.sample import Image, ImageSet, Mask, Sample

CLASSES = Classes(names=("Water", "Land", "Road"), colours=((0, 0, 255), (0, 255, 0), (255, 0, 0)))


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test writes to the user's cache, nor does a process that a test starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARSE_SEG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def _read(seed: int, number: int, labelled: bool) -> tuple[Image, Mask]:
    rng = np.random.default_rng([seed, number])
    shape = (20 + number, 34 - number)  # differs from image to image, and is never square below 7 images
    mask = rng.choice(np.array([0, 1, 2, IGNORE_INDEX], np.uint8), shape, p=[0.5, 0.3, 0.1, 0.1])
    return rng.integers(0, 256, (*shape, 3)).astype(np.uint8), mask if labelled else np.full_like(mask, IGNORE_INDEX)


@pytest.fixture(scope="session")
def make_images() -> Callable[..., ImageSet]:
    """Build an ImageSet of noise with three classes; image i belongs to group i % groups + 1."""

    def build(count: int = 6, groups: int = 3, seed: int = 0, labelled: bool = True) -> ImageSet:
        samples = []
        for i in range(count):
            group, read = str(i % groups + 1), partial(_read, seed, i, labelled)
            samples.append(Sample(f"{group}/image {i}", group, f"{seed} {i} {labelled}", read))
        return ImageSet(CLASSES, samples)

    return build
