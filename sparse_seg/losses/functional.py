"""Losses over the labelled pixels only, as pure functions.

All take `logits` (B, C, H, W), unnormalised, and `target` (B, H, W) int64, 255 = unlabelled, and return a scalar.
An unlabelled pixel has exactly zero loss and zero gradient, whatever its logits are. With no labelled pixel at all
the loss is 0 and its gradient exactly zero. Half-precision logits are computed in float32; float32 and float64 stay.
`image` is accepted because every loss is called as `loss(logits, target, image)`; it is not read here.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_seg.classes import IGNORE_INDEX
from sparse_seg.errors import UserError

PerClass = Sequence[float] | Tensor

_GATHER_BELOW = 0.2
"""Labelled share of the pixels up to which gathering is faster than a dense map (measured on a CPU)."""


def partial_cross_entropy(
    logits: Tensor, target: Tensor, image: Tensor | None = None, class_weights: PerClass | None = None
) -> Tensor:
    """Cross-entropy: sum of w[target] * -log p[target] over the labelled pixels / number of labelled pixels.

    The number, not the sum of the weights as in `F.cross_entropy`: doubling every weight doubles the loss.

    Args:
        logits: (B, C, H, W), unnormalised.
        target: (B, H, W) int64, 255 = unlabelled.
        image: not read.
        class_weights: (C,), or None for 1.

    Returns:
        A scalar.

    Raises:
        ValueError: shapes that do not fit, a target that is not int64, weights of another length than C.

    Example:
        >>> target = torch.full((1, 4, 4), 255)
        >>> target[0, 2, 3] = 1
        >>> partial_cross_entropy(torch.zeros(1, 2, 4, 4), target)
        tensor(0.6931)
    """
    pixels, classes, n_labelled = _labelled(logits, target)
    weight = _per_class("class_weights", class_weights, pixels)
    return _nll(pixels.log_softmax(1), classes, weight).sum() / max(n_labelled, 1)


def partial_focal(
    logits: Tensor,
    target: Tensor,
    image: Tensor | None = None,
    gamma: float = 2.0,
    alpha: PerClass | None = None,
    class_weights: PerClass | None = None,
) -> Tensor:
    """Softmax focal loss, -alpha_t (1 - p_t)^gamma log p_t, mean over the labelled pixels.

    Lin et al. 2017, eq. 5, with p_t the softmax probability of the true class. gamma=0 is cross-entropy.

    Args:
        logits: (B, C, H, W), unnormalised.
        target: (B, H, W) int64, 255 = unlabelled.
        image: not read.
        gamma: >= 0.
        alpha: (C,), the factor of each class, or None for 1.
        class_weights: (C,), a second factor, or None for 1. The divisor is the number of labelled pixels with both.

    Returns:
        A scalar.

    Raises:
        ValueError: gamma < 0, shapes that do not fit, a target that is not int64, alpha or weights not of length C.

    Example:
        >>> target = torch.full((1, 4, 4), 255)
        >>> target[0, 2, 3] = 1
        >>> partial_focal(torch.zeros(1, 2, 4, 4), target)  # a quarter of cross-entropy: (1 - 0.5)²
        tensor(0.1733)
    """
    check_gamma(gamma)
    pixels, classes, n_labelled = _labelled(logits, target)
    weight = _per_class("class_weights", class_weights, pixels)
    balance = _per_class("alpha", alpha, pixels)
    if balance is not None:
        weight = balance if weight is None else balance * weight
    log_p = pixels.log_softmax(1)
    nll = _nll(log_p, classes)
    # 1 - p_t without cancellation. The slope of x^gamma at 0 is infinite for gamma < 1; the clamp cuts it off there.
    miss = (-torch.expm1(-nll)).clamp_min(torch.finfo(nll.dtype).tiny)
    return (miss**gamma * (nll if weight is None else _nll(log_p, classes, weight))).sum() / max(n_labelled, 1)


def partial_dice(
    logits: Tensor,
    target: Tensor,
    image: Tensor | None = None,
    class_weights: PerClass | None = None,
    smooth: float = 0.0,
) -> Tensor:
    """Soft Dice loss over the labelled pixels of the batch, mean over the classes that have a label in it.

    1 - (2 sum p y + smooth) / (sum p + sum y + smooth) per class, p the softmax, y one-hot (Milletari et al. 2016,
    with the unsquared denominator of Sudre et al. 2017). Not a sum over pixels: it depends on what is in the batch.

    Args:
        logits: (B, C, H, W), unnormalised.
        target: (B, H, W) int64, 255 = unlabelled.
        image: not read.
        class_weights: (C,), or None for 1. The divisor stays the number of classes present.
        smooth: >= 0. 0 is safe, since a class that counts has a label and so a positive denominator.

    Returns:
        A scalar.

    Raises:
        ValueError: smooth < 0, shapes that do not fit, a target that is not int64, weights of another length than C,
            classes outside 0..C-1.

    Example:
        >>> target = torch.full((1, 4, 4), 255)
        >>> target[0, 2, 3] = 1
        >>> partial_dice(torch.zeros(1, 2, 4, 4), target)  # 1 - 2 · 0.5 ÷ (0.5 + 1)
        tensor(0.3333)
    """
    check_smooth(smooth)
    pixels, classes, n_labelled = _labelled(logits, target)
    weight = _per_class("class_weights", class_weights, pixels)
    index = torch.arange(pixels.shape[1], device=pixels.device).view(-1, *[1] * (pixels.ndim - 2))
    is_class = classes.unsqueeze(1) == index
    pixel_dims = [0, *range(2, pixels.ndim)]
    n_labels = is_class.sum(pixel_dims)
    if int(n_labels.sum()) != n_labelled:
        raise ValueError(f"target has classes outside 0..{pixels.shape[1] - 1}, the classes of the logits")
    present = n_labels > 0
    p = pixels.softmax(1) * (classes != IGNORE_INDEX).unsqueeze(1)
    # Absent classes leave before the division: 0/0 would poison the gradient even where its result is dropped.
    overlap = (p * is_class).sum(pixel_dims)[present]
    size = (p.sum(pixel_dims) + n_labels)[present]
    loss = 1 - (2 * overlap + smooth) / (size + smooth)
    if weight is not None:
        loss = loss * weight[present]
    return loss.sum() / max(len(loss), 1)


def check_gamma(gamma: float) -> None:
    """Raises ValueError unless gamma is a finite number >= 0."""
    if not 0 <= gamma < math.inf:
        raise UserError(f"gamma must be a finite number >= 0, got {gamma!r}")


def check_smooth(smooth: float) -> None:
    """Raises ValueError unless smooth is a finite number >= 0."""
    if not 0 <= smooth < math.inf:
        raise UserError(f"smooth must be a finite number >= 0, got {smooth!r}")


def _labelled(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, int]:
    """What the loss has to look at: logits, target (class dimension 1 in both forms) and the number of labels.

    Few labels: (N, C) and (N,), gathered. Many: (B, C, H, W) and (B, H, W) still with 255, because row-wise gathering
    of a dense map is several times slower than the map itself.
    """
    if logits.ndim != 4 or target.shape != (logits.shape[0], *logits.shape[2:]):
        raise ValueError(
            f"logits must be (B, C, H, W) and target (B, H, W), got {tuple(logits.shape)} and {tuple(target.shape)}"
        )
    if target.dtype != torch.int64:
        raise ValueError(f"target must be int64, got {target.dtype}: use target.long()")
    labelled = target != IGNORE_INDEX
    n_labelled = int(labelled.count_nonzero())
    if n_labelled <= _GATHER_BELOW * target.numel():
        where = _nonzero(labelled)
        pixels = _rows(logits, where)
        target = target.flatten().index_select(0, where)
    elif n_labelled < target.numel():
        # An infinite logit at an unlabelled pixel would turn the zero gradient into NaN.
        pixels = logits.masked_fill(~labelled.unsqueeze(1), 0)
    else:
        pixels = logits
    if pixels.dtype in (torch.float16, torch.bfloat16):
        pixels = pixels.float()
    return pixels, target, n_labelled


def _rows(logits: Tensor, where: Tensor) -> Tensor:
    """(N, C) logits at flat positions of (B, H, W). The gradient gets the memory format of the logits.

    index_select, since its gradient is faster than that of advanced indexing; no position comes twice, so it is
    deterministic.
    """
    classes, size = logits.shape[1], logits[0, 0].numel()
    if logits.is_contiguous(memory_format=torch.channels_last):
        return logits.permute(0, 2, 3, 1).reshape(-1, classes).index_select(0, where)
    first = where + where // size * (size * (classes - 1))
    index = first.unsqueeze(1) + size * torch.arange(classes, device=where.device)
    return logits.reshape(-1).index_select(0, index.flatten()).view(-1, classes)


def _nonzero(labelled: Tensor) -> Tensor:
    """Flat positions of the few True: first the words of 8 pixels that hold one, which is 4 times faster on a CPU."""
    flat = labelled.flatten()
    if flat.numel() % 8:
        return flat.nonzero().squeeze(1)
    words = flat.view(torch.int64).nonzero().squeeze(1)
    word, offset = flat.view(-1, 8)[words].nonzero(as_tuple=True)
    return words[word] * 8 + offset


def _nll(log_p: Tensor, classes: Tensor, weight: Tensor | None = None) -> Tensor:
    """-weight[class] * log p[class] of each pixel, 0 where unlabelled. `reduction="none"` is deterministic on CUDA."""
    return F.nll_loss(log_p, classes, weight, ignore_index=IGNORE_INDEX, reduction="none")


def _per_class(name: str, values: PerClass | None, pixels: Tensor) -> Tensor | None:
    if values is None:
        return None
    tensor = torch.as_tensor(values, dtype=pixels.dtype, device=pixels.device)
    if tensor.shape != pixels.shape[1:2]:
        raise UserError(f"{name} must have one number per class ({pixels.shape[1]}), got {tensor.tolist()}")
    return tensor
