"""What tests put into a run by its command line: losses that draw at random or break, a callback that kills."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from sparse_seg.losses import partial_cross_entropy


def random_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Draws from torch's generator at every step, as dropout in a network does."""
    return partial_cross_entropy(logits + torch.randn_like(logits), target)


def fragile_loss(logits: Tensor, target: Tensor, rank: int = -1) -> Tensor:
    """Fails on one rank of DDP."""
    if os.environ.get("LOCAL_RANK") == str(rank):
        raise RuntimeError(f"rank {rank} broke")
    return partial_cross_entropy(logits, target)


class Fate(L.Callback):
    """Sends this process the signal in the file `fate`, "SIGKILL 3": in epoch 3; "SIGKILL 0": after the last one."""

    def _meet(self, epoch: int) -> None:
        fate = Path("fate")
        if fate.exists() and fate.read_text().endswith(f" {epoch}"):
            os.kill(os.getpid(), signal.Signals[fate.read_text().split()[0]])

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        self._meet(trainer.current_epoch + 1)

    def on_fit_end(self, *_: Any) -> None:
        self._meet(0)


def slow_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Takes long enough for a test to interfere."""
    time.sleep(0.5)
    return partial_cross_entropy(logits, target)
