"""What a run measured, epoch by epoch: history.csv, the loggers, a line in the log."""

import csv
import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L

from sparse_seg import metrics
from sparse_seg.errors import UserError
from sparse_seg.files import replacing
from sparse_seg.training.dashboard import log_epoch, log_layout

log = logging.getLogger("sparse_seg")
Row = dict[str, float]


class History(L.Callback):
    """One row per finished epoch, kept in the checkpoint, so that a resumed run repeats no epoch.

    An epoch without validation (`trainer.check_val_every_n_epoch`) has a row without scores, `val_miou` among them.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.confusion_matrix: list[list[int]] = []
        """Counts of the last validation, rows truth, columns prediction."""
        self.scores: dict[str, float] = {}
        """Further scores of the last validation, by name."""
        self._started = time.perf_counter()

    @staticmethod
    def of(trainer: L.Trainer) -> "History":
        """The history among a trainer's callbacks. Raises UserError if there is none."""
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, History):
                return callback
        raise UserError("the trainer's callbacks need a sparse_seg.training.History: what a run saves is read from it")

    @property
    def state_key(self) -> str:
        return "History"

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "confusion_matrix": self.confusion_matrix, "scores": self.scores}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])
        self.confusion_matrix = state_dict["confusion_matrix"]
        self.scores = state_dict.get("scores", {})  # those of older code have none

    @property
    def scored(self) -> list[Row]:
        """The rows of epochs that were validated."""
        return [row for row in self.rows if "val_miou" in row]

    @property
    def best(self) -> Row:
        """The first row with the highest validation mIoU."""
        return max(self.scored, key=lambda r: -math.inf if math.isnan(r["val_miou"]) else r["val_miou"])

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero and not self.rows:
            log_layout(trainer.loggers)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        task: Any = pl_module
        areas: Row = {}
        row: Row = {"epoch": trainer.current_epoch + 1, "train_loss": task.train_loss()}
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        lr = groups[0]["lr"] if groups else math.nan  # a method may need none
        if task.scored_epoch == row["epoch"]:
            self.confusion_matrix, self.scores = task.confusion_matrix, dict(task.scores)
            row |= {"val_miou": metrics.mean_iou(self.confusion_matrix), "lr": lr}
            iou = metrics.iou_per_class(self.confusion_matrix).tolist()
            row |= {f"iou_{name}": value for name, value in zip(task.class_names, iou, strict=True)}
            if getattr(getattr(trainer, "datamodule", None), "scored_on", "masks") == "masks":
                areas = self._areas(row, task.class_names)
            if taken := sorted((row.keys() | {"seconds"}) & self.scores.keys()):
                raise UserError(f"a score is called {taken[0]!r}, which is a column of history.csv; give another name")
            row |= self.scores
        else:
            row["lr"] = lr
        row["seconds"] = round(time.perf_counter() - self._started, 3)
        self.rows.append(row)
        if trainer.is_global_zero:
            self._write(Path(trainer.default_root_dir) / "history.csv")
            log_epoch(trainer.loggers, row, self.scores, areas)
            log.debug("%s", self._line(trainer.max_epochs))

    def _areas(self, row: Row, names: Sequence[str]) -> Row:
        """Put each class's predicted share into the row. Returns what the loggers get of the true ones, by tag."""
        true, predicted = (shares.tolist() for shares in metrics.area_shares(self.confusion_matrix))
        row |= {f"share_{name}": share for name, share in zip(names, predicted, strict=True)}
        ratios = metrics.area_ratios(self.confusion_matrix).tolist()
        areas = {f"share_ratio/{name}": ratio for name, ratio in zip(names, ratios, strict=True)}
        if not self.scored:  # they stay the same
            areas |= {f"share_true/{name}": share for name, share in zip(names, true, strict=True)}
        return areas

    def _line(self, epochs: int | None) -> str:
        row = self.rows[-1]
        parts = [f"epoch {row['epoch']:.0f}/{epochs}", f"loss {row['train_loss']:.4f}"]
        if "val_miou" in row:
            best = self.best
            parts += [f"mIoU {row['val_miou']:.4f}", f"best {best['val_miou']:.4f} (epoch {best['epoch']:.0f})"]
        return "  ".join([*parts, f"{row['seconds']:.1f} s"])

    def _write(self, path: Path) -> None:
        # An epoch without validation has fewer columns than others; so do those that older code trained.
        columns = list(dict.fromkeys(name for row in [max(self.rows, key=len), *self.rows] for name in row))
        with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as f:
            writer = csv.DictWriter(f, columns)
            writer.writeheader()
            writer.writerows(self.rows)
