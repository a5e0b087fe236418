"""Table 4, what augmentation gains, and Table 5, how much of full supervision the points reach."""

from typing import Any

import pandas as pd

from sparse_seg.report import published
from sparse_seg.report.blocks import Block
from sparse_seg.report.cells import (
    POINTS,
    SHARE,
    Cell,
    Table,
    count,
    coverage,
    loss_name,
    measured,
    number,
    p_value,
    shown,
)
from sparse_seg.report.intervals import Estimate, estimate, paired


def densities(block: Block, **axes: Any) -> list[int]:
    """Points per class to show: the report's and every other that has a run."""
    return sorted({*published.TABLE1, *(p for p in block.cell(**axes)["points"] if isinstance(p, int))})


def losses(block: Block, **axes: Any) -> list[str]:
    """Losses to show: the report's and every other that has a run."""
    return list(dict.fromkeys([*published.TABLE2, *sorted(set(block.cell(**axes)["loss"]))]))


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
    return Table("4", "what augmentation gains (final mIoU)", header, tuple(rows), notes, labels=2)


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


def share_of(runs: "pd.Series[float]", full: "pd.Series[float]") -> Estimate | None:
    """Mean over the seeds, their index, that both have of 100 · runs / full, in percent."""
    return estimate((100 * runs / full).dropna())


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
            share = share_of(runs, full)
            means = [measured(block, "miou_final", a) for a in (axes, full_axes)]
            rows.append((Cell(loss_name(loss)), count(n), *means, shown(share, SHARE), count(share.n if share else 0)))
    if not rows:
        return None
    note = "The share is that of each seed's final mIoU in the same seed's with full masks (points=all), then the mean."
    header = ("loss", "points per class", "mIoU", "mIoU with full masks", "share in %", "seeds in both")
    notes = (coverage(block), note)
    return Table("5", "share of full supervision reached (with augmentation)", header, tuple(rows), notes, labels=2)
