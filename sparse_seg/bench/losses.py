"""(b) The losses, which gather the labelled pixels, against dense forms."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from sparse_seg.bench.device import automatic, device, now
from sparse_seg.bench.plan import Plan
from sparse_seg.bench.table import Row
from sparse_seg.classes import IGNORE_INDEX, LAND_COVER
from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.losses import partial_cross_entropy, partial_focal

Loss = Callable[[Tensor, Tensor], Tensor]


def dense_masked(logits: Tensor, target: Tensor, gamma: float = 0.0) -> Tensor:
    """Focal loss, cross-entropy for gamma 0, of every pixel × mask ÷ number of labels. Shapes as `partial_focal`."""
    mask = target != IGNORE_INDEX
    log_p = logits.log_softmax(1).gather(1, target.where(mask, 0).unsqueeze(1)).squeeze(1)
    pixels = -log_p if gamma == 0 else -((1 - log_p.exp()) ** gamma) * log_p
    return (pixels * mask).sum() / mask.sum()


LOSSES: dict[str, Loss] = {
    "partial_cross_entropy": partial_cross_entropy,
    "partial_focal": partial_focal,
    "F.cross_entropy": partial(F.cross_entropy, ignore_index=IGNORE_INDEX),
    "dense masked cross-entropy": dense_masked,
    "dense masked focal": partial(dense_masked, gamma=2.0),
}
LOSS_PAIRS = [
    ("partial_cross_entropy", "F.cross_entropy"),
    ("partial_cross_entropy", "dense masked cross-entropy"),
    ("partial_focal", "F.cross_entropy"),
    ("partial_focal", "dense masked focal"),
]


def sparse_batch(plan: Plan, last: bool) -> tuple[Tensor, Tensor]:
    """Random float32 logits (batch, 5, size, size), and targets with `labels` labelled pixels per image."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(plan.batch, len(LAND_COVER), plan.size, plan.size, generator=generator)
    target = torch.full((plan.batch, plan.size * plan.size), IGNORE_INDEX)
    for row in target:
        pixels = torch.randperm(len(row), generator=generator)[: plan.labels]
        row[pixels] = torch.randint(len(LAND_COVER), (len(pixels),), generator=generator)
    layout = torch.channels_last if last else torch.contiguous_format
    logits = logits.to(device()).contiguous(memory_format=layout)
    return logits.requires_grad_(), target.view(plan.batch, plan.size, plan.size).to(device())


def loss_speed(plan: Plan, data: SparsePointsDataModule, folder: Path) -> list[Row]:
    """(b) The losses, which gather the labelled logits, against dense forms: forward and backward, float32.

    `loss_calls` calls of each loss per round, in turn; the first round is left out. Wanted: four times as fast, in the
    memory format of the task's logits and in the other one.
    """
    rows = []
    for last in (automatic()[1], not automatic()[1]):
        logits, target = sparse_batch(plan, last)
        seconds: dict[str, list[float]] = {name: [] for name in LOSSES}
        for _ in range(plan.loss_rounds + 1):
            for name, loss in LOSSES.items():
                started = now()
                for _ in range(plan.loss_calls):
                    torch.autograd.grad(loss(logits, target), logits)
                seconds[name].append((now() - started) / plan.loss_calls)
        mid = {name: median(values[1:]) for name, values in seconds.items()}
        layout = f"{'channels last' if last else 'contiguous'}{' (the task)' if last == automatic()[1] else ''}"
        rows += [Row(f"(b) {a} vs {b}; {layout}", mid[a], mid[b], max_ratio=0.25) for a, b in LOSS_PAIRS]
    return rows
