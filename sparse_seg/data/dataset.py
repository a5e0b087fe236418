"""Images with sparse targets as batches; the order and the augmentation of an epoch depend on (seed, epoch) alone."""

from collections.abc import Iterator, Sequence

import albumentations as A
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from sparse_seg.classes import IGNORE_INDEX, Image, Mask
from sparse_seg.data.transforms import augment
from sparse_seg.errors import UserError
from sparse_seg.tensors import to_float

PADDING = -1
"""Index of an image that only fills up a rank's last validation batch; its target is all unlabelled."""
CROP = 2
"""Behind (seed, epoch, index), what a crop is drawn from; 1 is the second view."""


class SegmentationDataset(Dataset[dict[str, Tensor]]):
    """Indexed by (epoch, index).

    An item has `image`, float32 (bands, H, W) in 0..1, `target`, int64 (H, W), 255 = unlabelled, `index`, and with
    views=2 `image_strong`, the image in the same place under other colours.

    Args:
        images: N of uint8 (H, W, bands); a sequence that reads them when asked for, or a list.
        targets: N of uint8 (H, W), likewise.
        transform: moves both; its draws depend on (seed, epoch, index) alone.
        seed: of the run.
        views: 1 or 2 images of each place.
        crop: side of a window that is shown instead of the whole; it depends on (seed, epoch, index) alone.
    """

    def __init__(
        self,
        images: Sequence[Image],
        targets: Sequence[Mask],
        transform: A.Compose | None = None,
        seed: int = 0,
        views: int = 1,
        crop: int | None = None,
    ) -> None:
        self.images = images
        self.targets = targets
        self.transform = transform
        self.seed = seed
        self.views = views
        self.crop = crop

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
        epoch, index = key
        image, target = self._stored(epoch, index)
        seen = [image] * self.views
        if self.transform is not None:
            draws = [self.seed, epoch, index]
            # The second view first, since the first one decides the target.
            for view in reversed(range(self.views)):
                colours = [*draws, view] if view else draws
                seen[view], moved = augment(self.transform, image.copy(), target.copy(), draws, colours)
            target = moved
        if index == PADDING:
            target = np.full_like(target, IGNORE_INDEX)
        item = {"image": to_float(seen[0]).contiguous()}
        if self.views == 2:
            item["image_strong"] = to_float(seen[1]).contiguous()
        return item | {"target": torch.from_numpy(target.astype(np.int64)), "index": torch.tensor(index)}

    def _stored(self, epoch: int, index: int) -> tuple[Image, NDArray[np.uint8]]:
        """Copies of image and target, or of a window of them."""
        k = max(index, 0)
        image, target = self.images[k], self.targets[k]
        if self.crop is not None:
            rng = np.random.default_rng([self.seed, epoch, k, CROP])
            row, col = (int(rng.integers(n - self.crop + 1)) for n in image.shape[:2])
            window = slice(row, row + self.crop), slice(col, col + self.crop)
            image, target = image[window], target[window]
        return np.array(image), np.array(target)


class EpochBatchSampler(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) for one rank.

    A global batch of `batch_size` images is dealt out to `world` ranks. shuffle: a new order each epoch from
    (seed, epoch), and a last, incomplete batch is dropped if there is another one. Otherwise every image comes
    exactly once, over all ranks; ranks that come short get `PADDING`, so that all run the same number of batches.
    """

    def __init__(self, size: int, batch_size: int, shuffle: bool, seed: int = 0, rank: int = 0, world: int = 1) -> None:
        if batch_size % world:
            raise UserError(f"data.batch_size={batch_size} must be a multiple of the number of devices, {world}")
        if shuffle and size < world:
            raise UserError(f"{size} training images cannot be divided among {world} devices")
        self.size, self.batch_size, self.shuffle, self.seed = size, batch_size, shuffle, seed
        self.rank, self.world = rank, world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch, also the first one after a restart."""
        self.epoch = epoch

    @property
    def sampler(self) -> "EpochBatchSampler":
        """Where Lightning looks for `set_epoch` of a batch sampler."""
        return self

    def __len__(self) -> int:
        whole = self.size // self.batch_size
        return max(whole, 1) if self.shuffle else -(-self.size // self.batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order: Sequence[int] = range(self.size)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.size).tolist()
        for b in range(len(self)):
            batch = list(order[b * self.batch_size : (b + 1) * self.batch_size])
            if not self.shuffle:
                batch += [PADDING] * (-len(batch) % self.world)
            yield [(self.epoch, i) for i in batch[self.rank :: self.world]]
