"""Shares of the ground estimated by a probe, before training.

Where within a class the points are as good as random, the shares of an image's ground follow from what a classifier
says of all of its pixels, by expectation maximisation (Saerens, Latinne, Decaestecker 2002, doi
10.1162/089976602753284446).
"""

import copy
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparse_seg.classes import IGNORE_INDEX, Image, Mask
from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.errors import UserError, check_number
from sparse_seg.networks.build import NormalisedNetwork
from sparse_seg.networks.features import Features
from sparse_seg.networks.probe import Fit, Probe, choose_strength, held_out, read_at, solve
from sparse_seg.tensors import to_float
from sparse_seg.training.shares import Shares, own_shares

STEPS = 60
"""Of expectation maximisation."""
ROUNDS = 3
"""Estimates, the first by expectation maximisation."""
STRIDE = 8
"""Of the pixels that stand for an image's ground."""
MOST = 2**18
"""Such pixels of all images; with more of them the stride is larger."""
FULL = 2_000
"""Pixels of a full mask that a probe learns from."""


@dataclass(frozen=True)
class Gathered:
    """Features of pixels of all training images, for a probe.

    names: of the images. features: (N, F) of the labelled pixels, labels: (N,), image: (N,) row of `names`.
    grid: (M, F) float16 of the pixels that stand for the ground, grid_image: (M,). full: (images,) bool, which have
    their full masks. of: training sample → row of `names`. seconds: that reading took.
    """

    names: list[str]
    features: Tensor
    labels: Tensor
    image: Tensor
    grid: Tensor
    grid_image: Tensor
    full: Tensor
    of: Tensor
    seconds: float

    def own(self, classes: int) -> Tensor:
        """(images, C) float64: shares of the labelled pixels."""
        counts = torch.zeros(len(self.names), classes, dtype=torch.float64)
        counts.index_put_((self.image, self.labels), torch.ones(1, dtype=torch.float64), accumulate=True)
        return counts / counts.sum(1, keepdim=True).clamp(min=1)

    def fit(self, layer: tuple[Tensor, Tensor], strength: float, shares: Shares | None) -> Fit:
        """What became of solving for a layer with the logits moved by `shares`."""
        weight, bias = layer
        logits = self.features @ weight.T + bias
        moved = logits if shares is None else logits + shares.per_image[self.image]
        return Fit(weight, bias, strength, F.cross_entropy(moved, self.labels), len(self.labels), self.seconds)

    def strength(self, classes: int) -> float:
        """Of the L2 term: the one that does best on a fifth of the labelled pixels of each image and class."""
        held = held_out(list(zip(self.image.tolist(), self.labels.tolist(), strict=True)))
        return choose_strength(self.features, self.labels, classes, held)


Example = tuple[str, Image, Mask, bool]
"""Name of the whole image, image (H, W, bands), target (H, W), whether that is a full mask."""


def gather(features: Features, examples: Iterable[Example], count: int) -> Gathered:
    """Read the features of labelled pixels, and of a grid that stands for the ground.

    Args:
        features: what gives the levels of an image.
        examples: the training samples, in order.
        count: how many there are; 0: there is no grid.
    """
    started = time.perf_counter()
    names: dict[str, int] = {}
    found: dict[str, list[Tensor]] = {"features": [], "labels": [], "image": [], "grid": [], "grid_image": []}
    full: dict[int, bool] = {}
    of = []
    for k, (name, image, target, whole_mask) in enumerate(examples):
        row = names.setdefault(name, len(names))
        of.append(row)
        full[row] = whole_mask
        levels = features(to_float(image))
        rows, cols = np.nonzero(target != IGNORE_INDEX)
        if whole_mask and len(rows) > FULL:
            chosen = np.sort(np.random.default_rng(k).choice(len(rows), FULL, replace=False))
            rows, cols = rows[chosen], cols[chosen]
        found["features"].append(read_at(levels, torch.from_numpy(rows), torch.from_numpy(cols)))
        found["labels"].append(torch.from_numpy(target[rows, cols].astype(np.int64)))
        found["image"].append(torch.full((len(rows),), row))
        grid = _grid(target.shape, count) if count else (torch.zeros(0, dtype=torch.int64),) * 2
        found["grid"].append(read_at(levels, *grid).half())
        found["grid_image"].append(torch.full((len(grid[0]),), row))
    joined = {key: torch.cat(parts) for key, parts in found.items()}
    whole = torch.tensor([full[k] for k in range(len(names))])
    return Gathered(list(names), **joined, full=whole, of=torch.tensor(of), seconds=time.perf_counter() - started)


def _grid(shape: tuple[int, ...], count: int) -> tuple[Tensor, Tensor]:
    stride = STRIDE
    while count * (shape[0] // stride) * (shape[1] // stride) > MOST:
        stride *= 2
    rows, cols = (torch.arange(stride // 2, n, stride) for n in shape[:2])
    return rows.repeat_interleave(len(cols)), cols.repeat(len(rows))


def expectation_maximisation(posterior: Tensor, own: Tensor, steps: int = STEPS) -> Tensor:
    """Shares of the ground from a classifier that was trained on other shares.

    Args:
        posterior: (M, C) float64, what the classifier says of M pixels.
        own: (C,) the shares that it was trained on. Classes whose share is 0 are left out and stay 0.
        steps: iterations.

    Returns:
        (C,) float64 with the sum 1.

    Example:
        >>> posterior = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.9, 0.1]], dtype=torch.float64)
        >>> expectation_maximisation(posterior, torch.tensor([0.5, 0.5])).round(decimals=2).tolist()
        [0.95, 0.05]
    """
    has = own > 0
    likelihood = posterior[:, has] / own[has]
    shares = own[has].double() / own[has].sum()
    for _ in range(steps):
        weighted = likelihood * shares
        shares = (weighted / weighted.sum(1, keepdim=True)).mean(0)
    out = torch.zeros_like(own, dtype=torch.float64)
    out[has] = shares
    return out


def estimate(data: Gathered, classes: int, rounds: int = ROUNDS, tau: float = 1.0) -> Shares:
    """Estimate the shares of each image's ground with a probe that learns from the same labelled pixels.

    Round one: the probe as trained on the points, and expectation maximisation on the posterior of each image's grid,
    among the classes that have points there. Each later round: the probe again, with its logits moved by the shares
    so far; the new share is half of the old one and half of the mean posterior.

    Args:
        data: what `gather` read.
        classes: C.
        rounds: how many.
        tau: of the shares that are returned; the rounds move by 1.

    Returns:
        The shares, with the last probe, whose logits are moved by them.
    """
    own = data.own(classes)
    strength = data.strength(classes)
    weight, bias = solve(data.features, data.labels, classes, strength)
    ground = own.clone()
    counts = data.grid_image.bincount(minlength=len(data.names)).tolist()
    cells = torch.split(data.grid_image.argsort(stable=True), counts)
    for k in range(rounds):
        said = torch.cat([part.float() @ weight.T + bias for part in torch.split(data.grid, 2**14)])
        for row in range(len(data.names)):
            has = own[row] > 0
            if data.full[row] or not has.any():
                continue
            logits = said[cells[row]].double()
            if k == 0:
                ground[row] = expectation_maximisation(logits.softmax(1), own[row])
            else:
                mean = logits[:, has].softmax(1).mean(0)
                ground[row, has] = 0.5 * ground[row, has] + 0.5 * mean
        shares = Shares(data.names, own, ground, torch.arange(len(data.names)))
        weight, bias = solve(
            data.features, data.labels, classes, strength, shares.per_image[data.image], (weight, bias)
        )
    shares = Shares(data.names, own, ground, data.of, data.full, tau)
    if tau != 1:
        offsets = shares.per_image[data.image]
        weight, bias = solve(data.features, data.labels, classes, strength, offsets, (weight, bias))
    return replace(shares, probe=data.fit((weight, bias), strength, shares))


def readable_encoder(network: nn.Module) -> nn.Module | None:
    """The encoder of a network by `networks.create`, if it has levels that a probe can read; a ViT has none.

    Example:
        >>> readable_encoder(nn.Conv2d(3, 5, 1)) is None
        True
    """
    inner = getattr(network, "network", None)
    encoder = getattr(inner, "encoder", None)
    if not isinstance(network, NormalisedNetwork) or isinstance(inner, smp.DPT):
        return None
    return encoder if isinstance(encoder, nn.Module) else None


def estimated_prior(
    network: nn.Module, data: SparsePointsDataModule, *, rounds: int = ROUNDS, tau: float = 1.0
) -> Shares:
    """Shares of the ground from a probe on the network's encoder as it is before training.

    Where all images have their full masks there is nothing to estimate.

    Args:
        network: with an encoder, as `networks.create` makes it.
        data: set up.
        rounds: of the estimate.
        tau: as for `Shares`.

    Returns:
        The shares of each training image.

    Raises:
        UserError: the network has no encoder that a probe can read, rounds is no positive integer, or tau no number
            from 0 to 2.
    """
    check_number("prior.tau", tau, most=2)
    if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
        raise UserError(f"prior.rounds={rounds!r} must be a positive integer")
    own = own_shares(data)
    if own.is_known:
        return own
    encoder = readable_encoder(network)
    if encoder is None or not isinstance(network, NormalisedNetwork):
        raise UserError(
            "prior=estimated reads the encoder of model, and this network has none that a probe can read\n"
            "choose prior=network, which asks the network itself, or prior=given"
        )
    probe = Probe(copy.deepcopy(encoder), len(data.classes)).cpu()
    features = Features(probe, network.mean, network.std, kept_in(network, data))
    gathered = gather(features, data.training_examples(), len(data.train_indices))
    return estimate(gathered, len(data.classes), rounds, tau)


def kept_in(network: NormalisedNetwork, data: SparsePointsDataModule) -> Path | None:
    """Where the features of a network's encoder are kept; None for one that each seed makes another."""
    return data.cache_dir / "features" if network.pretrained else None
