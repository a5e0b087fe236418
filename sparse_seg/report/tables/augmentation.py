"""Table 4: what augmentation gains."""

from sparse_seg.report import published
from sparse_seg.report.blocks import Block
from sparse_seg.report.cells import POINTS, Cell, Table, count, coverage, loss_name, measured, number, p_value, shown
from sparse_seg.report.intervals import Estimate, paired
from sparse_seg.report.rows import densities, losses
from sparse_seg.report.tables import table


@table("4", "augmentation", words=("augmentation",))
def augmentation_table(block: Block) -> Table | None:
    """Final mIoU with and without augmentation, per loss and density."""
    rows, gains = [], []
    low, high = published.AUGMENTATION_GAIN
    claim = f"{number(low, POINTS)} to {number(high, POINTS)}"
    if block.cell(augment="none").empty or block.cell(augment="report").empty:
        return None
    for loss in losses(block):
        for n in densities(block, loss=loss):
            axes = {"loss": loss, "points": n}
            with_it, without = (block.cell(**axes, augment=a)["miou_final"] for a in ("report", "none"))
            if with_it.empty and without.empty:
                continue
            value = paired(with_it, without)
            gain = value.times(100) if value else None
            gains.append(gain)
            means = [measured(block, "miou_final", axes | {"augment": a}) for a in ("none", "report")]
            rest = (shown(gain, POINTS), Cell(claim), p_value(gain), count(value.n if value else 0))
            rows.append((Cell(loss_name(loss)), count(n), *means, *rest))
    note = "The gain is with − without augmentation in points (hundredths of mIoU), paired over seeds (paired t-test)."
    header = ("loss", "points per class", "without", "with", "gain", "claimed by the report", "p", "seeds in both")
    notes = (coverage(block), note, _claim_holds(gains))
    return Table("what augmentation gains (final mIoU)", header, tuple(rows), notes, labels=2)


def _claim_holds(gains: list[Estimate | None]) -> str:
    low, high = published.AUGMENTATION_GAIN
    tested = [g for g in gains if g is not None and g.low is not None and g.high is not None]
    if not tested:
        return f"The report claims {low} to {high} points; no row here has an interval to hold against that."
    above = sum(g.shown and g.mean > 0 for g in tested)
    below = sum(g.shown and g.mean < 0 for g in tested)
    apart = sum(g.high < low or g.low > high for g in tested if g.low is not None and g.high is not None)
    return (
        f"Rows with an interval: {len(tested)}; a gain is shown in {above}, a loss in {below} (interval without 0). "
        f"The report claims {low} to {high} points; intervals that meet that range: {len(tested) - apart}, wholly "
        f"outside: {apart}."
    )
