"""What a run measured, epoch by epoch: history.csv, TensorBoard, a line in the log."""

import csv
import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import yaml
from lightning.pytorch.loggers import TensorBoardLogger

from sparse_seg import metrics
from sparse_seg.files import replacing

HPARAMS = (
    "loss", "points", "augment", "split", "fold", "seed", "encoder", "weights", "lr", "scheduler", "size", "epochs",
    "batch_size",
)  # fmt: skip
log = logging.getLogger("sparse_seg")
Row = dict[str, float]


class History(L.Callback):
    """One row per finished epoch, kept in the checkpoint, so that a resumed run repeats no epoch."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.confusion_matrix: list[list[int]] = []
        """Counts of the last finished epoch's validation, rows truth, columns prediction."""
        self._started = time.perf_counter()

    @staticmethod
    def of(trainer: L.Trainer) -> "History":
        return next(c for c in trainer.callbacks if isinstance(c, History))  # type: ignore[attr-defined]

    @property
    def state_key(self) -> str:
        return "History"

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "confusion_matrix": self.confusion_matrix}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])
        self.confusion_matrix = state_dict["confusion_matrix"]

    @property
    def best(self) -> Row:
        """The first row with the highest validation mIoU."""
        return max(self.rows, key=lambda r: -math.inf if math.isnan(r["val_miou"]) else r["val_miou"])

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        task: Any = pl_module
        self.confusion_matrix = task.confusion_matrix
        row: Row = {
            "epoch": trainer.current_epoch + 1,
            "train_loss": task.train_loss(),
            "val_miou": metrics.mean_iou(self.confusion_matrix),
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
        }
        iou = metrics.iou_per_class(self.confusion_matrix).tolist()
        row |= {f"iou_{name}": value for name, value in zip(task.class_names, iou, strict=True)}
        row["seconds"] = round(time.perf_counter() - self._started, 3)
        self.rows.append(row)
        if trainer.is_global_zero:
            self._write(Path(trainer.default_root_dir) / "history.csv")
            self._dashboard(trainer, row)
            log.debug(
                "epoch %d/%d  loss %.4f  mIoU %.4f  best %.4f (epoch %d)  %.1f s",
                row["epoch"], trainer.max_epochs, row["train_loss"], row["val_miou"],
                self.best["val_miou"], self.best["epoch"], row["seconds"],
            )  # fmt: skip

    def _write(self, path: Path) -> None:
        with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as f:
            writer = csv.DictWriter(f, list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)

    def _dashboard(self, trainer: L.Trainer, row: Row) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                for name, value in row.items():
                    if name not in ("epoch", "seconds") and math.isfinite(value):
                        logger.experiment.add_scalar(_tag(name), value, int(row["epoch"]))

    def finish(self, trainer: L.Trainer, result: Mapping[str, Any]) -> None:
        """Put the configuration and the hyper-parameters with their scores on the dashboard."""
        values = {k: "none" if result[k] is None else result[k] for k in HPARAMS}
        scores = {f"score/{k}": result[k] for k in ("miou_final", "miou_best")}
        scores |= {f"score/iou_{name}": value for name, value in result["iou"].items()}
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                text = yaml.safe_dump(result["figures"], sort_keys=True)
                logger.experiment.add_text("config", "".join(f"    {line}\n" for line in text.splitlines()))
                logger.log_hyperparams(
                    values, {k: v for k, v in scores.items() if math.isfinite(v)}, step=len(self.rows)
                )
                logger.finalize("success")


def _tag(column: str) -> str:
    tags = {"train_loss": "loss/train", "val_miou": "miou/val", "lr": "optimizer/lr"}
    return tags.get(column) or column.replace("iou_", "iou/", 1)
