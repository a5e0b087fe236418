"""Table 5: how much of full supervision the points reach."""

from sparse_seg.report.blocks import Block
from sparse_seg.report.cells import SHARE, Cell, Table, count, coverage, loss_name, measured, shown
from sparse_seg.report.intervals import share
from sparse_seg.report.rows import densities, losses
from sparse_seg.report.tables import table


@table("5", "share of full supervision", words=("upper_bound",))
def supervision_table(block: Block) -> Table | None:
    """Final mIoU per density as a share of that with full masks, with augmentation."""
    rows = []
    for loss in losses(block):
        full_axes = {"loss": loss, "augment": "report", "points": "all"}
        full = block.cell(**full_axes)["miou_final"]
        if full.empty:
            continue
        for n in densities(block, loss=loss, augment="report"):
            axes = full_axes | {"points": n}
            runs = block.cell(**axes)["miou_final"]
            part = share(runs, full)
            means = [measured(block, "miou_final", a) for a in (axes, full_axes)]
            rows.append((Cell(loss_name(loss)), count(n), *means, shown(part, SHARE), count(part.n if part else 0)))
    if not rows:
        return None
    note = "The share is that of each seed's final mIoU in the same seed's with full masks (points=all), then the mean."
    header = ("loss", "points per class", "mIoU", "mIoU with full masks", "share in %", "seeds in both")
    notes = (coverage(block), note)
    return Table("share of full supervision reached (with augmentation)", header, tuple(rows), notes, labels=2)
