"""The batches of each kind of points are, to the byte, those that the measured runs were trained on."""

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import CLASSES

from sparse_seg.classes import IGNORE_INDEX, Image, Mask
from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.data.sample import ImageSet, Sample
from sparse_seg.data.transforms import report_augmentation
from sparse_seg.points.draw import write_points

SIDE = 16


def _pixels(number: int, points: np.ndarray | None) -> tuple[Image, Mask]:
    rng = np.random.default_rng(number)
    image = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    mask = rng.choice(np.array([0, 1, 2, IGNORE_INDEX], np.uint8), (SIDE, SIDE))
    if points is not None:
        mask[:] = IGNORE_INDEX
        mask[points[:, 0], points[:, 1]] = points[:, 2]
        mask[:2] = IGNORE_INDEX  # no image there
    return image, mask


def _points(number: int) -> np.ndarray:
    rng = np.random.default_rng([number, 1])
    cells = rng.permutation(SIDE * SIDE)[:24]
    return np.stack([cells // SIDE, cells % SIDE, np.repeat([0, 1, 2], 8), np.tile(np.arange(8), 3)], axis=1)


def images(given: bool = False, masks: bool = True, windows: int = 1) -> ImageSet:
    """Eight images of noise, or as many windows, some of each whole image."""
    samples = []
    for k in range(8):
        whole, part = divmod(k, windows)
        name, scene = (f"{whole}@{part}", str(whole)) if windows > 1 else (str(k), "")
        points = _points(k) if given else None
        if points is not None and windows > 1:
            points = np.add(points, [0, 0, 0, 8 * part])
        read = partial(_pixels, k, None if masks else points)
        group, offset = str(whole % 3), (SIDE * part, 0)
        samples.append(Sample(name, group, f"{given} {masks} {k}", read, points, masks, scene, offset))
    return ImageSet(CLASSES, samples, keep_empty=windows == 1)


def fingerprint(data: SparsePointsDataModule) -> str:
    """Of two epochs of training batches, the validation batches, the counts and the points."""
    digest = hashlib.sha256()
    data.setup()
    for epoch in (0, 1):
        for loader in (data.train_dataloader(), data.val_dataloader()):
            loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
            for batch in loader:
                for key in ("image", "target", "index"):
                    digest.update(batch[key].numpy().tobytes())
    digest.update(repr((data.class_counts, data.train_indices, data.val_indices, data.points_off_image)).encode())
    for name, points in sorted(data.train_points.items()):
        digest.update(name.encode() + points[:, :3].astype(np.int64).tobytes())
    shown = data.validation_points()
    for array in (*data.examples(2), *data.validation_arrays(), *([] if shown is None else [shown])):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "drawn": ({}, {}, "fd230331b033d42c"),
    "drawn, resized": ({}, {"size": 8, "points": 20}, "81cfa56d4ae5bf96"),
    "drawn in windows": ({"windows": 2}, {}, "7b6454e41a8fb0a5"),
    "drawn, tiles": ({}, {"split": "tile", "fold": 1}, "c23608988aedf764"),
    "full masks": ({}, {"points": "all"}, "dbca712fa033d449"),
    "file": ({}, {}, "98a1677a000ed4b6"),
    "given": ({"given": True}, {}, "9f000adc3b887bbb"),
    "given in windows": ({"given": True, "windows": 2}, {"points": 2}, "32beb40f6bd39a33"),
    "given, all": ({"given": True}, {"points": "all"}, "dbca712fa033d449"),
    "given without masks": ({"given": True, "masks": False}, {}, "57a41d294e9cc7f8"),
    "given without masks, resized": ({"given": True, "masks": False}, {"size": 8, "points": "all"}, "32290956cca5352e"),
    "given without masks in windows": ({"given": True, "masks": False, "windows": 2}, {}, "2b579f9ba801b78a"),
    "given without masks, tiles": ({"given": True, "masks": False}, {"split": "tile", "fold": 0}, "92386c7d4bf18a0e"),
}


@pytest.mark.parametrize("kind", CASES)
def test_batches_are_those_of_the_measured_runs(tmp_path: Path, kind: str) -> None:
    given, options, expected = CASES[kind]
    if kind == "file":
        write_points(tmp_path / "p.csv", {str(k): _points(k)[:, :3] for k in (0, 2, 3, 5)}, CLASSES.names)
        options = options | {"points_file": str(tmp_path / "p.csv")}
    usual = {"points": 3, "split": "random", "val_fraction": 0.3, "seed": 4, "size": SIDE, "batch_size": 3}
    data = SparsePointsDataModule(
        images(**given), augment=report_augmentation(), cache_dir=str(tmp_path / "cache"), **(usual | options)
    )
    assert fingerprint(data) == expected
