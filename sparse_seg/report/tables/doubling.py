"""Table 8: would more points help? The next doubling of points per class, and the classes that limit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sparse_seg.report.cells import MIOU, MISSING, POINTS, SHARE, Cell, Table, number, shown
from sparse_seg.report.families import Family
from sparse_seg.report.groups import LABELS, Group
from sparse_seg.report.intervals import Estimate, estimate, paired
from sparse_seg.report.rows import FULL
from sparse_seg.report.tables import table


@table("8", "the next doubling of points", folds=None, budget=True, methods=True)
def doubling_table(family: Family) -> Table | None:
    """What the next doubling is expected to bring mIoU and each class; None if no run has points per class."""
    found = [g for g in family.groups if g.densities]
    if not found:
        return None
    rows: list[tuple[Cell, ...]] = []
    notes = [
        "Gaps and gains are in points (hundredths of mIoU or IoU), paired over "
        f"{family.whole.unit}s; the gain is that of the next doubling, from the curve fitted to each class.",
    ]
    for group in found:
        n = group.densities[-1]
        whole = _gain(group, "miou_final")
        parts = sorted((_limit(group, name) for name in group.block.classes), key=lambda p: -_rank(p, group.has_full))
        doubling = Cell(f"{n} → {2 * n}")
        now = shown(estimate(group.scores["miou_final"][n]), MIOU)
        gap = shown(_gap(group, "miou_final"), POINTS)
        rows.append((*group.labels, Cell("all (mIoU)"), doubling, now, gap, Cell(MISSING), shown(whole, POINTS)))
        for part in parts:
            values = (shown(part.iou, MIOU), *(shown(v, POINTS) for v in (part.to_full, part.to_best, part.gain)))
            rows.append((*group.labels, Cell(part.name), doubling, *values))
        notes += [f"{group.name}: {line}" for line in (_doubling(group, whole), _limiting(group, parts))]
    labels = LABELS[-len(found[0].labels) :]
    header = (*labels, "class", "doubling", "IoU now", "gap to full", "gap to best", "gain")
    title = "the next doubling, and the classes that limit (IoU at the largest density)"
    return Table(title, header, tuple(rows), tuple(notes), labels=len(labels) + 1)


@dataclass(frozen=True)
class Limit:
    """A class at the largest density. iou: from 0 to 1; the rest in points.

    to_full: what full masks bring it, None without such runs. to_best: what it lacks to the best class. gain: of the
    next doubling, None with one density.
    """

    name: str
    iou: Estimate | None
    to_full: Estimate | None
    to_best: Estimate | None
    gain: Estimate | None
    best: str


def _limit(group: Group, name: str) -> Limit:
    n = group.densities[-1]
    scores = {c: group.scores[f"iou_{c}"][n] for c in group.block.classes}
    best = max(scores, key=lambda c: scores[c].mean() if scores[c].notna().any() else -1.0)
    column = f"iou_{name}"
    to_best = _points(paired(scores[best], scores[name])) if name != best else None
    return Limit(name, estimate(scores[name]), _gap(group, column), to_best, _gain(group, column), best)


def _rank(part: Limit, has_full: bool) -> float:
    """How much the class limits: its gap to full masks or, where there are no such runs, what its IoU lacks to 1."""
    if has_full:
        return part.to_full.mean if part.to_full is not None else -math.inf
    return -1.0 if part.iou is None else 1 - part.iou.mean


def _gap(group: Group, column: str) -> Estimate | None:
    scores = group.scores[column]
    return _points(paired(scores[FULL], scores[group.densities[-1]])) if group.has_full else None


def _gain(group: Group, column: str) -> Estimate | None:
    curve = group.curves[column]
    return _points(curve.gain()) if curve else None


def _points(value: Estimate | None) -> Estimate | None:
    return value.times(100) if value else None


def _doubling(group: Group, gain: Estimate | None) -> str:
    n = group.densities[-1]
    opening = f"doubling from {n} to {2 * n} points per class"
    if gain is None:
        return f"{opening}: no expectation from one density."
    return f"{opening} is expected to bring {number(gain.mean, POINTS)} points of mIoU{_verdict(group, gain)}."


def _verdict(group: Group, gain: Estimate) -> str:
    """The interval of a gain in points, and whether a gain is shown."""
    if gain.low is None or gain.high is None:
        return f"; without two {group.unit}s that have every density there is no interval, and no gain is shown"
    said = ("a gain is shown" if gain.mean > 0 else "a loss is shown") if gain.shown else "no gain is shown"
    curve = group.curves["miou_final"]
    said += ", provided that the line goes on" if gain.shown and curve and not curve.saturates else ""
    return f", 95 % interval {number(gain.low, POINTS)} to {number(gain.high, POINTS)}: {said}"


def _limiting(group: Group, parts: Sequence[Limit]) -> str:
    """The sentence on the class that limits most. parts: sorted by that."""
    top, n = parts[0], group.densities[-1]
    if top.iou is None:
        return "no class has an IoU."
    if top.to_full is not None and top.to_full.mean <= 0:
        return f"no class is below full masks with {n} points per class."
    opening = f"{top.name} limits mIoU most: IoU {number(top.iou.mean, MIOU)} with {n} points per class"
    if top.to_full is not None:
        lacking = sum(p.to_full.mean for p in parts if p.to_full is not None and p.to_full.mean > 0)
        opening += (
            f", {number(top.to_full.mean, SHARE)} points below full masks, {100 * top.to_full.mean / lacking:.0f} % of "
            "what the classes lack together"
        )
        opening += "" if top.to_full.shown else " (a gap that is not shown: its interval includes 0 or is unknown)"
    elif top.to_best is not None:
        opening += f", {number(top.to_best.mean, SHARE)} points below the best class ({top.best})"
    if top.gain is None:
        return opening + "."
    expected = f"{number(top.gain.mean, POINTS)} points{_verdict(group, top.gain)}"
    return f"{opening}; the doubling is expected to bring it {expected}."
