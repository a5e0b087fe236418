"""Table 1: annotation density."""

from sparse_seg.report import published
from sparse_seg.report.blocks import Block
from sparse_seg.report.cells import (
    BEST,
    UNIT,
    Table,
    count,
    coverage,
    difference,
    mean,
    printed,
    published_column,
    seeds,
)
from sparse_seg.report.rows import densities
from sparse_seg.report.tables import table


@table("1", "annotation density")
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
        notes.append(difference(f"{few} → {many} points per class", a, b, str(many), str(few), said_difference))
    said_header = published_column(block)
    header = ("points per class", "final mIoU", said_header, "best mIoU", said_header, "seeds")
    return Table("annotation density (partial focal loss, with augmentation)", header, tuple(rows), tuple(notes))
