"""How far estimated shares are from those of the masks: runs with a prior, against the training masks they never saw.

    python docs/results/shares.py RUN… > docs/results/shares.md

A row per cell, means over seeds. The error is the mean over images and classes of |share − true share|, at the training
size; before: of the points' own shares, after: of those in shares.csv.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf
from tabulate import tabulate

from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.report.cells import shown
from sparse_seg.report.intervals import estimate
from sparse_seg.runs import build
from sparse_seg.runs.sources import image_set

CELL = ("study", "prior", "points", "split", "size")


def true_shares(data: SparsePointsDataModule) -> dict[tuple[str, str], float]:
    """(image, class) → share of the image's labelled area. data: set up with full masks."""
    counts: dict[str, np.ndarray] = {}
    for name, _, mask, _ in data.training_examples():
        counts[name] = counts.get(name, 0) + np.bincount(mask.ravel(), minlength=256)[: len(data.classes)]
    return {
        (name, label): float(share)
        for name, count in counts.items()
        for label, share in zip(data.classes.names, count / count.sum(), strict=True)
    }


def errors(run: Path) -> tuple[float, float]:
    """Mean absolute error of a run's shares: those of its points, and those of its prior."""
    cfg = OmegaConf.load(run / "config.yaml").config
    cfg.points = "all"
    true = true_shares(build.data_module(cfg, image_set(cfg)))
    with (run / "shares.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = (
        [abs(float(row[key]) - true[row["image"], row["class"]]) for row in rows] for key in ("points", "estimated")
    )
    before, after = (float(np.mean(values)) for values in found)
    return before, after


def main(runs: list[Path]) -> None:
    cells: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    for run in runs:
        result = json.loads((run / "result.json").read_text(encoding="utf-8"))
        cells.setdefault(tuple(str(result[axis]) for axis in CELL), []).append(errors(run))
    rows = []
    for cell, found in sorted(cells.items(), key=lambda item: (*item[0][:2], int(item[0][2]), *item[0][3:])):
        before, after = (shown(estimate(values), "{:.3f}").text for values in zip(*found, strict=True))
        rows.append([*cell, before, after, len(found)])
    headers = (*CELL, "error of the points' shares", "of the estimated", "runs")
    print(tabulate(rows, headers, "github", disable_numparse=True))
    print("\n± is half the 95 % interval of the mean over runs (t distribution).")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main([Path(run) for run in sys.argv[1:]])
