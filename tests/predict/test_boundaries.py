"""The boundaries of an image in blocks are those of the whole image, and little of it is held."""

from contextlib import closing

import numpy as np
import pytest
import torch

from sparse_seg.boundary import boundary_counts
from sparse_seg.predict.boundaries import KeptMap, image_boundaries


def scene(seed: int, height: int, width: int) -> np.ndarray:
    """Blocks of three classes, some of them unlabelled."""
    blocks = np.random.default_rng(seed).choice(np.array([0, 1, 2, 255], np.uint8), (9, 9), p=[0.4, 0.3, 0.2, 0.1])
    return np.kron(blocks, np.ones((height // 9 + 1, width // 9 + 1), np.uint8))[:height, :width]


@pytest.mark.parametrize("size", [(700, 900), (900, 300), (1, 50)])
def test_blocks_count_what_the_whole_image_counts(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    said, truth = scene(1, *size), scene(2, *size)
    monkeypatch.setattr("sparse_seg.predict.boundaries.BLOCK", 256)
    maps, widest = [], [0]
    for values in (said, truth):

        def read(row: int, col: int, height: int, width: int, values: np.ndarray = values) -> np.ndarray:
            widest[0] = max(widest[0], height, width)
            return values[row : row + height, col : col + width]

        maps.append(read)
    counts = image_boundaries(maps[0], maps[1], size, 3)
    known = np.where(said == 255, 255, truth)
    whole = boundary_counts(torch.from_numpy(said)[None], torch.from_numpy(known)[None], 3)
    np.testing.assert_array_equal(counts, torch.stack(whole).numpy())
    assert (counts[1] > 0).any()
    assert widest[0] <= 256


@pytest.mark.parametrize("memory", [10, 1 << 20])
def test_a_kept_map_gives_back_what_was_written(monkeypatch: pytest.MonkeyPatch, memory: int) -> None:
    monkeypatch.setattr("sparse_seg.predict.boundaries.MEMORY", memory)
    values = scene(3, 40, 50)
    with closing(KeptMap(40, 50)) as kept:
        for row in range(0, 40, 10):
            for col, width in ((0, 30), (30, 20)):  # as strips of two blocks of columns come
                kept.write(row, col, values[row : row + 10, col : col + width])
        np.testing.assert_array_equal(kept.read(0, 0, 40, 50), values)
        np.testing.assert_array_equal(kept.read(7, 11, 20, 30), values[7:27, 11:41])
