"""Table 3: IoU of each class."""

from sparse_seg.report import published
from sparse_seg.report.blocks import Block
from sparse_seg.report.cells import (
    POINTS,
    UNIT,
    Cell,
    Table,
    count,
    coverage,
    measured,
    p_value,
    printed,
    published_column,
    sentence,
    shown,
)
from sparse_seg.report.intervals import paired
from sparse_seg.report.tables import table


@table("3", "classes")
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
    said_header = published_column(block)
    header = ("class", "focal", said_header, "CE", said_header, "focal − CE", said_header, "p", "seeds in both")
    return Table("IoU per class (20 points per class, with augmentation)", header, tuple(rows), tuple(notes))
