"""Table 2: the losses."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sparse_seg.report import published
from sparse_seg.report.blocks import Block
from sparse_seg.report.cells import (
    BEST,
    EPOCHS,
    MIOU,
    MISSING,
    UNIT,
    Cell,
    Table,
    coverage,
    difference,
    loss_name,
    mean,
    number,
    printed,
    published_column,
    seeds,
    sentence,
    shown,
)
from sparse_seg.report.intervals import estimate, paired
from sparse_seg.report.rows import losses
from sparse_seg.report.tables import table

if TYPE_CHECKING:
    import pandas as pd


SHARE_REACHED = 0.9


@table("2", "loss")
def table2(block: Block) -> Table | None:
    """Loss, 20 points per class, with augmentation."""
    fixed = {"points": 20, "augment": "report"}
    if block.cell(**fixed).empty:
        return None
    level = _common_level(block, fixed)
    rows = []
    for loss in losses(block, **fixed):
        said, axes = published.TABLE2.get(loss, {}), fixed | {"loss": loss}
        row = [Cell(loss_name(loss))]
        for column in ("miou_final", "miou_best", "loss_at_epoch_25"):
            row += [mean(block, column, axes), printed(said.get(column))]
        runs = block.cell(**axes)
        rows.append((*row, _epochs_cell(runs, level), seeds(block, axes)))
    ce, focal = (block.cell(**fixed, loss=name)["miou_final"] for name in ("ce", "focal"))
    said_difference = (published.TABLE2["ce"]["miou_final"] - published.TABLE2["focal"]["miou_final"]) * 100
    notes = [
        coverage(block),
        BEST,
        f"{UNIT} The difference is of the final mIoU, paired over seeds (paired t-test).",
        difference("CE − focal", ce, focal, "CE", "focal", said_difference),
        "Focal loss lies below cross-entropy by construction, so the losses at epoch 25 do not compare the two.",
    ]
    if level is not None:
        notes.append(
            f"Epochs to 90 %: the first epoch with a validation mIoU of {number(level, MIOU)} or more, which is 90 % "
            "of the mean final mIoU of focal and CE."
        )
        notes.append(_epochs_sentence(block, fixed, level))
    said_header = published_column(block)
    header = (
        "loss", "final mIoU", said_header, "best mIoU", said_header, "loss at epoch 25", said_header, "epochs to 90 %",
        "seeds",
    )  # fmt: skip
    return Table("loss (20 points per class, with augmentation)", header, tuple(rows), tuple(notes))


def epochs_to(miou: list[float | None], level: float) -> float:
    """The first epoch, from 1, with a validation mIoU of `level` or more; NaN if there is none."""
    return next((float(i) for i, v in enumerate(miou, 1) if v is not None and v >= level), float("nan"))


def _common_level(block: Block, fixed: Mapping[str, Any]) -> float | None:
    """90 % of the final mIoU that focal and CE have in the mean; None unless both have runs."""
    finals = [estimate(block.cell(**fixed, loss=name)["miou_final"]) for name in ("focal", "ce")]
    means = [f.mean for f in finals if f is not None]
    return SHARE_REACHED * sum(means) / 2 if len(means) == 2 else None


def _epochs(runs: "pd.DataFrame", level: float) -> "pd.Series[float]":
    return runs["val_miou"].map(lambda miou: epochs_to(miou, level)).astype("float64")


def _epochs_cell(runs: "pd.DataFrame", level: float | None) -> Cell:
    if level is None or runs.empty:
        return Cell(MISSING)
    epochs = _epochs(runs, level)
    never = int(epochs.isna().sum())
    return shown(estimate(epochs), EPOCHS, f" (not reached in {never} of {len(runs)})" if never else "")


def _epochs_sentence(block: Block, fixed: Mapping[str, Any], level: float) -> str:
    ce, focal = (_epochs(block.cell(**fixed, loss=name), level) for name in ("ce", "focal"))
    if never := int(ce.isna().sum() + focal.isna().sum()):
        return f"Epochs to 90 % are not compared: {never} of {len(ce) + len(focal)} runs do not reach it."
    return sentence("Epochs to 90 %, CE − focal", paired(ce, focal), "CE", "focal", unit="epochs", more="needs more")
