"""Table 7: the label budget, final mIoU over points per class with the fitted curve."""

from typing import TYPE_CHECKING, Any

from sparse_seg.report.cells import MIOU, MISSING, SHARE, Cell, Table, count, coverage, number, seeds, shown
from sparse_seg.report.families import Family
from sparse_seg.report.groups import LABELS, Group, joined, missing
from sparse_seg.report.intervals import estimate, share
from sparse_seg.report.rows import FULL, TESTED_FROM, more_densities
from sparse_seg.report.tables import table

if TYPE_CHECKING:
    from sparse_seg.report.curves import Curve


@table("7", "label budget", folds=None, budget=True, methods=True)
def curve_table(family: Family) -> Table:
    """Final mIoU per density with the fitted curve and its next doubling, of each method."""
    rows: list[tuple[Cell, ...]] = []
    notes = [coverage(family.whole)]
    for group in family.groups:
        scores, curve = group.scores["miou_final"], group.curves["miou_final"]
        full = scores[FULL] if group.has_full else None
        for n in group.densities:
            fitted = shown(curve.value(n) if curve else None, MIOU)
            reached = shown(share(scores[n], full) if full is not None else None, SHARE)
            rows.append((*group.labels, count(n), shown(estimate(scores[n]), MIOU), fitted, reached, _n(group, n)))
        if full is not None and group.has_own_full:
            rest = (Cell(MISSING), Cell(MISSING), _n(group, FULL))
            rows.append((*group.labels, Cell(FULL), shown(estimate(full), MIOU), *rest))
        if curve:
            double = 2 * group.densities[-1]
            value = shown(curve.value(double), MIOU)
            rows.append((*group.labels, Cell(f"{double} (not run)"), Cell(MISSING), value, Cell(MISSING), count(0)))
            notes.append(_fitted(group, curve))
        notes += [*_left_out(group), *missing(group)]
    labels = LABELS[-len(family.groups[0].labels) :]
    names = (*labels, "points per class", "final mIoU", "fitted curve", "share of full in %")
    title, header = "label budget (final mIoU over points per class)", (*names, f"{family.whole.unit}s")
    return Table(title, header, tuple(rows), tuple(notes), labels=len(labels) + 1)


def _left_out(group: Group) -> list[str]:
    """What no curve is fitted to, or no share taken of, and why."""
    said = [
        f"{group.name}: points={n} is left out: the images had too few points for it. Its runs trained on "
        f"{times:.1f} times as many as those of points={group.densities[0]}."
        for n, times in group.short.items()
    ]
    if group.lacks_masks and not group.has_full:
        said.append(
            f"{group.name}: some training image has no mask, so points={FULL} is all given points, no full supervision."
        )
    return said


def _n(group: Group, points: Any) -> Cell:
    if group.unit == "tile":
        return count(int(group.scores["miou_final"][points].count()))
    return seeds(group.block, {"loss": group.loss, "augment": group.augment, "points": points})


def _fitted(group: Group, curve: "Curve") -> str:
    d, more = len(curve.points), joined(more_densities(curve.points))
    tested = f"a fourth, points={more}, would test its shape" if d < TESTED_FROM else f"{d} densities test its shape"
    if law := curve.power_law:
        a, b, c = (number(v, "{:.3f}") for v in law)
        values = f"a = {a}, b = {b}, c = {c}"
        which = f"fitted: the saturating power law a − b·n^(−c), {values} ({tested})"
    elif curve.saturates:
        which = f"fitted: the saturating power law, whose best c is 0, a straight line in log2 n ({tested})"
    else:
        which = (
            f"fitted: a straight line in log2 n, as {d} densities cannot show how a curve flattens (more can: "
            f"points={more}). It takes every doubling to bring the same; where the curve flattens, the next brings less"
        )
    band = f"Band: delta method over {len(curve.scores)} {group.unit}s, 95 %, t distribution, for a curve of this shape"
    left_out = len(group.scores["miou_final"]) - len(curve.scores)
    if len(curve.scores) < 2:
        return f"{group.name}: {which}. No band: it takes two {group.unit}s with a run at every density."
    rest = f" ({group.unit}s left out of it for lack of a density: {left_out})" if left_out else ""
    return f"{group.name}: {which}. {band}{rest}."
