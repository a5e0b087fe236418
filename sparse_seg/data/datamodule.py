"""Sparse points of a data set, as Lightning wants them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import albumentations as A
import lightning as L
import numpy as np
import torch.utils.data
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from sparse_seg.classes import IGNORE_INDEX, Image, Mask
from sparse_seg.data.cache import Arrays, default_cache_dir, prepare
from sparse_seg.data.coverage import empty_problem, labelled_pixels
from sparse_seg.data.dataset import EpochBatchSampler, SegmentationDataset
from sparse_seg.data.sample import ImageSet
from sparse_seg.data.seen import foreign_problem
from sparse_seg.data.split import split_indices
from sparse_seg.data.targets import Rows, Targets
from sparse_seg.errors import UserError
from sparse_seg.points.draw import Cells, Points, points_to_cells, points_to_mask
from sparse_seg.points.holdout import divide_points
from sparse_seg.points.records import Bad
from sparse_seg.points.sources import Drawn, PointSource, point_source, read_for_run

Loader = torch.utils.data.DataLoader[dict[str, Tensor]]


class SparsePointsDataModule(L.LightningDataModule):
    """Trains on `points` pixels per class and image, validates on full masks.

    A sample that brings points of its own trains on the first `points` of each class; "all" means all of them. Where
    no sample has a mask, a share of the points validates instead; `scored_on` says which, "masks" or "points". Images
    and masks stay on the disk, decoded, and are read when a batch wants them.

    Args:
        source: the data set.
        points: pixels per class and training image, or "all" for full masks.
        split: "random" or "tile"; with val_fraction, split_seed, val_tiles and fold see `split_indices`.
        seed: draws the points, the order of images and the augmentation.
        size: training images are resized to (size, size).
        crop: training batches show a random window of (crop, crop) of each of them; None: all of it. An epoch still
            shows every image once, and validation images are whole.
        batch_size: the global batch, over all devices.
        points_file: a file of points to use instead of drawing, all of them.
        on_bad_point: of such a file, "error" or "skip".
        points_crs: of such a file, "pixel" where its coordinates are columns and rows beyond doubt.
        allow_empty_classes: whether training may go on with a class that has no labelled pixel, or with masks of which
            more than 1 % holds no class.
        augment: moves images and targets.
        num_workers: processes that make batches; 0: this one.
        cache_dir: where decoded images are kept; None: the user's cache folder.
        views: 2 adds `image_strong` to training batches: the same place under other colours.

    Raises:
        UserError: the data cannot be used as asked.

    Example:
        >>> from sparse_seg.data import synthetic
        >>> data = SparsePointsDataModule(synthetic(images=5, size=64), points=20)
        >>> len(data.train_indices), len(data.val_indices)
        (4, 1)
    """

    def __init__(
        self,
        source: ImageSet,
        *,
        points: int | str,
        split: str = "random",
        seed: int = 0,
        size: int = 256,
        crop: int | None = None,
        batch_size: int = 8,
        val_fraction: float = 0.2,
        split_seed: int = 0,
        val_tiles: Sequence[str | int] | None = None,
        fold: int | None = None,
        points_file: str | None = None,
        on_bad_point: str = "error",
        points_crs: str | None = None,
        allow_empty_classes: bool = False,
        augment: A.Compose | None = None,
        num_workers: int = 0,
        cache_dir: str | None = None,
        views: int = 1,
    ) -> None:
        super().__init__()
        if views not in (1, 2):
            raise UserError(f"views={views!r} must be 1 or 2")
        if crop is not None and not 0 < crop <= size:
            raise UserError(f"crop={crop!r} must be None, or from 1 to size={size}, which it is cut from")
        self.samples = source.samples
        self.keep_empty = source.keep_empty
        self.scored_on = source.scored_on
        self.val_fraction = val_fraction
        self.split_seed = split_seed
        self.classes = source.classes
        self.bands = source.bands
        self.scale = source.scale
        self.alpha = source.alpha
        self.points = points
        self.seed = seed
        self.size = size
        self.crop = crop
        self.batch_size = batch_size
        self.points_file = points_file
        self.points_crs = points_crs
        self.allow_empty_classes = allow_empty_classes
        self.bad = Bad.of(on_bad_point)
        self.augment = augment
        self.num_workers = num_workers
        self.views = views
        self.cache_dir = Path(cache_dir) if cache_dir else default_cache_dir()
        self.train_indices, self.val_indices = split_indices(
            self.samples, split, val_fraction, split_seed, val_tiles, fold
        )
        self.start_epoch = 0
        """Epochs that a resumed run has done: workers fetch their first batches before the trainer says so."""
        self.train_points: dict[str, Points] = {}
        """Id of each whole training image → (N, 3) row, column, class in its own pixels."""
        self.points_off_image = 0
        self.class_counts: list[int] = []
        """Labelled training pixels of each class, after mapping to the training size."""
        self._shown: dict[int, frozenset[int]] = {}
        """Index of each sample that shows points → their classes."""
        self._train: SegmentationDataset | None = None
        self._val: SegmentationDataset | None = None

    def setup(self, stage: str | None = None) -> None:
        """Read the cache, place the points. Called again by the trainer, which then finds it done."""
        if self._train is not None:
            return
        arrays = self._arrays = prepare(self.samples, self.size, self.cache_dir)
        held_out: Mapping[int, Points] = self._held_out() if self.scored_on == "points" else {}
        validating = {k: self._cells(i, held_out[i]) for k, i in enumerate(self.val_indices) if i in held_out}
        if validating and not any(len(cells) for cells, _ in validating.values()):
            raise UserError(
                f"there are no masks, and data.val_fraction={self.val_fraction} of the points of an image and "
                "class is less than one: nothing to validate on; raise data.val_fraction, or label more points"
            )
        read = None
        if self.points_file:
            read = read_for_run(Path(self.points_file), self.samples, arrays, self.classes, self.bad, self.points_crs)
        source = point_source(self.samples, arrays, self.points, self.seed, held_out, read)
        training = self._place(source)
        both = {i: k for k, i in enumerate(self.val_indices)}
        for k, i in enumerate(self.train_indices):
            if k in training and both.get(i) in validating:
                # A cell of the training size may hold points of both sides.
                training[k] = _without(training[k], validating[both[i]])
        targets = self._count(Targets(Rows(arrays.masks, self.train_indices), training))
        self._check_classes()
        for note in arrays.seen.notes:
            rank_zero_warn(note)
        self._train = SegmentationDataset(
            Rows(arrays.images, self.train_indices), targets, self.augment, self.seed, self.views, self.crop
        )
        truths = Targets(Rows(arrays.masks, self.val_indices), validating)
        self._val = SegmentationDataset(Rows(arrays.images, self.val_indices), truths)

    def _held_out(self) -> dict[int, Points]:
        """The points that validate, of each validation sample: all of a held-out tile's, else a share."""
        train = set(self.train_indices)
        shared = divide_points(self.samples, self.val_fraction, self.split_seed)
        return {i: shared[i] if i in train else self.samples[i].points for i in self.val_indices}  # type: ignore[misc]

    def _cells(self, index: int, points: Points) -> Cells:
        usable = _on_image(self._arrays, index, points, self.samples[index].has_mask)
        return points_to_cells(usable, self._arrays.shapes[index], (self.size, self.size))

    def _place(self, source: PointSource) -> dict[int, Cells]:
        """Place in `train_indices` → the cells of its points; those left out show their full masks."""
        cells: dict[int, Cells] = {}
        sets: dict[frozenset[int], frozenset[int]] = {}
        place = {i: k for k, i in enumerate(self.train_indices)}
        for whole, windows in groupby(self.train_indices, key=lambda i: self.samples[i].whole):
            shown = source.of(whole, list(windows))
            for i, points in shown.items():
                cells[place[i]] = self._cells(i, points)
                usable = _on_image(self._arrays, i, points, self.samples[i].has_mask)
                kinds = frozenset(usable[:, 2].tolist())
                self._shown[i] = sets.setdefault(kinds, kinds)  # there are few different ones
                self.points_off_image += len(points) - len(usable)
            if shown:
                moved = [p[:, :3] + [*self.samples[i].offset, 0] for i, p in shown.items()]
                self.train_points[whole] = np.concatenate(moved)
        return cells

    def _count(self, targets: Targets) -> Targets:
        """Count the labelled pixels; leave out images without any, unless the data set keeps them."""
        total, labelled = np.zeros(len(self.classes), np.int64), []
        for k in range(len(targets)):
            counts = targets.counts(k)
            total += counts[: len(self.classes)]
            if counts[:IGNORE_INDEX].any():
                labelled.append(k)
        if not labelled:
            why = "".join(f"\n{note}" for note in self._arrays.seen.notes[:1])
            raise UserError(
                f"no training image has a labelled pixel (points={self.points}, {len(targets)} images){why}"
            )
        self.class_counts = total.tolist()
        if self.keep_empty:
            return targets
        self.train_indices = [self.train_indices[k] for k in labelled]
        return targets.keep(labelled)

    def _check_classes(self) -> None:
        """Raise UserError, or warn where `allow_empty_classes` says so, if masks and classes do not fit."""
        foreign = self._arrays.seen.foreign
        problem = foreign_problem(foreign, labelled_pixels(self._arrays)) if foreign.files else None
        empty = [c for c, n in enumerate(self.class_counts) if n == 0 and not self._is_labelled(c)]
        if empty and not problem:
            where = f"any of the {len(self.train_indices)} training images (points={self.points})"
            problem = empty_problem(empty, self.classes, self._arrays, where, self.scored_on == "masks")
        if problem and not self.allow_empty_classes:
            raise UserError(f"{problem}; data.allow_empty_classes=true goes on all the same")
        if problem:
            rank_zero_warn(problem)

    def _is_labelled(self, index: int) -> bool:
        """Whether a training image has a pixel of the class at its own resolution, that the smaller one may lose."""
        return any(
            index in self._shown[i] if i in self._shown else (self._arrays.native_mask(i) == index).any()
            for i in self.train_indices
        )

    def training_examples(self) -> Iterator[tuple[str, Image, Mask, bool]]:
        """All training images as they are, in the order of `train_indices`.

        Yields the id of the whole image, the image (H, W, bands), its target (H, W) and whether that is its full mask.
        """
        assert self._train is not None, "call setup() first"
        targets = self._train.targets
        assert isinstance(targets, Targets)
        for k, i in enumerate(self.train_indices):
            yield self.samples[i].whole, np.array(self._train.images[k]), targets[k], k not in targets.points

    def examples(self, count: int) -> tuple[Image, Mask, Mask]:
        """The first `count` training and the first `count` validation images, for pictures.

        Returns images (2·count, H, W, bands) uint8, full masks (2·count, H, W) and what the network is given of them,
        (2·count, H, W), all 255 for validation images.
        """
        assert self._train is not None, "call setup() first"
        chosen = self.train_indices[:count] + self.val_indices[:count]
        arrays, size = self._arrays, (self.size, self.size)
        truths = arrays.masks[chosen]
        for k, i in enumerate(chosen):
            if not self.samples[i].has_mask:
                points = _on_image(arrays, i, np.asarray(self.samples[i].points), False)
                truths[k] = points_to_mask(points, arrays.shapes[i], size)
        blank = [np.full(size, IGNORE_INDEX, np.uint8)] * len(self.val_indices[:count])
        return arrays.images[chosen], truths, np.stack([*self._train.targets[:count], *blank])

    def validation_arrays(self) -> tuple[Sequence[Image], Sequence[Mask]]:
        """The validation images (H, W, bands) and their masks (H, W), uint8, in the order of `val_indices`.

        They are read when asked for.
        """
        assert self._val is not None, "call setup() first"
        return self._val.images, self._val.targets

    def validation_points(self) -> Sequence[Mask] | None:
        """What points of this density look like on the validation images, (H, W) uint8 each, 255 elsewhere.

        They are drawn as those of training images, and used for pictures alone. None where points are not drawn.
        """
        if self.points == "all" or self.points_file or any(s.points is not None for s in self.samples):
            return None
        drawn = Drawn(self._arrays, int(self.points), self.seed)
        cells: dict[int, Cells] = {}
        for whole, windows in groupby(enumerate(self.val_indices), key=lambda pair: self.samples[pair[1]].whole):
            places = {i: k for k, i in windows}
            cells |= {places[i]: self._cells(i, found) for i, found in drawn.of(whole, list(places)).items()}
        return Targets(Rows(self._arrays.masks, self.val_indices), cells)

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


def _on_image(arrays: Arrays, index: int, points: Points, has_mask: bool) -> Points:
    """The points that do not lie where there is no image, as nodata says."""
    if has_mask or not len(points):
        return points
    # The mask of an image without one holds its points, and is unlabelled where there is no image.
    return np.asarray(points[arrays.native_mask(index)[points[:, 0], points[:, 1]] != IGNORE_INDEX])


def _without(cells: Cells, others: Cells) -> Cells:
    keep = ~np.isin(cells[0], others[0])
    return cells[0][keep], cells[1][keep]
