"""Runs that may be compared: one configuration but for the axes of the tables.

Runs of different configurations are never averaged. Those that differ in anything but loss, points, augmentation, seed
and fold stand in blocks of their own, as do those of one loss (or augmentation) with different values inside it.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sparse_seg.report.configuration import (
    CONTENT,
    LEARNING,
    METHOD,
    VARIED,
    Flat,
    agree,
    differing,
    inner,
    keys,
    shared,
    solves,
    spelled,
)
from sparse_seg.report.status import Run

if TYPE_CHECKING:
    import pandas as pd

UNSURE = (
    "These runs do not say what their images were, and runs of two data sets have the same configuration otherwise: "
    "they are averaged with neither."
)


@dataclass(frozen=True)
class Block:
    """runs: the rows of one configuration. differs: how it differs from the first block, "key: there → here"."""

    title: str
    runs: "pd.DataFrame"
    differs: tuple[str, ...] = ()
    pending: tuple[Run, ...] = ()
    """Failed, running and unfinished runs of the same configuration."""
    config: Flat = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    setting: str = ""
    """The title without the method and its prior."""
    variant: tuple[str, str] = ("", "")
    """What sets its method, and its prior, apart from others of that name: "decay=0.9"; set among a `Family`."""
    _cells: "dict[tuple[Any, ...], pd.DataFrame]" = field(default_factory=dict, init=False, repr=False)

    @property
    def seeds(self) -> list[int]:
        """Every seed that a run of this block has, finished or not."""
        return sorted({int(s) for s in self.runs["seed"]} | {int(r.axes["seed"]) for r in self.pending})

    @property
    def slug(self) -> str:
        """A short name for files: resnet34-none-256-50-random."""
        run = self.runs.iloc[0]
        weights = run["weights"].rsplit(".", 1)[0] if isinstance(run["weights"], str) else "none"
        parts = [run["encoder"], weights, run["size"], run["epochs"], run["split"]]
        parts += [run[name] for name, usual in METHOD.items() if run[name] != usual]
        return re.sub(r"[^\w-]+", "_", "-".join(str(p) for p in parts))

    @property
    def method(self) -> str:
        """Name of the training method: "points"."""
        return _named(self.runs.iloc[0]["method"], self.variant[0])

    @property
    def prior(self) -> str:
        """Name of the prior: "none"."""
        return _named(self.runs.iloc[0]["prior"], self.variant[1])

    @property
    def plain_prior(self) -> bool:
        """Whether the network learns the class shares of the points."""
        return bool(self.runs.iloc[0]["prior"] == METHOD["prior"])

    @property
    def has_folds(self) -> bool:
        """True if tiles are held out in turn."""
        return bool(self.runs["fold"].notna().any())

    @property
    def unit(self) -> str:
        """What its runs are repeated over: seed, or tile where tiles are held out in turn."""
        return "tile" if self.has_folds else "seed"

    @property
    def classes(self) -> list[str]:
        """Names of the classes, in the order of the confusion matrix."""
        return list(self.runs.iloc[0]["iou"])

    @property
    def is_dubai(self) -> bool:
        """True if the published figures are for the same images."""
        return bool(self.runs.iloc[0]["data"] == "dubai")

    def cell(self, **axes: Any) -> "pd.DataFrame":
        """The finished runs with these values, indexed by seed; to read, since whoever asks again gets the same."""
        key = tuple(sorted(axes.items()))
        if key not in self._cells:
            wanted = [True] * len(self.runs)
            for name, value in key:
                wanted = [w and v == value for w, v in zip(wanted, self.runs[name], strict=True)]
            self._cells[key] = self.runs[wanted].set_index("seed").sort_index()
        return self._cells[key]

    def failed(self, **axes: Any) -> int:
        """How many runs with these values failed."""
        return sum(r.state == "failed" and axes.items() <= r.axes.items() for r in self.pending)


def blocks(runs: "pd.DataFrame", pending: Sequence[Run] = ()) -> list[Block]:
    """Split a frame of runs. The random split comes first, then networks without pretrained weights.

    Args:
        runs: as `results.frame` makes it.
        pending: runs without a result; one whose configuration has no finished run is in no block.
    """
    of = dict(zip(runs.index, keys([shared(f) for f in runs["figures"]]), strict=True))
    parts = [p for _, group in runs.groupby(of, sort=False) for p in _variants(group)]
    parts.sort(key=lambda p: _order(p[1].iloc[0]))
    titles = [title(p.iloc[0]) for _, p in parts]
    configs = [config for config, _ in parts]
    out = []
    for i, (config, rows) in enumerate(parts):
        twins = [c for c, t in zip(configs, titles, strict=True) if t == titles[i]]
        apart = differing(twins)
        own = [f"{k}={spelled(config, k)}" for k in apart]
        full = ", ".join([titles[i], *own])
        rest = [text for text, k in zip(own, apart, strict=True) if not k.startswith(LEARNING)]
        setting = ", ".join([title(rows.iloc[0], method=False), *rest])
        first = configs[0]
        against = [f"{k}: {spelled(first, k)} → {spelled(config, k)}" for k in differing([first, config])]
        mine = tuple(r for r in pending if _belongs(r, rows))
        notes = (UNSURE,) if CONTENT not in config and any(CONTENT in c and agree(c, config) for c in configs) else ()
        out.append(Block(full, rows, tuple(against), mine, config, notes, setting))
    return out


def title(run: "pd.Series[Any]", method: bool = True) -> str:
    """Method, if wanted, network, weights, size, epochs, split in words."""
    weights = run["weights"]
    said = "no pretrained weights" if not isinstance(weights, str) else f"weights {weights}"
    said = "ImageNet weights" if weights == "imagenet" else said
    data = [] if run["data"] == "dubai" else [f"{run['data']} data"]
    how = [f"{name} {run[name]}" for name, usual in METHOD.items() if method and run[name] != usual]
    epochs = [] if solves(run["figures"]) else [f"{run['epochs']} epochs"]
    size = f"{run['size']}×{run['size']}"
    tiles = run["figures"].get("data.val_tiles") or []
    split = f"{run['split']} split" + (f" (held out: {', '.join(map(str, tiles))})" if tiles else "")
    return ", ".join([*data, *how, str(run["encoder"]), said, size, *epochs, split])


def _named(name: str, variant: str) -> str:
    return f"{name} ({variant})" if variant else name


def _variants(rows: "pd.DataFrame") -> "list[tuple[Flat, pd.DataFrame]]":
    """One part for each choice of values inside each loss and each augmentation; mostly there is one.

    Returns (what the part's runs share, the runs). The values inside focal are kept as "focal: loss.gamma".
    """
    by_key = {g: keys([inner(f, g) for f in rows["figures"]]) for g in VARIED}
    names = [(g, n) for g in VARIED for n in dict.fromkeys(rows[g])]
    values = [list(dict.fromkeys(k for k, n in zip(by_key[g], rows[g], strict=True) if n == name)) for g, name in names]
    said = {(g, k): inner(f, g) for g in VARIED for k, f in reversed([*zip(by_key[g], rows["figures"], strict=True)])}
    contents = [f[CONTENT] for f in rows["figures"] if CONTENT in f]  # one, see `keys`
    common = shared(rows.iloc[0]["figures"]) | ({CONTENT: contents[0]} if contents else {})
    parts = []
    for choice in itertools.product(*values):
        chosen = dict(zip(names, choice, strict=True))
        of = {g: [chosen[g, n] == k for k, n in zip(by_key[g], rows[g], strict=True)] for g in VARIED}
        wanted = [all(row) for row in zip(*of.values(), strict=True)]
        if not any(wanted):
            continue
        several = {n: said[g, c] for (g, n), c, v in zip(names, choice, values, strict=True) if len(v) > 1}
        own = {f"{n}: {k}": v for n, detail in several.items() for k, v in detail.items()}
        parts.append((common | own, rows[wanted]))
    return parts


def _order(run: "pd.Series[Any]") -> tuple[Any, ...]:
    how = tuple(part for name, usual in METHOD.items() for part in (run[name] != usual, run[name]))
    setting = int(run["size"]), solves(run["figures"]), int(run["epochs"]), str(run["encoder"])
    return (run["split"] != "random", isinstance(run["weights"], str), *setting, *how)


def _belongs(run: Run, rows: "pd.DataFrame") -> bool:
    """True if the run says of itself what those of the block do, but for the axes."""
    if not run.axes or run.state == "done" or not agree(shared(run.figures), shared(rows.iloc[0]["figures"])):
        return False
    for group in VARIED:
        same = rows[rows[group] == run.axes[group]]
        if len(same) and not agree(inner(run.figures, group), inner(same.iloc[0]["figures"], group)):
            return False
    return True
