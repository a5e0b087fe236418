"""Table 6: one tile held out after the other."""

import math
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from sparse_seg.report.blocks import Block
from sparse_seg.report.cells import MIOU, MISSING, SHARE, Cell, Table, difference, loss_name, number, shown
from sparse_seg.report.intervals import estimate, share
from sparse_seg.report.tables import table

if TYPE_CHECKING:
    import pandas as pd


Column = tuple[str, Any, str]
"""Loss, points, augmentation."""


@table("6", "one tile held out after the other", folds=True)
def tile_table(block: Block) -> Table | None:
    """Final mIoU per held-out tile, then the IoU of each class; a column per loss, points and augmentation."""
    found: set[Column] = set(zip(*(block.runs[a] for a in ("loss", "points", "augment")), strict=True))
    columns = sorted(found, key=lambda c: (str(c[1]), c[0], c[2]))
    values = {c: _by_fold(block, c) for c in columns}
    folds = sorted({int(f) for v in values.values() for f in v.index} | _pending_folds(block))
    names = _tile_names(block)
    rows = [(Cell(f"{f}{names.get(f, '')}"), *(_cell(block, c, values[c], f) for c in columns)) for f in folds]
    rows.append((Cell("mean over tiles"), *(shown(estimate(v), MIOU, _missing(v, folds)) for v in values.values())))
    scores = [_as_one(block, c) for c in columns]
    missing = [_missing(values[c], folds) for c in columns]
    for i, name in enumerate(("mIoU", *block.classes)):
        rows.append((Cell(f"all tiles as one: {name}"), *map(_score, (s[i] for s in scores), missing)))
    notes = [
        "± is half the 95 % interval of the mean over the held-out tiles (t distribution), the differences between "
        f"tiles; it does not cover the seed ({_seeds(block)}).",
        "All tiles as one: mIoU and each class's IoU from the sum of the tiles' confusion matrices, so that a class "
        "that a tile lacks weighs as its pixels do.",
        *_differences(values),
        *_shares(values),
    ]
    header = ("tile held out (fold)", *(_heading(c, columns) for c in columns))
    return Table("leave one tile out (final mIoU)", header, tuple(rows), tuple(notes))


def _runs(block: Block, column: Column) -> "pd.DataFrame":
    loss, points, augment = column
    return block.cell(loss=loss, points=points, augment=augment)


def _by_fold(block: Block, column: Column) -> "pd.Series[float]":
    return _runs(block, column).groupby("fold")["miou_final"].mean()


def _cell(block: Block, column: Column, values: "pd.Series[float]", fold: int) -> Cell:
    if fold in values.index:
        return Cell(number(values[fold], MIOU), number=float(values[fold]))
    loss, points, augment = column
    failed = block.failed(loss=loss, points=points, augment=augment, fold=fold)
    return Cell(MISSING + (" (failed)" if failed else ""))


def _as_one(block: Block, column: Column) -> list[float]:
    """mIoU, then each class's IoU, of the pixels of all tiles."""
    import numpy as np

    from sparse_seg import metrics  # which needs numpy

    matrix = np.sum([np.asarray(m) for m in _runs(block, column)["confusion_matrix"]], axis=0)
    return [metrics.mean_iou(matrix), *metrics.iou_per_class(matrix).tolist()]


def _score(value: float, remark: str) -> Cell:
    return Cell(MISSING + remark) if math.isnan(value) else Cell(number(value, MIOU) + remark, number=value)


def _missing(values: "pd.Series[float]", folds: list[int]) -> str:
    return f" ({len(values)}/{len(folds)} tiles)" if len(values) < len(folds) else ""


def _pending_folds(block: Block) -> set[int]:
    return {int(r.axes["fold"]) for r in block.pending if r.axes["fold"] is not None}


def _tile_names(block: Block) -> dict[int, str]:
    """Fold → " (Tile 1)", the sub-folder that its validation images lie in, if they lie in one."""
    said = block.runs.reindex(columns=["fold", "val_images"]).dropna()
    folders = {int(f): {PurePosixPath(i).parent.name for i in images} for f, images in said.values}
    return {fold: f" ({', '.join(sorted(names))})" for fold, names in folders.items() if all(names)}


def _seeds(block: Block) -> str:
    n = len(block.seeds)
    return f"seed {block.seeds[0]} only" if n == 1 else f"{n} seeds, their mean per tile"


def _heading(column: Column, columns: list[Column]) -> str:
    loss, points, augment = column
    name = f"{loss_name(loss, short=True)}, " + ("full masks" if points == "all" else f"{points} points")
    return name + (f", augment={augment}" if len({c[2] for c in columns}) > 1 else "")


def _differences(values: dict[Column, "pd.Series[float]"]) -> list[str]:
    notes = []
    for (loss, points, augment), ce in values.items():
        focal = values.get(("focal", points, augment))
        if loss == "ce" and focal is not None:
            name = f"CE − focal, {'full masks' if points == 'all' else f'{points} points'}, paired over tiles"
            notes.append(difference(name, ce, focal, "CE", "focal", over="tile"))
    return notes


def _shares(values: dict[Column, "pd.Series[float]"]) -> list[str]:
    notes = []
    for (loss, points, augment), scores in values.items():
        full = values.get((loss, "all", augment))
        part = share(scores, full) if full is not None and points != "all" else None
        if part is not None:
            said = f"{loss_name(loss, short=True)}, {points} points: {shown(part, SHARE).text} % of the mIoU with full"
            notes.append(f"{said} masks, the mean of {part.n} tiles' shares.")
    return notes
