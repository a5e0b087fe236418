"""Sparse points of a data set, as Lightning wants them."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import albumentations as A
import lightning as L
import numpy as np
import torch.utils.data
from torch import Tensor

from sparse_seg.classes import IGNORE_INDEX, Mask
from sparse_seg.data.cache import Arrays, default_cache_dir, prepare
from sparse_seg.data.dataset import EpochBatchSampler, SegmentationDataset
from sparse_seg.data.sample import ImageSet
from sparse_seg.data.split import split_indices
from sparse_seg.errors import UserError
from sparse_seg.points.draw import Points, points_to_mask, read_points, sample_points
from sparse_seg.points.holdout import divide_points, rest

Loader = torch.utils.data.DataLoader[dict[str, Tensor]]


class SparsePointsDataModule(L.LightningDataModule):
    """Trains on `points` pixels per class and image, validates on full masks.

    A sample that brings points of its own trains on the first `points` of each class; "all" means all of them. Where
    no sample has a mask, a share of the points validates instead; `scored_on` says which, "masks" or "points".

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
        self.keep_empty = source.keep_empty
        self.scored_on = source.scored_on
        self.val_fraction = val_fraction
        self.split_seed = split_seed
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
        truths = arrays.masks[self.val_indices]
        held_out: Mapping[int, Points] = {}
        if self.scored_on == "points":
            held_out = self._held_out()
            truths = np.stack([self._to_mask(i, held_out[i], arrays) for i in self.val_indices])
            if not (truths != IGNORE_INDEX).any():
                raise UserError(
                    f"there are no masks, and data.val_fraction={self.val_fraction} of the points of an image and "
                    "class is less than one: nothing to validate on; raise data.val_fraction, or label more points"
                )
        targets = self._targets(arrays, held_out)
        if self.scored_on == "points":
            both = {i: k for k, i in enumerate(self.val_indices)}
            for k, i in enumerate(self.train_indices):
                if i in both:  # a cell of the training size may hold points of both sides
                    targets[k][truths[both[i]] != IGNORE_INDEX] = IGNORE_INDEX
        if not (targets != IGNORE_INDEX).any():
            raise UserError(f"no training image has a labelled pixel (points={self.points}, {len(targets)} images)")
        if not self.keep_empty:
            kept = (targets != IGNORE_INDEX).any((1, 2))
            self.train_indices = [i for i, keep in zip(self.train_indices, kept.tolist(), strict=True) if keep]
            targets = targets[kept]
        self._train = SegmentationDataset(arrays.images[self.train_indices], targets, self.augment, self.seed)
        self._val = SegmentationDataset(arrays.images[self.val_indices], truths)

    def _held_out(self) -> dict[int, Points]:
        """The points that validate, of each validation sample: all of a held-out tile's, else a share."""
        train = set(self.train_indices)
        shared = divide_points(self.samples, self.val_fraction, self.split_seed)
        return {i: shared[i] if i in train else self.samples[i].points for i in self.val_indices}  # type: ignore[misc]

    def _to_mask(self, index: int, points: Points, arrays: Arrays) -> Mask:
        usable = self._on_image(index, points, arrays)
        return points_to_mask(usable, arrays.shapes[index], (self.size, self.size))

    def _on_image(self, index: int, points: Points, arrays: Arrays) -> Points:
        """The points that do not lie where there is no image, as nodata says."""
        if self.samples[index].has_mask or not len(points):
            return points
        # The mask of an image without one holds its points, and is unlabelled where there is no image.
        return points[arrays.native_mask(index)[points[:, 0], points[:, 1]] != IGNORE_INDEX]

    def _targets(self, arrays: Arrays, held_out: Mapping[int, Points]) -> np.ndarray:
        """(N, size, size) of the training samples; points of `held_out` never take part."""
        self.points_off_image = 0
        given = self._read_points(arrays) if self.points_file else None
        own = rest(self.samples, held_out, None if self.points == "all" else int(self.points))
        targets = arrays.masks[self.train_indices] if self.points == "all" else self._blank(len(self.train_indices))
        place = {i: k for k, i in enumerate(self.train_indices)}
        for whole, windows in groupby(self.train_indices, key=lambda i: self.samples[i].whole):
            indices = list(windows)
            if self.points == "all":
                drawn = {i: own[i] for i in indices if not self.samples[i].has_mask}
            elif given is not None:
                drawn = {i: given.get(whole, np.empty((0, 3), np.int64)) for i in indices}
            elif self.samples[indices[0]].points is not None:
                drawn = {i: own[i] for i in indices}
            else:
                drawn = self._draw(whole, indices, arrays)
            for i, points in drawn.items():
                targets[place[i]] = self._to_mask(i, points, arrays)
                self.points_off_image += len(points) - len(self._on_image(i, points, arrays))
            if drawn:
                moved = [p[:, :3] + [*self.samples[i].offset, 0] for i, p in drawn.items()]
                self.train_points[whole] = np.concatenate(moved)
        return targets

    def _blank(self, count: int) -> np.ndarray:
        return np.full((count, self.size, self.size), IGNORE_INDEX, np.uint8)

    def _draw(self, whole: str, indices: Sequence[int], arrays: Arrays) -> dict[int, Points]:
        """Points per class of one whole image, on whichever of its equally large windows they fall."""
        height = arrays.shapes[indices[0]][0]
        masks = [arrays.native_mask(i) for i in indices]
        drawn = sample_points(
            masks[0] if len(masks) == 1 else np.concatenate(masks), int(self.points), self.seed, whole
        )
        number, row = np.divmod(drawn[:, 0], height)
        local = np.stack([row, drawn[:, 1], drawn[:, 2]], axis=1)
        return {i: local[number == k] for k, i in enumerate(indices)}

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

        Returns images (2·count, H, W, bands) uint8, full masks (2·count, H, W) and what the network is given of them,
        (2·count, H, W), all 255 for validation images.
        """
        assert self._train is not None and self._val is not None, "call setup() first"
        arrays = prepare(self.samples, self.size, self.cache_dir)
        chosen = self.train_indices[:count] + self.val_indices[:count]
        blank = np.full_like(self._val.targets[:count], IGNORE_INDEX)
        truths = arrays.masks[chosen]
        for k, i in enumerate(chosen):
            if not self.samples[i].has_mask:
                truths[k] = self._to_mask(i, np.asarray(self.samples[i].points), arrays)
        return arrays.images[chosen], truths, np.concatenate([self._train.targets[:count], blank])

    def validation_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """The validation images (N, H, W, bands) and their masks (N, H, W), uint8, in the order of `val_indices`."""
        assert self._val is not None, "call setup() first"
        return self._val.images, self._val.targets

    def validation_points(self) -> np.ndarray | None:
        """What points of this density look like on the validation images, (N, H, W) uint8, 255 elsewhere.

        They are drawn as those of training images, and used for pictures alone. None where points are not drawn.
        """
        drawn = self.points != "all" and not self.points_file and all(s.points is None for s in self.samples)
        if not drawn:
            return None
        arrays = prepare(self.samples, self.size, self.cache_dir)
        points = self._blank(len(self.val_indices))
        for whole, windows in groupby(enumerate(self.val_indices), key=lambda pair: self.samples[pair[1]].whole):
            places = {i: k for k, i in windows}
            for i, found in self._draw(whole, list(places), arrays).items():
                points[places[i]] = self._to_mask(i, found, arrays)
        return points

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
