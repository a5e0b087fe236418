"""Tables 1 to 3 as the report has them: annotation density, loss, classes."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import pandas as pd

from sparse_seg.report import published
from sparse_seg.report.blocks import Block
from sparse_seg.report.cells import (
    EPOCHS,
    MIOU,
    MISSING,
    POINTS,
    Cell,
    Table,
    count,
    coverage,
    loss_name,
    mean,
    measured,
    number,
    p_value,
    printed,
    seeds,
    sentence,
    shown,
)
from sparse_seg.report.folds import tile_table
from sparse_seg.report.gains import augmentation_table, densities, losses, supervision_table
from sparse_seg.report.intervals import estimate, paired

UNIT = "A point is a hundredth of mIoU or IoU."
BEST = "Final is the last epoch; best is the maximum over epochs on the same validation images, and flattered by that."
SHARE_REACHED = 0.9


def tables_of(block: Block, numbers: Collection[str] | None = None) -> list[Table]:
    """Every table that the block has a run for. numbers: those wanted, all by default."""
    makers: dict[str, Callable[[Block], Table | None]] = (
        {"6": tile_table}
        if block.has_folds
        else {"1": table1, "2": table2, "3": table3, "4": augmentation_table, "5": supervision_table}
    )
    made = [make(block) for n, make in makers.items() if numbers is None or n in numbers]
    return [table for table in made if table is not None]


def report_column(block: Block) -> str:
    return "report" if block.is_dubai else "report (Dubai)"


def table1(block: Block) -> Table | None:
    """Annotation density, partial focal loss, with augmentation."""
    fixed = {"loss": "focal", "augment": "report"}
    rows = []
    for n in densities(block, **fixed):
        said = published.TABLE1.get(n, {})
        axes = fixed | {"points": n}
        row = [count(n)]
        for column in ("miou_final", "miou_best"):
            row += [mean(block, column, axes), printed(said.get(column))]
        rows.append((*row, seeds(block, axes)))
    if not any(row[-1].number for row in rows):
        return None
    notes = [coverage(block), BEST, UNIT + " Differences are of the final mIoU, paired over seeds (paired t-test)."]
    for few, many in ((5, 20), (20, 50)):
        a, b = (block.cell(**fixed, points=n)["miou_final"] for n in (many, few))
        said_difference = (published.TABLE1[many]["miou_final"] - published.TABLE1[few]["miou_final"]) * 100
        notes.append(_difference(f"{few} → {many} points per class", a, b, str(many), str(few), said_difference))
    said_header = report_column(block)
    header = ("points per class", "final mIoU", said_header, "best mIoU", said_header, "seeds")
    return Table("1", "annotation density (partial focal loss, with augmentation)", header, tuple(rows), tuple(notes))


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
        _difference("CE − focal", ce, focal, "CE", "focal", said_difference),
        "Focal loss lies below cross-entropy by construction, so the losses at epoch 25 do not compare the two.",
    ]
    if level is not None:
        notes.append(
            f"Epochs to 90 %: the first epoch with a validation mIoU of {number(level, MIOU)} or more, which is 90 % "
            "of the mean final mIoU of focal and CE."
        )
        notes.append(_epochs_sentence(block, fixed, level))
    said_header = report_column(block)
    header = (
        "loss", "final mIoU", said_header, "best mIoU", said_header, "loss at epoch 25", said_header, "epochs to 90 %",
        "seeds",
    )  # fmt: skip
    return Table("2", "loss (20 points per class, with augmentation)", header, tuple(rows), tuple(notes))


def table3(block: Block) -> Table | None:
    """IoU of each class, 20 points per class, with augmentation."""
    fixed = {"points": 20, "augment": "report"}
    focal, ce = (block.cell(**fixed, loss=name) for name in ("focal", "ce"))
    if focal.empty and ce.empty:
        return None
    rows, notes = [], [coverage(block)]
    notes.append(f"{UNIT} Differences are focal − CE in points, paired over seeds (paired t-test).")
    for name in block.classes:
        said = published.TABLE3.get(name, {})
        row = [Cell(name)]
        for loss in ("focal", "ce"):
            row += [measured(block, f"iou_{name}", fixed | {"loss": loss}), printed(said.get(loss))]
        a, b = focal[f"iou_{name}"], ce[f"iou_{name}"]
        value = paired(a, b)
        points = value.times(100) if value else None
        said_points = said["difference"] * 100 if said else None
        both = count(value.n if value else 0)
        rows.append((*row, shown(points, POINTS), printed(said_points, POINTS), p_value(points), both))
        notes.append(sentence(f"{name}: focal − CE", points, "focal", "CE", said_points))
    if len(block.seeds) > 1:
        notes.append(f"{len(rows)} tests without correction: where nothing differs, one in twenty has p < 0.05.")
    said_header = report_column(block)
    header = ("class", "focal", said_header, "CE", said_header, "focal − CE", said_header, "p", "seeds in both")
    return Table("3", "IoU per class (20 points per class, with augmentation)", header, tuple(rows), tuple(notes))


def epochs_to(miou: list[float | None], level: float) -> float:
    """The first epoch, from 1, with a validation mIoU of `level` or more; NaN if there is none."""
    return next((float(i) for i, v in enumerate(miou, 1) if v is not None and v >= level), float("nan"))


def _common_level(block: Block, fixed: Mapping[str, Any]) -> float | None:
    """90 % of the final mIoU that focal and CE have in the mean; None unless both have runs."""
    finals = [estimate(block.cell(**fixed, loss=name)["miou_final"]) for name in ("focal", "ce")]
    means = [f.mean for f in finals if f is not None]
    return SHARE_REACHED * sum(means) / 2 if len(means) == 2 else None


def _epochs(runs: pd.DataFrame, level: float) -> "pd.Series[float]":
    return pd.Series([epochs_to(v, level) for v in runs["val_miou"]], index=runs.index, dtype="float64")


def _epochs_cell(runs: pd.DataFrame, level: float | None) -> Cell:
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


def _difference(name: str, a: "pd.Series[float]", b: "pd.Series[float]", up: str, down: str, said: float) -> str:
    value = paired(a, b)
    return sentence(name, value.times(100) if value else None, up, down, said)
