"""Figures from measured runs: training curves, label budget, confusion matrix, examples."""

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from sparse_seg.report import published
from sparse_seg.report.blocks import Block
from sparse_seg.report.cells import loss_name
from sparse_seg.report.configuration import solves
from sparse_seg.report.examples import examples
from sparse_seg.report.families import Family, alone
from sparse_seg.report.groups import Group
from sparse_seg.report.intervals import Estimate, estimate
from sparse_seg.report.rows import FULL, SATURATING_FROM, losses

DPI = 150
# Okabe and Ito's colours, told apart with every colour blindness; line styles and markers tell them apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", "--", "-.", ":")
MARKERS = "os^Dv<>"
STYLE: Any = {
    "font.size": 9, "axes.titlesize": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.color": "#dddddd", "grid.linewidth": 0.6, "lines.linewidth": 1.6, "legend.frameon": False,
    "savefig.dpi": DPI,
}  # fmt: skip
SHOWN = {"points": 20, "augment": "report"}
Named = tuple[str, str, Figure]
"""Name of the file, caption, figure."""


def figures_of(runs: Block | Family, budget: bool = False, methods: bool = True) -> Iterator[Named]:
    """Every figure that a block, or a family of blocks, has runs for.

    Args:
        runs: of one configuration; or of several methods, which share one label budget and no other figure.
        budget: the label budget only.
        methods: False leaves the label budget out.
    """
    family = runs if isinstance(runs, Family) else alone(runs)
    one = family.blocks[0]
    makers: list[Callable[[], Named | None]] = [lambda: label_budget(family)]
    if not budget and len(family.blocks) == 1:
        both = [lambda: training_curves(one), lambda: examples(one), *(makers if methods else [])]
        makers = [*([] if one.has_folds else both), lambda: confusion(one)]
    for make in makers:
        with matplotlib.rc_context(STYLE):
            made = make()
        if made is not None:
            yield made


def png(figure: Figure) -> bytes:
    """The content of a PNG file, at 150 dots per inch."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI)
    return content.getvalue()


def training_curves(block: Block) -> Named | None:
    """Figure 1: training loss and validation mIoU over epochs, a line per loss."""
    runs = {loss: block.cell(**SHOWN, loss=loss) for loss in losses(block, **SHOWN)}
    if all(r.empty for r in runs.values()):
        return None
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    for i, (loss, rows) in enumerate(runs.items()):
        for axes, column in ((left, "train_loss"), (right, "val_miou")):
            if not rows.empty:
                _curve(axes, np.array(rows[column].tolist(), np.float64), i, f"{loss_name(loss)} (n = {len(rows)})")
    left.set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
    right.set(xlabel="epoch", ylabel="validation mIoU", ylim=(0, None))
    right.legend(loc="lower right")
    caption = (
        "Figure 1: training loss (left) and validation mIoU (right) over epochs, 20 points per class, with "
        "augmentation. Line: mean over seeds; band: lowest to highest seed. The two losses are on different scales."
    )
    return "figure1", caption, figure


def _curve(axes: Axes, values: "np.ndarray[Any, Any]", i: int, label: str) -> None:
    """values: (seeds, epochs)."""
    epochs = np.arange(1, values.shape[1] + 1)
    colour = COLOURS[i % len(COLOURS)]
    axes.plot(epochs, values.mean(0), color=colour, linestyle=DASHES[i % len(DASHES)], label=label)
    if len(values) > 1:
        axes.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.2, linewidth=0)


def label_budget(family: Family) -> Named | None:
    """Final mIoU over points per class with the fitted curve, full supervision and the report's figures.

    A curve per loss and, where there are several, per method and prior. None where none has two densities.
    """
    block = family.whole
    figure = Figure(figsize=(5.4, 3.4), layout="constrained")
    axes = figure.subplots()
    ticks: set[int] = set()
    trained = [g for g in family.groups if not solves(g.block.config)]
    augment = next((g for g in trained if g.augment == "report"), family.groups[0]).augment
    shown = [g for g in family.groups if g.densities and (g.augment == augment or solves(g.block.config))]
    several = len({g.loss for g in shown if g in trained}) > 1
    for i, group in enumerate(shown):
        ticks |= set(group.densities) | {_drawn_to(group)}
        _budget_line(axes, group, i if group.mixed else losses(block).index(group.loss), _line_name(group, several))
    if all(len(group.densities) < 2 for group in shown):
        return None
    said = published.TABLE1 if block.is_dubai else {}
    if said:
        style: dict[str, Any] = {"color": "#555555", "marker": "x", "linestyle": "none"}
        axes.plot(list(said), [v["miou_final"] for v in said.values()], label="the report (focal, one run)", **style)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sorted(ticks | set(said))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:.0f}")
    low, high = axes.get_ylim()
    axes.set(xlabel="points per class and image", ylabel="final mIoU", ylim=(max(low, 0), min(high, 1)))
    title = f"augment={augment}"
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, title=title, title_fontsize=8)
    figure.set_size_inches(7.2, 3.4)
    caption = (
        f"Label budget: final mIoU over points per class, {title}. Marker and bar: mean over "
        f"{shown[0].unit}s and its 95 % interval; line and band: the fitted curve and its 95 % interval, with "
        f"{SATURATING_FROM} densities, which show how it flattens, up to the next doubling; horizontal lines: full "
        "masks. No interval covers the choice of the validation images."
    )
    return "label-budget", caption, figure


def _line_name(group: Group, several_losses: bool) -> str:
    if not group.mixed:
        return loss_name(group.loss)
    prior = [] if group.block.plain_prior else [f"prior {group.block.prior}"]
    loss = [loss_name(group.loss, short=True)] if several_losses and not solves(group.block.config) else []
    return ", ".join([group.block.method, *prior, *loss])


def _budget_line(axes: Axes, group: Group, i: int, label: str) -> None:
    colour, dash = COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)]
    scores, curve = group.scores["miou_final"], group.curves["miou_final"]
    if curve is not None:
        grid = np.geomspace(curve.points[0], _drawn_to(group), 60)
        values = [curve.value(n) for n in grid]
        axes.plot(grid, [v.mean for v in values], color=colour, linestyle=dash)
        axes.fill_between(grid, *_bounds(values), color=colour, alpha=0.15, linewidth=0)
    found = {n: e for n in group.densities if (e := estimate(scores[n])) is not None}
    points, means = [n * 1.03**i for n in found], [e.mean for e in found.values()]  # side by side, not on top
    marker = MARKERS[i % len(MARKERS)]
    axes.plot(points, means, color=colour, linestyle="none", marker=marker, label=label)
    axes.vlines(points, *_bounds(list(found.values())), color=colour, linewidth=1)
    undrawn = group.full_of is not None and not group.full_of.densities  # it has no line of its own
    if (group.has_own_full or undrawn) and (full := estimate(scores[FULL])) is not None:
        axes.axhline(full.mean, color=colour, linestyle=dash, linewidth=1, label=f"{label}, full masks")


def _drawn_to(group: Group) -> int:
    """The points at which its curve ends: a line through two densities says nothing of more."""
    last = group.densities[-1]
    return 2 * last if len(group.densities) >= SATURATING_FROM else last


def _bounds(values: Sequence[Estimate]) -> tuple[list[float], list[float]]:
    """Lower and upper ends of the intervals, the mean where there is none."""
    return [v.mean if v.low is None else v.low for v in values], [v.mean if v.high is None else v.high for v in values]


def confusion(block: Block) -> Named | None:
    """Where each class's pixels went, in percent of the true class, summed over the runs."""
    chosen = {loss: block.cell(**SHOWN, loss=loss) for loss in losses(block, **SHOWN)}
    matrices = {loss: _summed(rows) for loss, rows in chosen.items() if not rows.empty}
    if not matrices:
        return None
    figure = Figure(figsize=(3.9 * len(matrices), 3.6), layout="constrained")
    for axes, (loss, matrix) in zip(np.atleast_1d(figure.subplots(1, len(matrices))), matrices.items(), strict=True):
        _matrix(axes, matrix, block.classes)
        axes.set_title(f"{loss_name(loss)} ({len(chosen[loss])} runs)")
    over = "tiles" if block.has_folds else "seeds"
    caption = (
        "Confusion matrix on the validation images, 20 points per class, with augmentation: percent of each true "
        f"class's pixels (a row sums to 100), counted over all {over}."
    )
    return "confusion", caption, figure


def _summed(rows: pd.DataFrame) -> "np.ndarray[Any, Any]":
    return np.asarray(sum(np.asarray(m, np.float64) for m in rows["confusion_matrix"]))


def _matrix(axes: Axes, counts: "np.ndarray[Any, Any]", names: list[str]) -> None:
    percent = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    for (row, column), value in np.ndenumerate(percent):
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", color="white" if value > 55 else "black")
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="true")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
