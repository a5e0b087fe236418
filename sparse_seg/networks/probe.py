"""A linear probe: a frozen encoder, and one linear layer that sees all of its levels at a pixel."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparse_seg.errors import UserError

DEPTH = 5
"""Levels of the encoder; the image itself is one more."""
AROUND = 9
"""Side in pixels of the neighbourhood whose mean and deviation are features."""
ITERATIONS = 80


class Fit(NamedTuple):
    """A layer that was solved for.

    weight: (C, F) float32. bias: (C,) float32. strength: of the L2 term. loss: mean cross-entropy, a scalar. pixels:
    how many it learned from. seconds: that reading their features took.
    """

    weight: Tensor
    bias: Tensor
    strength: float
    loss: Tensor
    pixels: int
    seconds: float


class Probe(nn.Module):
    """Logits that are linear in a frozen encoder's levels.

    A pixel's features are the normalised image, its mean and standard deviation over 9 × 9 pixels, and every level of
    the encoder, each read at the pixel by bilinear interpolation. So a class map is one 1 × 1 convolution per level,
    enlarged and summed.

    Args:
        encoder: an encoder of segmentation_models_pytorch; it stays as it is, in evaluation mode.
        classes: number of classes.

    Example:
        >>> probe = Probe(smp.encoders.get_encoder("resnet18", weights=None), classes=5)
        >>> probe(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 5, 64, 64])
    """

    def __init__(self, encoder: nn.Module, classes: int) -> None:
        super().__init__()
        self.encoder = encoder.eval().requires_grad_(False)
        image, *deeper = [int(n) for n in getattr(encoder, "out_channels")]  # noqa: B009
        self.widths = [3 * image, *(c for c in deeper if c)]
        self.weight = nn.Parameter(torch.zeros(classes, sum(self.widths)))
        self.bias = nn.Parameter(torch.zeros(classes))

    def train(self, mode: bool = True) -> "Probe":
        super().train(mode)
        self.encoder.eval()
        return self

    @torch.no_grad()
    def take(self, fit: Fit) -> None:
        """Make a layer that was solved for this one's."""
        self.weight.copy_(fit.weight)
        self.bias.copy_(fit.bias)

    @torch.no_grad()
    def levels(self, image: Tensor) -> list[Tensor]:
        """What the features of an image's pixels are read from.

        Args:
            image: float32 (B, bands, H, W), normalised.

        Returns:
            (B, width, h, w) float32 each, from the largest to the smallest.
        """
        return [self.around(image), *self.deeper(image)]

    def around(self, image: Tensor) -> Tensor:
        """Normalised image (B, bands, H, W) → it, its mean and its deviation around each pixel, (B, 3·bands, H, W)."""
        half = AROUND // 2
        padded = F.pad(image, (half, half, half, half), mode="reflect")
        mean = _mean_around(padded)
        deviation = (_mean_around(padded**2) - mean**2).clamp(min=0).sqrt()
        return torch.cat([image, mean, deviation], 1)

    @torch.no_grad()
    def deeper(self, image: Tensor) -> list[Tensor]:
        """Normalised image (B, bands, H, W) → the levels of the encoder, (B, width, h, w) each."""
        return [level for level in self.encoder(image)[1:] if level.shape[1]]

    def forward(self, image: Tensor) -> Tensor:
        """Normalised image (B, bands, H, W) → logits (B, classes, H, W); in float32, as the layer was solved for."""
        with torch.autocast(image.device.type, enabled=False):
            return self.logits(self.levels(image.to(self.weight.dtype)))

    def logits(self, levels: Sequence[Tensor]) -> Tensor:
        """What `levels` gave → logits (B, classes, H, W)."""
        size = levels[0].shape[-2:]
        total = self.bias.view(1, -1, 1, 1).expand(len(levels[0]), -1, *size)
        for level, weight in zip(levels, torch.split(self.weight, self.widths, dim=1), strict=True):
            # A 1 × 1 convolution, in less time.
            part = (weight @ level.flatten(2)).view(-1, len(weight), *level.shape[-2:])
            if part.shape[-2:] != size:
                part = F.interpolate(part, size, mode="bilinear", align_corners=False)
            total = total + part
        return total


def _mean_around(padded: Tensor) -> Tensor:
    """The mean over AROUND × AROUND pixels, (B, C, H + AROUND − 1, W + AROUND − 1) → (B, C, H, W)."""
    # Nine shifted sums along each axis: an eighth of the time of avg_pool2d, and the same at every place.
    for axis in (-2, -1):
        size = padded.shape[axis] - AROUND + 1
        total = padded.narrow(axis, 0, size)
        for k in range(1, AROUND):
            total = total + padded.narrow(axis, k, size)
        padded = total
    return padded / AROUND**2


def read_at(levels: Sequence[Tensor], rows: Tensor, cols: Tensor) -> Tensor:
    """The features of pixels of one image.

    Args:
        levels: (width, h, w) each, as `Probe.levels` has them.
        rows, cols: (N,) pixels of the largest level.

    Returns:
        (N, sum of widths) float32.
    """
    height, width = levels[0].shape[-2:]
    places = torch.stack([(2 * cols + 1) / width - 1, (2 * rows + 1) / height - 1], -1).float()
    each = [
        F.grid_sample(level[None].float(), places[None, None], "bilinear", "border", align_corners=False)[0, :, 0].T
        for level in levels
    ]
    return torch.cat(each, 1)


def solve(
    features: Tensor,
    labels: Tensor,
    classes: int,
    strength: float,
    offsets: Tensor | None = None,
    start: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Multinomial logistic regression on standardised features.

    Minimises the mean over pixels of the cross-entropy plus strength ÷ 2 times the sum of squared weights, which is
    scikit-learn's LogisticRegression with C = 1 ÷ (strength · N). The bias is free. In float64, so that the result does
    not depend on the number of threads in what float32 keeps of it.

    Args:
        features: (N, F) float32.
        labels: (N,) int64, 0 to classes − 1.
        classes: C.
        strength: of the L2 term.
        offsets: (N, C), added to the logits of each pixel.
        start: (weight, bias) to begin with.

    Returns:
        weight (C, F) and bias (C,) float32, of the features as they are.
    """
    x = features.to(torch.float64, copy=True)
    mean = x.mean(0)
    x -= mean
    deviation = x.square().mean(0).sqrt()
    deviation = torch.where(deviation > 0, deviation, torch.ones_like(deviation))
    x /= deviation
    weight, bias = x.new_zeros(classes, x.shape[1]), x.new_zeros(classes)
    if start is not None:
        weight, bias = start[0].double() * deviation, start[1].double() + start[0].double() @ mean
    weight.requires_grad_(), bias.requires_grad_()
    shift = 0.0 if offsets is None else offsets.double()
    search = torch.optim.LBFGS([weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        search.zero_grad()
        loss = F.cross_entropy(F.linear(x, weight, bias) + shift, labels) + strength / 2 * (weight**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        search.step(closure)  # type: ignore[no-untyped-call]
    weight = weight.detach() / deviation
    return weight.float(), (bias.detach() - weight @ mean).float()


def held_out(groups: Sequence[tuple[int, int]], fraction: float = 0.2) -> np.ndarray:
    """Which pixels choose the strength: a share of those of each image and class.

    Args:
        groups: image and class of each pixel.
        fraction: the share, 1 ÷ n; of a group of fewer than n none is held out.

    Returns:
        (N,) bool.
    """
    rank: dict[tuple[int, int], int] = {}
    every = round(1 / fraction)
    out = np.zeros(len(groups), np.bool_)
    for k, group in enumerate(groups):
        rank[group] = rank.get(group, 0) + 1
        out[k] = rank[group] % every == 0
    return out


STRENGTHS = (0.1, 0.03, 0.01, 0.003, 0.001)


def choose_strength(
    features: Tensor, labels: Tensor, classes: int, held: np.ndarray, strengths: Sequence[float] = STRENGTHS
) -> float:
    """The strength with the least cross-entropy on the pixels held out; the middle one if there are none.

    From the largest down; the first one that is worse than the one before ends the search.

    Args:
        features: (N, F).
        labels: (N,).
        classes: C.
        held: (N,) bool.
        strengths: to choose from, the largest first.
    """
    out = torch.from_numpy(held)
    if not held.any() or held.all():
        return strengths[len(strengths) // 2]
    losses = []
    start = None
    rest, rest_labels, features, labels = features[~out], labels[~out], features[out], labels[out]
    for strength in strengths:
        start = weight, bias = solve(rest, rest_labels, classes, strength, start=start)
        losses.append(F.cross_entropy(features @ weight.T + bias, labels).item())
        if len(losses) > 1 and losses[-1] > losses[-2]:
            break
    return strengths[int(np.argmin(losses))]


def encoder_of(name: str, in_channels: int) -> nn.Module:
    """An encoder without weights, for a probe. Raises UserError if it has no pyramid of levels."""
    try:
        encoder: nn.Module = smp.encoders.get_encoder(name, in_channels=in_channels, depth=DEPTH, weights=None)
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as e:
        line = (str(e).splitlines() or [type(e).__name__])[0][:200]
        raise UserError(f"model.encoder={name} gives a probe no levels: {line}") from e
    return encoder
