"""Augmentation and resizing: everything that moves pixels."""

from typing import Any

import albumentations as A
import cv2
import numpy as np
from numpy.typing import NDArray

from sparse_seg.classes import Image, Mask


class BandJitter(A.ColorJitter):
    """Colour jitter of images with any number of bands, uint8 (H, W, B).

    Three bands count as RGB, whatever they show, and change as by albumentations' ColorJitter, which refuses all other
    numbers but one. Those have neither saturation nor hue: brightness and contrast change, by the same draws and by one
    factor for all bands, contrast about the mean of all of them.
    """

    def apply(
        self,
        img: Image,
        brightness: float,
        contrast: float,
        saturation: float,
        hue: float,
        order: list[int],
        **params: Any,
    ) -> Image:
        if img.shape[2] == 3:
            return np.asarray(super().apply(img, brightness, contrast, saturation, hue, order, **params))
        for step in order:
            if step == 0:
                img = _stretched(img, brightness, 0)
            elif step == 1:
                img = _stretched(img, contrast, float(img.mean()))
        return img


def _stretched(image: Image, factor: float, centre: float) -> Image:
    levels = centre + factor * (np.arange(256) - centre)
    return np.asarray(np.rint(levels.clip(0, 255)).astype(np.uint8)[image])


def report_augmentation(
    brightness: float = 0.2, contrast: float = 0.2, saturation: float = 0.2, hue: float = 0.1
) -> A.Compose:
    """The report's augmentation: horizontal and vertical flip, rotation by a multiple of 90°, colour jitter.

    Every geometric step permutes pixels, so no point is lost and none changes its class.

    Args:
        brightness: factors are drawn from 1 ± this.
        contrast: likewise.
        saturation: likewise; of three bands only, see `BandJitter`.
        hue: added, drawn from ± this, in turns of the colour circle; of three bands only.

    Returns:
        A transform of albumentations, for `SparsePointsDataModule(augment=…)`.

    Example:
        >>> [type(step).__name__ for step in report_augmentation().transforms]
        ['HorizontalFlip', 'VerticalFlip', 'RandomRotate90', 'BandJitter']
    """
    return A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.VerticalFlip(p=0.5),
            A.RandomRotate90(p=1.0),
            BandJitter(
                brightness=(1 - brightness, 1 + brightness),
                contrast=(1 - contrast, 1 + contrast),
                saturation=(1 - saturation, 1 + saturation),
                hue=(-hue, hue),
                p=1.0,
            ),
        ]
    )


def augment(
    transform: A.BasicTransform | A.Compose, image: Image, mask: Mask, seed: list[int], colours: list[int] | None = None
) -> tuple[Image, Mask]:
    """Apply a transform jointly to image and mask, with draws that depend on `seed` alone.

    Not on a worker's state: the figures of a run must not depend on the number of workers, nor on a restart.

    Args:
        transform: of albumentations.
        image: (H, W, bands) uint8.
        mask: (H, W) uint8.
        seed: whole numbers of at least 0, or the index -1 of padding.
        colours: another seed for the steps that move no pixel; None for the same one.

    Returns:
        The image and the mask, moved alike.
    """
    _seed(transform, np.random.SeedSequence(seed), None if colours is None else np.random.SeedSequence(colours))
    moved = transform(image=image, mask=mask)
    return moved["image"], moved["mask"]


def _seed(
    transform: A.BasicTransform | A.BaseCompose,
    sequence: np.random.SeedSequence,
    colours: np.random.SeedSequence | None,
) -> None:
    own = colours if colours is not None and isinstance(transform, A.ImageOnlyTransform) else sequence
    transform.set_random_seed(int(own.generate_state(1)[0]))
    # That gives all steps of a Compose the same seed: both flips or none. So each gets its own.
    steps = transform.transforms if isinstance(transform, A.BaseCompose) else []
    others = [None] * len(steps) if colours is None else colours.spawn(len(steps))
    for step, child, other in zip(steps, sequence.spawn(len(steps)), others, strict=True):
        _seed(step, child, other)


def resize_image(image: Image, size: int) -> Image:
    """(H, W, B) → (size, size, B); area averaging when shrinking, bilinear when enlarging."""
    shrinks = image.shape[0] >= size and image.shape[1] >= size
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    # OpenCV averages the areas of at most four channels.
    parts = [image[..., k : k + 3] for k in range(0, image.shape[2], 3)]
    resized = [cv2.resize(np.ascontiguousarray(p), (size, size), interpolation=method) for p in parts]
    return np.asarray(np.dstack(resized), np.uint8)


def resize_mask(mask: NDArray[np.uint8], size: int) -> Mask:
    """(H, W) → (size, size) by nearest neighbour: the value at each cell's centre, never an invented class."""
    rows, cols = ((2 * np.arange(size) + 1) * n // (2 * size) for n in mask.shape)
    return mask[np.ix_(rows, cols)]
