"""A data set need not fit into memory: what a data module allocates for many windows is little and bounded."""

import pickle
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import CLASSES

from sparse_seg.classes import IGNORE_INDEX, Image, Mask
from sparse_seg.data.cache import prepare
from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.data.sample import ImageSet, Sample
from sparse_seg.data.targets import Rows

COUNT, SIDE, PER_IMAGE = 5_000, 64, 100
"""61 MB of images and 20 MB of masks."""


def _read(k: int) -> tuple[Image, Mask]:
    mask = np.full((SIDE, SIDE), IGNORE_INDEX, np.uint8)
    mask[:3, :8] = np.arange(3)[:, None]
    return np.full((SIDE, SIDE, 3), k % 256, np.uint8), mask


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImageSet, Path]:
    samples = []
    for k in range(COUNT):
        whole, part = divmod(k, PER_IMAGE)
        name = f"{whole}@{part}"
        samples.append(Sample(name, str(whole), name, partial(_read, k), scene=str(whole), offset=(part * SIDE, 0)))
    cache = tmp_path_factory.mktemp("cache")
    prepare(samples, SIDE, cache)
    return ImageSet(CLASSES, samples, keep_empty=False), cache


@pytest.mark.parametrize("points", [20, 500, "all"])
def test_many_windows_need_little_memory(cached: tuple[ImageSet, Path], points: int | str) -> None:
    images, cache = cached
    tracemalloc.start()
    try:
        data = SparsePointsDataModule(images, points=points, size=SIDE, cache_dir=str(cache))
        data.setup()
        batch = next(iter(data.train_dataloader()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert batch["image"].shape == (8, 3, SIDE, SIDE)
    assert peak < 10e6


def test_a_worker_is_sent_the_name_of_the_file_and_not_the_images(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.arange(2_000 * 64, dtype=np.uint32).astype(np.uint8).reshape(2_000, 8, 8))
    rows = Rows(np.load(tmp_path / "images.npy", mmap_mode="r"), [3, 1_999, 0])
    sent = pickle.dumps(rows)
    assert len(sent) < 2_000
    again = pickle.loads(sent)
    assert [image.tolist() for image in again] == [image.tolist() for image in rows]
    assert isinstance(again.array, np.memmap)
    held = pickle.loads(pickle.dumps(Rows(np.ones((4, 2, 2), np.uint8), [1])))
    assert len(held) == 1
    assert held[0].all()
