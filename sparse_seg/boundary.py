"""Boundary IoU: how well the outlines of the classes agree. Cheng et al. 2021, arXiv 2103.16562."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from sparse_seg.classes import IGNORE_INDEX

WHOLE = (slice(None), slice(None))


def boundary_distance(height: int, width: int, share: float = 0.02) -> int:
    """How far from an outline a pixel still belongs to it: `share` of the image's diagonal, at least 1 pixel.

    Example:
        >>> boundary_distance(256, 256)
        7
    """
    return max(1, round(share * math.hypot(height, width)))


def boundary_counts(
    prediction: Tensor,
    target: Tensor,
    classes: int,
    distance: int | None = None,
    counted: tuple[slice, slice] = WHOLE,
) -> tuple[Tensor, Tensor]:
    """Pixels in the intersection and in the union of the two boundaries of each class.

    The boundary of a class is its mask less the mask's erosion by a square of 2·distance + 1 pixels; beyond the image
    there is no class, so that a mask ends at the image's edge, as in the authors' code. Where the truth is unknown,
    nothing is counted and nothing ends: for both maps an unlabelled pixel belongs to whatever lies beside it. So a
    prediction that is right on every labelled pixel has the truth's boundary, whatever it says elsewhere.

    Counts add up over batches, images and ranks. An image in blocks: give each block with `distance` more pixels on
    each side that is not the image's edge, the whole image's `distance`, and count the block itself.

    Args:
        prediction: (B, H, W) integers, a class index per pixel; 255 is no class.
        target: (B, H, W) integers, 255 = unlabelled.
        classes: number of classes, at most 255.
        distance: in pixels, at least 1; None: `boundary_distance` of H and W.
        counted: rows and columns to count; the others are only looked at.

    Returns:
        intersection and union, each (C,) int64.

    Raises:
        ValueError: shapes that do not fit, or a distance below 1.

    Example:
        >>> target = torch.zeros(1, 5, 5, dtype=torch.int64)
        >>> boundary_counts(target, target, 2, distance=1)
        (tensor([16,  0]), tensor([16,  0]))
    """
    if prediction.ndim != 3 or prediction.shape != target.shape:
        raise ValueError(
            f"prediction and target must be (B, H, W), got {tuple(prediction.shape)} and {tuple(target.shape)}"
        )
    if distance is None:
        distance = boundary_distance(*target.shape[1:])
    if distance < 1:
        raise ValueError(f"distance must be at least 1, got {distance}")
    known = target != IGNORE_INDEX
    said, true = prediction.to(torch.uint8), target.to(torch.uint8)
    said_edge, true_edge = (known & _outline(labels, known, distance) for labels in (said, true))
    cut = (slice(None), *counted)
    said, true, said_edge, true_edge = said[cut], true[cut], said_edge[cut], true_edge[cut]
    both = _per_class(true[said_edge & true_edge & (said == true)], classes)
    return both, _per_class(said[said_edge], classes) + _per_class(true[true_edge], classes) - both


def boundary_iou(intersection: Tensor, union: Tensor, class_names: Sequence[str]) -> Mapping[str, float]:
    """Scores of `boundary_counts`, by name: the mean over the classes that have a boundary, and each class.

    Args:
        intersection: (C,) counts.
        union: (C,) counts.
        class_names: C names.

    Returns:
        `boundary_iou` and `boundary_iou_<class>`; NaN where there is no boundary.

    Example:
        >>> boundary_iou(torch.tensor([1, 0]), torch.tensor([4, 0]), ["road", "water"])
        {'boundary_iou': 0.25, 'boundary_iou_road': 0.25, 'boundary_iou_water': nan}
    """
    iou = intersection.double().cpu() / union.double().cpu()  # 0 / 0 is NaN
    return {"boundary_iou": iou.nanmean().item()} | {
        f"boundary_iou_{name}": value for name, value in zip(class_names, iou.tolist(), strict=True)
    }


def _outline(labels: Tensor, known: Tensor, distance: int) -> Tensor:
    """Where a pixel's window holds more than one known label, or reaches beyond the image. Right for known pixels.

    One map does for all classes: a class's erosion is where all of the window is of that class.
    """
    reach = 2 * distance + 1
    outline = torch.ones_like(known)
    if min(labels.shape[1:]) >= reach:
        least = _window(labels.masked_fill(~known, IGNORE_INDEX), reach, torch.minimum)
        most = _window(labels.masked_fill(~known, 0), reach, torch.maximum)
        outline[:, distance:-distance, distance:-distance] = least != most
    return outline


def _window(values: Tensor, reach: int, choose: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Least or greatest value of each square of `reach` pixels that fits, (B, H - reach + 1, W - reach + 1).

    Windows of twice the length are two windows of half of it, so a wide one costs little more than a narrow one.
    """
    for dim in (1, 2):
        length = 1
        while 2 * length <= reach:
            values = _two(values, length, dim, choose)
            length *= 2
        if reach > length:
            values = _two(values, reach - length, dim, choose)
    return values


def _two(values: Tensor, apart: int, dim: int, choose: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    rest = values.shape[dim] - apart
    return choose(values.narrow(dim, 0, rest), values.narrow(dim, apart, rest))


def _per_class(labels: Tensor, classes: int) -> Tensor:
    return torch.bincount(labels, minlength=256)[:classes]
