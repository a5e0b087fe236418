"""Runs that may be compared: one configuration but for the axes of the tables.

Runs of different configurations are never averaged. Those that differ in anything but loss, points, augmentation, seed
and fold stand in blocks of their own, as do those of one loss (or augmentation) with different values inside it.
"""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from sparse_seg.report.results import figures_key
from sparse_seg.report.status import Run

AXES = ("seed", "points", "data.fold")
VARIED = ("loss", "augment")
NAMED = ("loss", "points", "augment", "seed", "fold")
Flat = dict[str, Any]


@dataclass(frozen=True)
class Block:
    """runs: the rows of one configuration. differs: how it differs from the first block, "key: there → here"."""

    title: str
    runs: pd.DataFrame
    differs: tuple[str, ...] = ()
    pending: tuple[Run, ...] = ()
    """Failed, running and unfinished runs of the same configuration."""
    config: Flat = field(default_factory=dict)
    _cells: dict[tuple[Any, ...], pd.DataFrame] = field(default_factory=dict, init=False, repr=False)

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
        return re.sub(r"[^\w-]+", "_", "-".join(str(p) for p in parts))

    @property
    def has_folds(self) -> bool:
        return bool(self.runs["fold"].notna().any())

    @property
    def classes(self) -> list[str]:
        return list(self.runs.iloc[0]["iou"])

    @property
    def is_dubai(self) -> bool:
        """True if the report's figures are for the same images."""
        return bool(self.runs.iloc[0]["data"] == "dubai")

    def cell(self, **axes: Any) -> pd.DataFrame:
        """The finished runs with these values, indexed by seed; to read, since whoever asks again gets the same."""
        key = tuple(sorted(axes.items()))
        if key not in self._cells:
            wanted = np.ones(len(self.runs), bool)
            for name, value in key:
                wanted &= np.array([v == value for v in self.runs[name]], bool)
            self._cells[key] = self.runs[wanted].set_index("seed").sort_index()
        return self._cells[key]

    def failed(self, **axes: Any) -> int:
        """How many runs with these values failed."""
        wanted = {k: str(v) for k, v in axes.items()}
        return sum(r.state == "failed" and wanted.items() <= r.axes.items() for r in self.pending)


def blocks(runs: pd.DataFrame, pending: Sequence[Run] = ()) -> list[Block]:
    """Split a frame of runs. The random split comes first, then networks without pretrained weights."""
    parts = [p for _, group in runs.groupby(runs["figures"].map(_shared), sort=False) for p in _variants(group)]
    parts.sort(key=lambda p: _order(p[1].iloc[0]))
    titles = [title(p.iloc[0]) for _, p in parts]
    configs = [config for config, _ in parts]
    out = []
    for i, (config, rows) in enumerate(parts):
        twins = [c for c, t in zip(configs, titles, strict=True) if t == titles[i]]
        own = [f"{k}={_short(config.get(k))}" for k in differing(twins)]
        full = ", ".join([titles[i], *own])
        first = configs[0]
        against = [f"{k}: {_short(first.get(k))} → {_short(config.get(k))}" for k in differing([first, config])]
        out.append(Block(full, rows, tuple(against), tuple(r for r in pending if _belongs(r, rows)), config))
    return out


def differing(configs: Sequence[Flat]) -> list[str]:
    """Keys on which configurations differ; a key that one of them lacks differs from any value."""
    keys = sorted({k for c in configs for k in c})
    return [k for k in keys if len({figures_key({k: c[k]} if k in c else {}) for c in configs}) > 1]


def title(run: "pd.Series[Any]") -> str:
    """Network, weights, size, epochs, split in words."""
    weights = run["weights"]
    said = "no pretrained weights" if not isinstance(weights, str) else f"weights {weights}"
    said = "ImageNet weights" if weights == "imagenet" else said
    data = [] if run["data"] == "dubai" else [f"{run['data']} data"]
    size = f"{run['size']}×{run['size']}"
    tiles = run["figures"].get("data.val_tiles") or []
    split = f"{run['split']} split" + (f" (held out: {', '.join(map(str, tiles))})" if tiles else "")
    return ", ".join([*data, str(run["encoder"]), said, size, f"{run['epochs']} epochs", split])


def _shared(figures: Mapping[str, Any]) -> str:
    kept = {k: v for k, v in figures.items() if k not in AXES and k.split(".")[0] not in VARIED}
    return figures_key(kept)


def _inner(figures: Mapping[str, Any], group: str) -> str:
    return figures_key({k: v for k, v in figures.items() if k.split(".")[0] == group})


def _variants(rows: pd.DataFrame) -> list[tuple[Flat, pd.DataFrame]]:
    """One part for each choice of values inside each loss and each augmentation; mostly there is one.

    Returns (what the part's runs share, the runs). The values inside focal are kept as "focal: loss.gamma".
    """
    inner = pd.DataFrame({g: [_inner(f, g) for f in rows["figures"]] for g in VARIED}, index=rows.index)
    names = [(g, n) for g in VARIED for n in dict.fromkeys(rows[g])]
    values = [list(dict.fromkeys(inner.loc[rows[g] == n, g])) for g, n in names]
    shared: Flat = json.loads(_shared(rows.iloc[0]["figures"]))
    parts = []
    for choice in itertools.product(*values):
        chosen = dict(zip(names, choice, strict=True))
        wanted = [all(inner.at[i, g] == chosen[g, row[g]] for g in VARIED) for i, row in rows[list(VARIED)].iterrows()]
        if not any(wanted):
            continue
        several = {n: json.loads(c) for (_, n), c, v in zip(names, choice, values, strict=True) if len(v) > 1}
        own = {f"{n}: {k}": v for n, detail in several.items() for k, v in detail.items()}
        parts.append((shared | own, rows[wanted]))
    return parts


def _order(run: "pd.Series[Any]") -> tuple[bool, bool, int, int, str]:
    pretrained = isinstance(run["weights"], str)
    return run["split"] != "random", pretrained, int(run["size"]), int(run["epochs"]), str(run["encoder"])


def _belongs(run: Run, rows: pd.DataFrame) -> bool:
    """True if the folder's name says what those of the block say, but for the axes."""
    if run.state == "done" or "seed" not in run.axes:
        return False
    return any(isinstance(f, str) and _rest(run.folder.name) == _rest(f.rsplit("/", 1)[-1]) for f in rows["folder"])


def _rest(name: str) -> list[str]:
    return [part for part in name.split(",") if part.split("=")[0] not in NAMED]


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text[:19] + "…" if text.startswith("sha256:") else text
