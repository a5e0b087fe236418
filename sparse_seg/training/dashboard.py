"""What Lightning's loggers get of a run: numbers for any of them, and for TensorBoard more."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.tensorboard import summary

HPARAMS = (
    "loss", "points", "method", "seed", "split", "prior", "augment", "fold", "encoder", "weights", "lr", "scheduler",
    "size", "epochs", "batch_size",
)  # fmt: skip
FIRST = 5
UNLOGGED = ("epoch", "seconds")
GROUPS = {"iou_": "iou/", "share_": "share_predicted/"}
"""How columns of the classes begin → how their tags do."""
TAGS = {"train_loss": "loss/train", "val_miou": "miou/val", "lr": "optimizer/lr"}


def log_epoch(
    loggers: Iterable[Logger], row: Mapping[str, float], scores: Iterable[str], areas: Mapping[str, float]
) -> None:
    """Give every logger the finite numbers of an epoch, with the epoch's number, from 1, as the step.

    Args:
        loggers: of a trainer.
        row: as `History` keeps them.
        scores: names of the columns that are further scores.
        areas: further numbers by their tag: predicted ÷ true area of each class and, once, the true share.
    """
    tags = TAGS | {name: f"scores/{name}" for name in scores}
    columns = {tags.get(name) or _of_class(name): value for name, value in row.items() if name not in UNLOGGED}
    values = {tag: value for tag, value in {**columns, **areas}.items() if math.isfinite(value)}
    for logger in loggers:
        logger.log_metrics(values, int(row["epoch"]))


def _of_class(column: str) -> str:
    """share_Road → share_predicted/Road; a column of no class as it is."""
    start = next((start for start in GROUPS if column.startswith(start)), "")
    return GROUPS.get(start, "") + column.removeprefix(start)


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
    """Give TensorBoard a page of custom scalars: mIoU, loss, the classes' IoU and area side by side."""
    charts = {
        "mIoU": ["Multiline", ["^miou/val$"]],
        "loss": ["Multiline", ["^loss/train$"]],
        "IoU per class": ["Multiline", ["^iou/"]],
        "predicted ÷ true area": ["Multiline", ["^share_ratio/"]],
        "predicted share": ["Multiline", ["^share_predicted/"]],
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
