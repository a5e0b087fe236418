"""What Lightning's loggers get of a run: numbers for any of them, and for TensorBoard more."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.tensorboard import summary

HPARAMS = (
    "loss", "points", "method", "seed", "split", "augment", "fold", "encoder", "weights", "lr", "scheduler", "size",
    "epochs", "batch_size",
)  # fmt: skip
FIRST = 5
TAGS = {"train_loss": "loss/train", "val_miou": "miou/val", "lr": "optimizer/lr"}


def log_epoch(loggers: Iterable[Logger], row: Mapping[str, float], scores: Iterable[str]) -> None:
    """Give every logger the finite numbers of an epoch, with the epoch's number, from 1, as the step.

    Args:
        loggers: of a trainer.
        row: as `History` keeps them.
        scores: names of the columns that are further scores.
    """
    tags = TAGS | {name: f"scores/{name}" for name in scores}
    values = {
        tags.get(name) or name.replace("iou_", "iou/", 1): value
        for name, value in row.items()
        if name not in ("epoch", "seconds") and math.isfinite(value)
    }
    for logger in loggers:
        logger.log_metrics(values, int(row["epoch"]))


def log_result(loggers: Iterable[Logger], result: Mapping[str, Any], epochs: int) -> None:
    """Give every logger the hyper-parameters, and TensorBoard also the configuration and the scores they led to.

    Args:
        loggers: of a trainer.
        result: as `build_result` makes it.
        epochs: that were trained.
    """
    values = {k: "none" if result[k] is None else result[k] for k in HPARAMS}
    scores = {f"score/{k}": result[k] for k in ("miou_final", "miou_best")}
    scores |= {f"score/iou_{name}": value for name, value in result["iou"].items()}
    scores = {k: v for k, v in scores.items() if v is not None and math.isfinite(v)}
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            text = yaml.safe_dump(result["figures"], sort_keys=True)
            logger.experiment.add_text("config", "".join(f"    {line}\n" for line in text.splitlines()))
            logger.log_metrics(scores, epochs)
            logger.hparams.update(values)  # what it writes to hparams.yaml
            _log_hparams(logger, values, scores, epochs)
        else:
            logger.log_hyperparams(values)
        logger.finalize("success")


def log_layout(loggers: Iterable[Logger]) -> None:
    """Give TensorBoard a page of custom scalars: mIoU, loss and the classes' IoU side by side."""
    charts = {
        "mIoU": ["Multiline", ["^miou/val$"]],
        "loss": ["Multiline", ["^loss/train$"]],
        "IoU per class": ["Multiline", ["^iou/"]],
    }
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_custom_scalars({"training": charts})


def _log_hparams(logger: TensorBoardLogger, values: dict[str, Any], scores: dict[str, float], step: int) -> None:
    """As the logger's own `log_hyperparams`, with the columns that tell runs apart in front.

    TensorBoard sorts the columns by name, after those that are said to differ between runs, and shows the first five.
    """
    hparams: Any = summary.hparams  # without types
    experiment, start, end = hparams(values, scores)
    metadata = experiment.value[0].metadata.plugin_data
    content = HParamsPluginData.FromString(metadata.content)
    for info in content.experiment.hparam_infos:
        info.differs = info.name in HPARAMS[:FIRST]
    metadata.content = content.SerializeToString()
    writer = logger.experiment._get_file_writer()
    for part in (experiment, start, end):
        writer.add_summary(part, step)
