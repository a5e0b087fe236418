"""Table 11: whatever else validation scored."""

from typing import Any

from sparse_seg.report.blocks import Block
from sparse_seg.report.cells import MIOU, Cell, Table, count, coverage, loss_name, seeds, shown
from sparse_seg.report.intervals import estimate
from sparse_seg.report.rows import losses
from sparse_seg.report.tables import table


@table("11", "further scores", folds=None)
def score_table(block: Block) -> Table | None:
    """Each further score per loss, augmentation and density; None if no run has one."""
    columns = [c for c in block.runs if str(c).startswith("score_") and block.runs[c].notna().any()]
    rows = [row for column in columns for row in _rows(block, str(column))]
    if not rows:
        return None
    header = ("score", "loss", "augment", "points per class", "mean", f"{block.unit}s")
    title = "further scores (of the last epoch, on the validation images)"
    return Table(title, header, tuple(rows), (coverage(block),), labels=4)


def _rows(block: Block, column: str) -> list[tuple[Cell, ...]]:
    rows = []
    for loss in losses(block):
        for augment in sorted(set(block.runs["augment"]), key=lambda a: (a != "report", a)):
            found = set(block.cell(loss=loss, augment=augment)["points"])
            for points in sorted(found, key=lambda p: (isinstance(p, str), p)):
                axes: dict[str, Any] = {"loss": loss, "augment": augment, "points": points}
                values = block.cell(**axes)
                by = values.groupby("fold")[column].mean() if block.has_folds else values[column]
                n = count(int(by.notna().sum())) if block.has_folds else seeds(block, axes)
                labels = (column.removeprefix("score_"), loss_name(loss), augment, str(points))
                rows.append((*map(Cell, labels), shown(estimate(by), MIOU), n))
    return rows
