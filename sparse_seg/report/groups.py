"""Runs that differ in points and seed only: their scores, their curves, and how to run what is missing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sparse_seg.names import canonical
from sparse_seg.report.blocks import Block
from sparse_seg.report.cells import Cell, loss_name
from sparse_seg.report.configuration import UNASKED, solves
from sparse_seg.report.rows import FULL, GIVEN, SATURATING_FROM, losses, more_densities

if TYPE_CHECKING:
    import pandas as pd

    from sparse_seg.report.curves import Curve

ENOUGH = 0.9
"""A density whose runs had less than this share of the points that it names is no point of a curve."""
LABELS = ("method", "prior", "loss", "augment")
"""What tells groups apart; the first two only among several methods."""
COMMAND = "python train.py -m "
DEFAULTS: dict[str, tuple[str, Any]] = {
    "data": ("data", "dubai"),
    "data.size": ("size", 256),
    "data.batch_size": ("batch_size", 8),
    "split": ("split", "random"),
    "method": ("method", "points"),
    "prior": ("prior", "none"),
    "model.encoder": ("encoder", "resnet34"),
    "model.encoder_weights": ("weights", "imagenet"),
    "optimizer": ("optimizer", "adam"),
    "optimizer.lr": ("lr", 1e-4),
    "scheduler": ("scheduler", "none"),
    "trainer.max_epochs": ("epochs", 50),
}
"""Word of the command line → its column in the runs and the default, which a command need not say."""


@dataclass(frozen=True)
class Group:
    """The runs of a block with one loss and one augmentation: they differ in points and seed (or tile) only."""

    block: Block
    loss: str
    augment: str
    mixed: bool = False
    """Whether it stands among other methods, so that its labels must say which it is."""
    full_of: "Group | None" = None
    """Whose full masks stand in for those that it has no run of."""

    @property
    def unit(self) -> str:
        """Seed or tile."""
        return self.block.unit

    @cached_property
    def runs(self) -> "pd.DataFrame":
        """Its finished runs."""
        return self.block.cell(loss=self.loss, augment=self.augment).reset_index()

    @cached_property
    def densities(self) -> list[int]:
        """Points per class that have a run and were to be had, ascending."""
        return [n for n in self._asked_for if n not in self.short]

    @cached_property
    def _asked_for(self) -> list[int]:
        return sorted({p for p in self.runs["points"] if isinstance(p, int)})

    @cached_property
    def short(self) -> dict[int, float]:
        """Densities of which the images had too few points → how many times the smallest density's they used.

        Counted over the seeds (tiles) that have both; a class that an image lacks is missing at all densities alike.
        """
        if "labelled_pixels" not in self.runs or not self._asked_for:
            return {}
        pixels = [sum(v.values()) if isinstance(v, dict) else float("nan") for v in self.runs["labelled_pixels"]]
        of = self.runs.assign(pixels=pixels, fold=self.runs["fold"].fillna(-1))
        table = of.pivot_table("pixels", ["seed", "fold"], of["points"].astype(str))
        table = table.reindex(columns=[str(n) for n in self._asked_for])
        least = self._asked_for[0]
        ratios = {n: float((table[str(n)] / table[str(least)]).mean()) for n in self._asked_for}
        return {n: ratio for n, ratio in ratios.items() if ratio < ENOUGH * n / least}

    @property
    def has_full(self) -> bool:
        """True if there is a run on full masks, its own or one that stands in."""
        return self.has_own_full or self.full_of is not None

    @property
    def has_own_full(self) -> bool:
        """True if there is a run of its own on full masks."""
        return FULL in set(self.runs["points"])

    @property
    def lacks_masks(self) -> bool:
        """Whether some training image has no mask, so that points=all is no full supervision."""
        known = {"train_masks", "train_images"} <= set(self.runs)
        fewer = known and bool((self.runs["train_masks"] < self.runs["train_images"]).any())
        return GIVEN in set(self.runs["points"]) or fewer

    @cached_property
    def scores(self) -> "dict[str, pd.DataFrame]":
        """miou_final and iou_<class>, from 0 to 1 → a row per seed (per tile: the mean of its seeds), a column per
        density and, if it has runs, "all"; NaN where there is no run, or where a class has no IoU.
        """
        import pandas as pd

        columns = ["miou_final", *(f"iou_{c}" for c in self.block.classes)]
        key = {"tile": "fold", "seed": "seed"}[self.unit]
        points = [*self.densities, *([FULL] if self.has_own_full else [])]
        means = {p: self.runs[[q == p for q in self.runs["points"]]].groupby(key)[columns].mean() for p in points}
        found = {c: pd.DataFrame({p: m[c] for p, m in means.items()}) for c in columns}
        if self.full_of is None:
            return found
        other = self.full_of.scores
        return {c: t.assign(**{FULL: other[c][FULL].reindex(t.index)}) for c, t in found.items()}

    @cached_property
    def curves(self) -> "dict[str, Curve | None]":
        """The curve fitted to each of `scores`; None with fewer than two densities."""
        from sparse_seg.report.curves import fit  # scipy's part in it is slow to import

        return {column: fit(scores[self.densities]) for column, scores in self.scores.items()}

    @property
    def loss_and_augment(self) -> tuple[str, str]:
        """What sets it apart within its block."""
        return self.loss, self.augment

    @property
    def name(self) -> str:
        """How sentences begin."""
        method = f"{self.block.method}, prior {self.block.prior}, " if self.mixed else ""
        return f"{method}{loss_name(self.loss)}, augment={self.augment}"

    @property
    def labels(self) -> tuple[Cell, ...]:
        """The leading cells of its rows, below `LABELS`."""
        method = (self.block.method, self.block.prior) if self.mixed else ()
        return tuple(map(Cell, (*method, loss_name(self.loss), self.augment)))


def told_apart(
    groups: Sequence[Group], keys: Sequence[tuple[str, str]] | None = None
) -> tuple[tuple[str, ...], list[tuple[Cell, ...]]]:
    """Header and labels that tell groups apart: method, prior and, where there are several, loss and augmentation.

    keys: loss and augmentation as they are to be called; by default each group's own.
    """
    keys = keys or [g.loss_and_augment for g in groups]
    trained = [key for g, key in zip(groups, keys, strict=True) if not solves(g.block.config)]
    shown = [k for k in (0, 1) if len({key[k] for key in trained}) > 1]
    named = [(loss_name(loss), augment) for loss, augment in keys]
    labels = [(g.block.method, g.block.prior, *(n[k] for k in shown)) for g, n in zip(groups, named, strict=True)]
    return (*LABELS[:2], *(LABELS[2 + k] for k in shown)), [tuple(map(Cell, label)) for label in labels]


def groups(block: Block) -> list[Group]:
    """Every loss and augmentation that has a run; the report's first."""
    augments = sorted(set(block.runs["augment"]), key=lambda a: (a != "report", a))
    found = [Group(block, loss, augment) for loss in losses(block) for augment in augments]
    return [g for g in found if not g.runs.empty]


def missing(group: Group) -> list[str]:
    """What the group lacks for a curve, intervals and a share, and the command that runs it; empty if nothing."""
    scores = group.scores["miou_final"]
    reasons: list[str] = []
    points: list[Any] = []
    if len(group.densities) < 2:
        one = f"there is one density ({group.densities[0]} points per class)" if group.densities else ""
        reasons.append(
            f"{one or 'there are full masks only'}, and a curve needs two, {SATURATING_FROM} to show how it flattens"
        )
        points += more_densities(group.densities, below=min(group.short, default=None))
    if group.full_of is not None:
        scores = scores.drop(columns=FULL)
    for p in scores.columns[scores.isna().any()]:
        reasons.append(f"points={p} lacks {group.unit} {joined(scores.index[scores[p].isna()])}")
        points.append(p)
    units = scores.index.astype(int).tolist()
    if len(units) < 2:
        reasons.append(f"one {group.unit} gives no interval")
        points += list(scores.columns)
        units += [u for u in range(4) if u not in units][:2]
    if not group.has_full and not group.lacks_masks:
        unknown = "so the share of full supervision is unknown (it takes masks of the images that train)"
        reasons.append(f"no run on full masks (points={FULL}), {unknown}")
        points.append(FULL)
    if not reasons:
        return []
    if not points:
        return [f"{group.name}: {'; '.join(reasons)}."]
    wanted = sorted({p for p in points if p != FULL}) + ([FULL] if FULL in points else [])
    run = "Run this, with any other values that these runs were given; finished ones are skipped:"
    return [f"{group.name}: {'; '.join(reasons)}. {run}", *commands(group, wanted, units)]


def commands(group: Group, points: Sequence[Any], units: Sequence[int]) -> list[str]:
    """The sweeps of these densities and seeds (or tiles) in the group's configuration, as far as is told by its runs.

    With full masks a prior has nothing to correct: those are trained without it, by a sweep of their own.
    """
    if group.block.plain_prior or FULL not in points:
        return [_command(group, points, units)]
    sparse = [p for p in points if p != FULL]
    return [*([_command(group, sparse, units)] if sparse else []), _command(group, [FULL], units, plain=True)]


def _command(group: Group, points: Sequence[Any], units: Sequence[int], plain: bool = False) -> str:
    run = group.runs.iloc[0]
    config = canonical(group.block.config)
    seeds_of = units if group.unit == "seed" else group.block.seeds
    solved = solves(group.block.config)
    words = [f"points={joined(points)}"]
    words += [] if solved else [f"loss={group.loss}", f"augment={group.augment}"]
    words += [f"seed={joined(seeds_of)}", *([f"data.fold={joined(units)}"] if group.unit == "tile" else [])]
    for word, (column, default) in DEFAULTS.items():
        if solved and f"{word}.".startswith(UNASKED):
            continue
        value = default if plain and word == "prior" else run.get(column, default)
        value = "null" if value is None or value != value else value
        if word == "model.encoder_weights" and value not in ("imagenet", "null"):
            value = f"FOLDER/{value}"  # a result knows a file's name only
        words += [f"{word}={value}"] if value != default else []
    if (tau := config.get("prior.tau", 1)) != 1 and not plain:
        words.append(f"prior.tau={tau:g}")
    if tiles := config.get("data.val_tiles"):
        words.append(f"'data.val_tiles=[{joined(tiles)}]'")
    return COMMAND + " ".join([*words, f"study={run['study']}"])


def joined(values: Iterable[Any]) -> str:
    """Values as a word on the command line takes them: 5,20,50."""
    return ",".join(str(v) for v in values)
