"""(d) Where an epoch's time goes."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import lightning as L
from lightning.pytorch.profilers import SimpleProfiler

from sparse_seg.bench.device import now, say
from sparse_seg.bench.plan import Plan
from sparse_seg.bench.table import Row
from sparse_seg.bench.training import build_task, build_trainer
from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.training.checkpoint import RunCheckpoint
from sparse_seg.training.history import History
from sparse_seg.training.panels import Panels

BUCKETS = {
    "data loading": r"_next$|batch_to_device$",
    "training step": r"^run_training_batch$",
    "validation forward": r"\[Strategy\].*validation_step$",
    "history, TensorBoard": r"\[Callback\]History(?!.*on_save_)",
    "panels": r"\[Callback\]Panels",
    "checkpoint": r"\[Callback\]RunCheckpoint(?!.*on_save_)",
}
"""Part of an epoch → the names under which Lightning's profiler files it."""


class SteadyEpochs(L.Callback):
    """Starts profiler and clock anew after the first epoch, and stops the clock after the last."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        say(f"    epoch {trainer.current_epoch + 1} of {trainer.max_epochs}")
        if trainer.current_epoch == 1:
            trainer.profiler.recorded_durations.clear()  # type: ignore[attr-defined]
            self.seconds = -now()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.seconds += now()


def epoch_shares(plan: Plan, data: SparsePointsDataModule, folder: Path) -> list[Row]:
    """(d) Where an epoch's time goes, from Lightning's profiler: the default callbacks, TensorBoard, real files.

    The mean of the epochs after the first. Panels are drawn in the first epoch, the last and every tenth: what the
    last epoch's took, its PNG file included, is divided by `every_n_epochs`. The validation forward includes the
    confusion matrix; the checkpoint is that of an early epoch, in which the best weights are often written, too.
    "other" is what no part explains: Lightning's loops and hooks. The progress bar, for terminals only, is left out.
    On a GPU, work counts where it is waited for.
    """
    profiler, steady, panels = SimpleProfiler(), SteadyEpochs(), Panels()
    callbacks = [steady, History(), RunCheckpoint(), panels]
    limits = {"max_epochs": plan.epochs, "limit_train_batches": plan.epoch_steps}
    trainer = build_trainer(folder / "epochs", callbacks, profiler=profiler, **limits)
    trainer.fit(build_task(plan), datamodule=data)
    parts = split_durations(profiler.recorded_durations)
    parts["other"] = steady.seconds - sum(parts.values())
    parts = {name: seconds / (plan.epochs - 1) for name, seconds in parts.items()}
    parts["panels"] *= (plan.epochs - 1) / panels.every_n_epochs  # drawn once in these epochs
    epoch = sum(parts.values())
    rows = [Row(f"(d) {name} vs whole epoch", seconds, epoch) for name, seconds in parts.items()]
    rest = epoch - parts["training step"] - parts["validation forward"]
    return [*rows, Row("(d) all but step and validation forward vs whole epoch", rest, epoch, max_ratio=0.1)]


def split_durations(recorded: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Sum a profiler's seconds over each of BUCKETS. Actions of no bucket are left to "other"."""
    return {
        bucket: sum(sum(seconds) for name, seconds in recorded.items() if re.search(pattern, name))
        for bucket, pattern in BUCKETS.items()
    }
