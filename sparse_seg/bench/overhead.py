"""(a) What Lightning costs beside a bare loop."""

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import lightning as L

from sparse_seg.bench.device import automatic, now, say
from sparse_seg.bench.plan import Plan
from sparse_seg.bench.table import Row
from sparse_seg.bench.training import bare_steps, build_task, build_trainer
from sparse_seg.data.datamodule import SparsePointsDataModule


class TakeTurns(L.Callback):
    """Times Lightning's steps, and has a bare step done after each one, off Lightning's clock."""

    def __init__(self, bare: Iterator[float]) -> None:
        self.lightning: list[float] = []
        self.bare: list[float] = []
        self._bare = bare
        self._started: float | None = None
        self._pause = 0.0

    def on_train_batch_start(self, *args: Any) -> None:
        started = now()
        if self._started is not None:
            self.lightning.append(started - self._started - self._pause)
        self._started = started

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        ended = now()
        self.bare.append(next(self._bare))
        say(f"    step {len(self.bare)} of {trainer.num_training_batches}")
        self._pause = now() - ended


def lightning_overhead(plan: Plan, data: SparsePointsDataModule, folder: Path) -> list[Row]:
    """(a) A training step of the task in Lightning against one of a bare loop: network, loss, batches all the same.

    A Lightning step lasts from one on_train_batch_start to the next, less the bare step that is done in between; so
    loading, hooks, the finite-loss check and the running sums count. The two take turns step by step. The first step
    of each is left out. The callbacks of a run act once per epoch and are part of (d).
    """
    turns = TakeTurns(bare_steps(data.train_dataloader(), automatic(), plan.encoder))
    trainer = build_trainer(folder / "overhead", [turns], max_epochs=1, limit_val_batches=0)
    trainer.fit(build_task(plan), datamodule=data)
    mine, bare = median(turns.lightning[1:]), median(turns.bare[1:])
    what = f"(a) step in Lightning vs in a bare loop, {len(turns.lightning) - 1} steps each"
    return [Row(what, mine, bare, max_ratio=1.03)]
