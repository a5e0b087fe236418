"""Sparse points of a data set, as Lightning wants them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import albumentations as A
import lightning as L
import numpy as np
import torch.utils.data
from torch import Tensor

from sparse_seg.data.cache import Arrays, default_cache_dir, prepare
from sparse_seg.data.classes import IGNORE_INDEX
from sparse_seg.data.dataset import EpochBatchSampler, SegmentationDataset
from sparse_seg.data.points import Points, points_to_mask, read_points, sample_points
from sparse_seg.data.sample import ImageSet
from sparse_seg.data.split import split_indices
from sparse_seg.errors import UserError

Loader = torch.utils.data.DataLoader[dict[str, Tensor]]


class SparsePointsDataModule(L.LightningDataModule):
    """Trains on `points` pixels per class and image, validates on full masks.

    source: the data set. points: pixels per class and training image, or "all" for full masks.
    size: training images are resized to (size, size). batch_size: the global batch, over all devices.
    seed: draws the points, the order of images and the augmentation. points_file: a `points.csv` to use instead of
    drawing. cache_dir: where decoded images are kept (default: the user's cache folder). Other arguments: see
    `split_indices`. Raises UserError where the data cannot be used as asked.
    """

    def __init__(
        self,
        source: ImageSet,
        *,
        points: int | str,
        split: str,
        seed: int,
        size: int = 256,
        batch_size: int = 8,
        val_fraction: float = 0.2,
        split_seed: int = 0,
        val_tiles: Sequence[str | int] | None = None,
        fold: int | None = None,
        points_file: str | None = None,
        augment: A.Compose | None = None,
        num_workers: int = 0,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__()
        self.samples = source.samples
        self.classes = source.classes
        self.points = points
        self.seed = seed
        self.size = size
        self.batch_size = batch_size
        self.points_file = points_file
        self.augment = augment
        self.num_workers = num_workers
        self.cache_dir = Path(cache_dir) if cache_dir else default_cache_dir()
        self.train_indices, self.val_indices = split_indices(
            self.samples, split, val_fraction, split_seed, val_tiles, fold
        )
        self.start_epoch = 0
        """Epochs that a resumed run has done: workers fetch their first batches before the trainer says so."""
        self.train_points: dict[str, Points] = {}
        self._train: SegmentationDataset | None = None
        self._val: SegmentationDataset | None = None

    def setup(self, stage: str | None = None) -> None:
        """Read the cache, place the points. Called again by the trainer, which then finds it done."""
        if self._train is not None:
            return
        arrays = prepare(self.samples, self.size, self.cache_dir)
        targets = self._targets(arrays)
        if not (targets != IGNORE_INDEX).any():
            raise UserError(f"no training image has a labelled pixel (points={self.points}, {len(targets)} images)")
        self._train = SegmentationDataset(arrays.images[self.train_indices], targets, self.augment, self.seed)
        self._val = SegmentationDataset(arrays.images[self.val_indices], arrays.masks[self.val_indices])

    def _targets(self, arrays: Arrays) -> np.ndarray:
        if self.points == "all":
            return arrays.masks[self.train_indices]
        given = self._read_points(arrays) if self.points_file else None
        targets = []
        for i in self.train_indices:
            image_id, native = self.samples[i].image_id, arrays.shapes[i]
            if given is not None:
                drawn = given.get(image_id, np.empty((0, 3), np.int64))
            else:
                drawn = sample_points(arrays.native_mask(i), int(self.points), self.seed, image_id)
            self.train_points[image_id] = drawn
            targets.append(points_to_mask(drawn, native, (self.size, self.size)))
        return np.stack(targets)

    def _read_points(self, arrays: Arrays) -> Mapping[str, Points]:
        path = Path(str(self.points_file))
        given = read_points(path, self.classes.names)
        shapes = {s.image_id: shape for s, shape in zip(self.samples, arrays.shapes, strict=True)}
        if unknown := sorted(set(given) - set(shapes)):
            raise UserError(f"{path}: no image {unknown[0]!r} in the data; names look like {next(iter(shapes))!r}")
        for image_id, points in given.items():
            outside = (points[:, :2] < 0).any(1) | (points[:, :2] >= shapes[image_id]).any(1)
            if outside.any():
                row, col, _ = points[outside][0]
                raise UserError(
                    f"{path}: point row={row}, col={col} lies outside image {image_id!r}, which has "
                    f"{shapes[image_id][0]} rows and {shapes[image_id][1]} columns"
                )
        return given

    @property
    def class_counts(self) -> list[int]:
        """Labelled training pixels of each class, after mapping to the training size."""
        assert self._train is not None, "call setup() first"
        return np.bincount(self._train.targets.ravel(), minlength=256)[: len(self.classes)].tolist()

    def examples(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The first `count` training and the first `count` validation images, for pictures.

        Returns images (2·count, H, W, 3) uint8, full masks (2·count, H, W) and what the network is given of them,
        (2·count, H, W), all 255 for validation images.
        """
        assert self._train is not None and self._val is not None, "call setup() first"
        arrays = prepare(self.samples, self.size, self.cache_dir)
        chosen = self.train_indices[:count] + self.val_indices[:count]
        blank = np.full_like(self._val.targets[:count], IGNORE_INDEX)
        return arrays.images[chosen], arrays.masks[chosen], np.concatenate([self._train.targets[:count], blank])

    def validation_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """The validation images (N, H, W, 3) and their full masks (N, H, W), uint8, in the order of `val_indices`."""
        assert self._val is not None, "call setup() first"
        return self._val.images, self._val.targets

    def _loader(self, dataset: SegmentationDataset, shuffle: bool) -> Loader:
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        sampler = EpochBatchSampler(len(dataset), self.batch_size, shuffle, self.seed, rank, world)
        sampler.set_epoch(self.start_epoch)
        return torch.utils.data.DataLoader(
            dataset,
            batch_sampler=sampler,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def train_dataloader(self) -> Loader:
        assert self._train is not None, "call setup() first"
        return self._loader(self._train, shuffle=True)

    def val_dataloader(self) -> Loader:
        assert self._val is not None, "call setup() first"
        return self._loader(self._val, shuffle=False)
