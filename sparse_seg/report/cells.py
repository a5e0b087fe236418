"""What a table is made of: cells with a text and the number behind it, and sentences on differences."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparse_seg.report.blocks import Block
from sparse_seg.report.intervals import Estimate, estimate, paired

if TYPE_CHECKING:
    import pandas as pd

MISSING = "—"
MIOU, POINTS, SHARE, EPOCHS = "{:.4f}", "{:+.1f}", "{:.1f}", "{:.1f}"
LOSS_NAMES = {"focal": "partial focal", "ce": "partial cross-entropy", "logistic": "logistic regression"}
ON_POINTS = "Scores are of held-out points: there are no masks, so no mIoU of full masks."
UNIT = "A point is a hundredth of mIoU or IoU."
BEST = "Final is the last epoch; best is the maximum over epochs on the same validation images, and flattered by that."
SHORT_NAMES = {"focal": "focal", "ce": "CE"}


@dataclass(frozen=True)
class Cell:
    """text: as shown. estimate: what it was made from, if that is measured. number: one that is not."""

    text: str
    estimate: Estimate | None = None
    number: float | None = None


@dataclass(frozen=True)
class Table:
    """labels: how many of the leading columns name the row. notes: sentences below it. number: "1" for Table 1."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    labels: int = 1
    number: str = ""
    """Set by `tables_of`, from the name under which the table is registered."""


def number(value: float, form: str) -> str:
    """A number as text, with a true minus sign."""
    return form.format(value).replace("-", "−")


def shown(value: Estimate | None, form: str, remark: str = "") -> Cell:
    """Mean ± half of the interval, or the value alone where there is one."""
    if value is None:
        return Cell(MISSING + remark)
    half = "" if value.half is None else f" ± {form.replace('+', '').format(value.half)}"
    return Cell(number(value.mean, form) + half + remark, value)


def measured(block: Block, column: str, axes: Mapping[str, Any]) -> Cell:
    """A column's mean over the seeds of one cell; says so where seeds are missing."""
    value = estimate(block.cell(**axes)[column])
    n, expected, failed = value.n if value else 0, len(block.seeds), block.failed(**axes)
    remark = f" ({n}/{expected} seeds)" if 0 < n < expected else ""
    return shown(value, MIOU, f" ({failed} failed)" if failed and not n else remark)


def mean(block: Block, column: str, axes: Mapping[str, Any]) -> Cell:
    """The same for a row that has its `seeds`."""
    return shown(estimate(block.cell(**axes)[column]), MIOU)


def seeds(block: Block, axes: Mapping[str, Any]) -> Cell:
    """How many seeds a cell has: `3`, or `2/3 seeds, 1 failed` where runs are missing."""
    n, expected, failed = len(block.cell(**axes)), len(block.seeds), block.failed(**axes)
    text = str(n) if n == expected else f"{n}/{expected} seeds"
    return Cell(text + (f", {failed} failed" if failed else ""), number=n)


def printed(value: float | None, form: str = MIOU) -> Cell:
    """A published figure."""
    return Cell(MISSING) if value is None else Cell(number(value, form), number=value)


def count(n: int) -> Cell:
    """A number of runs, seeds or points."""
    return Cell(str(n), number=n)


def p_value(value: Estimate | None) -> Cell:
    """The p of a paired difference."""
    if value is None or value.p is None:
        return Cell(MISSING)
    return Cell("<0.001" if value.p < 0.001 else f"{value.p:.3f}", number=value.p)


def sentence(
    name: str,
    value: Estimate | None,
    a: str,
    b: str,
    published: float | None = None,
    unit: str = "points",
    over: str = "seed",
    more: str = "is higher",
) -> str:
    """A difference in plain words: how large, its interval, and whether it is shown.

    Args:
        name: what differs, as "CE − focal".
        value: a − b, paired; None where nothing has both.
        a: what is said to be higher where the difference is above 0.
        b: and where it is below.
        published: the published difference, in the same unit.
        unit: of the difference.
        over: what the pairs are of, seed or tile.
        more: what being higher means.

    Example:
        >>> sentence("CE − focal", Estimate(0.4, 1), "CE", "focal")
        'CE − focal = +0.4 points with one seed: no interval, nothing shown.'
    """
    said = f" (the report, one run each: {number(published, POINTS)})" if published is not None else ""
    if value is None:
        return f"{name}: no {over} has both runs{said}."
    opening = f"{name} = {number(value.mean, POINTS)} {unit}"
    if value.low is None or value.high is None:
        return f"{opening} with one {over}: no interval, nothing shown{said}."
    interval = f"95 % interval {number(value.low, POINTS)} to {number(value.high, POINTS)}, p {_p(value)}"
    verdict = "no difference shown" if not value.shown else f"{a if value.mean > 0 else b} {more}, shown"
    return f"{opening}, {interval}: {verdict} with {value.n} {over}s{said}."


def _p(value: Estimate) -> str:
    text = p_value(value).text
    return text.replace("<", "< ") if text.startswith("<") else f"= {text}"


def difference(
    name: str,
    a: "pd.Series[float]",
    b: "pd.Series[float]",
    up: str,
    down: str,
    published: float | None = None,
    over: str = "seed",
) -> str:
    """The sentence on a − b in points.

    Args:
        name: as for `sentence`.
        a: scores from 0 to 1, a row per seed or tile, which pairs them with those of b.
        b: the scores that are subtracted.
        up: what a is called.
        down: what b is called.
        published: the published difference, in points.
        over: seed or tile.
    """
    value = paired(a, b)
    return sentence(name, value.times(100) if value else None, up, down, published, over=over)


def published_column(block: Block) -> str:
    """The header of published figures; they are of the Dubai images."""
    return "report" if block.is_dubai else "report (Dubai)"


def loss_name(loss: str, short: bool = False) -> str:
    """A loss as tables call it; one of the user's own by its YAML's name."""
    return (SHORT_NAMES if short else LOSS_NAMES).get(loss, loss)


def coverage(block: Block) -> str:
    """What the scores and the intervals of a table cover, said once below it."""
    if "points" in set(block.runs.get("scored_on", [])):
        return f"{ON_POINTS} {_intervals(block)}"
    return _intervals(block)


def _intervals(block: Block) -> str:
    if block.has_folds:
        return (
            "± is half the 95 % interval of the mean over held-out tiles (t distribution); it does not cover the seed."
        )
    images = sorted({len(v) for v in block.runs.get("val_images", []) if isinstance(v, list)})
    which = f"the {images[0]} validation images" if len(images) == 1 else "the validation images"
    if len(block.seeds) == 1:
        return (
            f"One seed: values without interval. Neither the choice of the seed nor that of {which} is accounted for."
        )
    return (
        "± is half the 95 % interval of the mean over seeds (t distribution); a seed changes the points, the initial "
        f"weights and the data order together. It does not cover the choice of {which}."
    )
