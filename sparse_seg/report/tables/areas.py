"""Table 9: predicted ÷ true area of each class, per method."""

from typing import Any

from sparse_seg.report.cells import Cell, Table, count, coverage, shown
from sparse_seg.report.families import Family
from sparse_seg.report.groups import Group, told_apart
from sparse_seg.report.intervals import estimate
from sparse_seg.report.rows import FULL
from sparse_seg.report.tables import table

RATIO = "{:.2f}"
POOLED = (
    "Areas are those of all held-out tiles together, per seed; a seed that lacks a tile that others have is left out. "
    "± is half the 95 % interval of the mean over seeds (t distribution)."
)


@table("9", "predicted ÷ true area", folds=None, methods=True)
def area_table(family: Family) -> Table | None:
    """Predicted ÷ true area per class; None where points validate, since what they count is no area."""
    groups = [g for g in family.groups if "points" not in set(g.runs.get("scored_on", []))]
    names, labels = told_apart(groups)
    rows = [(*label, *cells) for g, label in zip(groups, labels, strict=True) for cells in _rows(g)]
    if not rows:
        return None
    notes = [
        POOLED if family.whole.has_folds else coverage(family.whole),
        "1 is the true area. A run's ratio is the number of pixels that it calls by a class ÷ those that are of it, "
        "from its confusion matrix; then the mean.",
    ]
    header = (*names, "points per class", *family.whole.classes, "seeds")
    title = "predicted ÷ true area (of the last epoch, on the validation images)"
    return Table(title, header, tuple(rows), tuple(notes), labels=len(names) + 1)


def _rows(group: Group) -> list[tuple[Cell, ...]]:
    rows = []
    for points in sorted(set(group.runs["points"]), key=lambda p: (isinstance(p, str), p)):
        ratios = _ratios(group, points)
        if not ratios:
            continue
        cells = [shown(estimate(of_class), RATIO) for of_class in zip(*ratios, strict=True)]
        rows.append((Cell("full masks" if points == FULL else str(points)), *cells, count(len(ratios))))
    return rows


def _ratios(group: Group, points: Any) -> list[list[float]]:
    """A row per seed, with the ratio of each class."""
    import numpy as np

    from sparse_seg import metrics  # which needs numpy

    runs = group.block.cell(loss=group.loss, augment=group.augment, points=points)
    if "confusion_matrix" not in runs:
        return []
    of_seed: dict[int, list[Any]] = {}
    for seed, matrix in zip(runs.index, runs["confusion_matrix"], strict=True):
        if isinstance(matrix, list):
            of_seed.setdefault(seed, []).append(np.asarray(matrix))
    tiles = max(map(len, of_seed.values()), default=0)
    return [metrics.area_ratios(np.sum(m, axis=0)).tolist() for m in of_seed.values() if len(m) == tiles]
