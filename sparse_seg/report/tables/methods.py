"""Table 10: how much of full supervision each method reaches, and what it gains over learning from points alone."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sparse_seg.report.cells import MIOU, MISSING, POINTS, SHARE, Cell, Table, coverage, shown
from sparse_seg.report.configuration import METHOD, solves
from sparse_seg.report.families import Family
from sparse_seg.report.groups import Group, told_apart
from sparse_seg.report.intervals import Estimate, estimate, paired, share
from sparse_seg.report.rows import FULL
from sparse_seg.report.tables import table

if TYPE_CHECKING:
    import pandas as pd

PLAIN = tuple(METHOD.values())
OF_PLAIN, OF_OWN = "% of plain full masks", "% of its own full masks"


@table("10", "share of full supervision by method", folds=None, methods=True)
def method_table(family: Family) -> Table | None:
    """Final mIoU of each method and density, its share of full masks, and its difference to plain points.

    None where plain points are the only method: Table 5 has their share.
    """
    if all(_is_plain(g) for g in family.groups):
        return None
    compared = _compared(family.groups)
    columns: list[Any] = sorted({n for g in family.groups for n in g.densities})
    columns += [FULL] if any(g.has_own_full for g in family.groups) else []
    against = [(plain or g).loss_and_augment for g, plain in compared]
    names, labels = told_apart([g for g, _ in compared], against)
    rows: list[tuple[Cell, ...]] = []
    for (group, plain), label in zip(compared, labels, strict=True):
        for figure, cells in _figures(group, plain, columns):
            rows.append((*label, Cell(figure), *cells))
    header = (*names, "figure", *("full masks" if n == FULL else f"{n} points" for n in columns))
    notes = (coverage(family.whole), *_notes(family, compared))
    return Table("share of full supervision by method", header, tuple(rows), notes, labels=len(names) + 1)


def _is_plain(group: Group) -> bool:
    return (group.block.method, group.block.prior) == PLAIN


def _compared(groups: list[Group]) -> list[tuple[Group, Group | None]]:
    """Each group with the plain one of its loss and augmentation, if there is one; a probe with each plain one."""
    trained = [g for g in groups if not solves(g.block.config)]
    solved = [g for g in groups if solves(g.block.config)]
    found: list[tuple[Group, Group | None]] = []
    for key in dict.fromkeys(g.loss_and_augment for g in trained):
        mine = [g for g in trained if g.loss_and_augment == key]
        plain = next((g for g in mine if _is_plain(g)), None)
        found += [(g, plain) for g in (mine if plain is None else mine + solved)]
    return found + ([] if any(g is s for g, _ in found for s in solved) else [(g, None) for g in solved])


def _figures(group: Group, plain: Group | None, columns: list[Any]) -> Iterator[tuple[str, list[Cell]]]:
    """The rows of a group: what they are, and their cells."""
    scores = group.scores["miou_final"]
    mine = {n: scores[n] for n in columns if n in scores and (n != FULL or group.has_own_full)}
    yield "mIoU", [_cell(estimate(mine[n]) if n in mine else None, MIOU) for n in columns]
    full = None if plain is None or not plain.has_own_full else plain.scores["miou_final"][FULL]
    if full is not None:
        yield OF_PLAIN, [_share(mine, n, None if n == FULL and group is plain else full) for n in columns]
    above = group is plain or (plain is not None and group.full_of is plain)  # the row above is the same
    if group.densities and not above:
        own = scores[FULL] if group.has_full else None
        yield OF_OWN, [_share(mine, n, None if n == FULL else own) for n in columns]
    if plain is not None and group is not plain:
        base = plain.scores["miou_final"]
        gains = {n: paired(mine[n], base[n]) for n in mine if n in base}
        yield "pp above plain", [_cell(g.times(100) if (g := gains.get(n)) else None, POINTS) for n in columns]


def _share(mine: "dict[Any, pd.Series[float]]", points: Any, full: "pd.Series[float] | None") -> Cell:
    return Cell(MISSING) if full is None or points not in mine else _cell(share(mine[points], full), SHARE)


def _cell(value: Estimate | None, form: str) -> Cell:
    return shown(value, form, f" ({value.n})" if value else "")


def _notes(family: Family, compared: list[tuple[Group, Group | None]]) -> list[str]:
    unit = family.whole.unit
    notes = [
        f"In brackets: {unit}s; of a share or a difference those that both have. A share is that of each {unit}'s "
        f"final mIoU in the same {unit}'s with full masks (points={FULL}), then the mean. Plain is method points, "
        "prior none. A method's own full masks are learned by it, too; a prior has nothing to correct there.",
        f"pp: hundredths of mIoU, paired over {unit}s (t distribution); a difference is shown where its interval "
        "leaves out 0. Nothing is corrected for the number of differences.",
    ]
    if any(solves(g.block.config) and plain is not None for g, plain in compared):
        notes.append("A probe asks for no loss: its rows stand against the plain runs of each loss.")
    without = dict.fromkeys(plain.name for _, plain in compared if plain is not None and not plain.has_own_full)
    notes += [f"No run of plain full masks, so no share of them: {'; '.join(without)}."] if without else []
    lacking = dict.fromkeys(g.name for g, _ in compared if g.densities and not (g.has_full or _is_plain(g)))
    notes += [f"No run on full masks of its own, so no share of them: {'; '.join(lacking)}."] if lacking else []
    alone = dict.fromkeys(g.name for g, plain in compared if plain is None)
    notes += [f"No plain run to hold it against: {'; '.join(alone)}."] if alone else []
    return notes
