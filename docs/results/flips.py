"""What the average over the eight flips and rotations adds: finished runs, scored on their validation images anew.

    python docs/results/flips.py RUN… > flips.jsonl
    python docs/results/flips.py table flips.jsonl > flips.md

A line per run: which it is, the mIoU and each class's IoU of the network as it is, and with the averaged posterior,
both at the training size and in the run's precision. The weights are those of the last epoch, so the first mIoU is the
run's miou_final; where it is not, or where the last epoch's weights are not kept, that is said.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from omegaconf import OmegaConf
from tabulate import tabulate

from sparse_seg import metrics
from sparse_seg.errors import UserError
from sparse_seg.networks.flips import averaged_posterior
from sparse_seg.networks.found import find_checkpoint
from sparse_seg.networks.trained import load_trained
from sparse_seg.report.cells import shown
from sparse_seg.report.intervals import estimate, share
from sparse_seg.runs import build
from sparse_seg.runs.sources import image_set

AXES = ("study", "method", "prior", "loss", "points", "split", "fold", "seed", "encoder", "size")
NEAR = 1e-4
"""Of mIoU: another machine rounds otherwise, and a pixel or two are of another class."""


def score(run: Path) -> dict[str, Any]:
    """The line of a run."""
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    cfg = OmegaConf.load(run / "config.yaml").config
    data = build.data_module(cfg, image_set(cfg))
    trained = load_trained(find_checkpoint(run, final=True))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    layout = torch.channels_last if result["figures"].get("channels_last") else torch.contiguous_format
    network = trained.network.to(device).to(memory_format=layout)

    def averaged(image: torch.Tensor) -> torch.Tensor:
        return averaged_posterior(network, image)

    ways: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"plain": network, "flips": averaged}
    names = data.classes.names
    counts = {way: np.zeros((len(names), len(names)), np.int64) for way in ways}
    half = torch.autocast(device.type, torch.bfloat16, enabled=result["precision"] == "bf16-mixed")
    with torch.inference_mode(), half:
        for batch in data.val_dataloader():
            image = batch["image"].to(device).contiguous(memory_format=layout)
            for way, said in ways.items():
                predicted = said(image).argmax(1).to(torch.uint8).cpu().numpy()
                counts[way] += metrics.confusion_matrix(batch["target"].numpy().astype(np.uint8), predicted, len(names))
    line: dict[str, Any] = {"run": run.name, **{axis: result.get(axis) for axis in AXES}}
    line["tau"] = cfg.prior.get("tau", 1.0) if cfg.prior else None  # a run of before there was the word has 1
    line |= {"epoch": trained.epoch, "miou_final": result["miou_final"]}
    line |= {f"miou_{way}": metrics.mean_iou(matrix) for way, matrix in counts.items()}
    for way, matrix in counts.items():
        iou = metrics.iou_per_class(matrix).tolist()
        line[f"iou_{way}"] = {name: None if np.isnan(v) else v for name, v in zip(names, iou, strict=True)}
    return line


def remark(line: dict[str, Any], epochs: int) -> str | None:
    """What the line is not, if anything."""
    if line["epoch"] != epochs:
        return f"the kept weights are of epoch {line['epoch']} of {epochs}"
    if abs(line["miou_plain"] - line["miou_final"]) > NEAR:
        return f"scored {line['miou_plain']:.4f}, where the run says {line['miou_final']:.4f}"
    return None


CELL = ("method", "prior", "tau", "loss", "points", "split", "encoder", "size")


def table(path: Path) -> str:
    """The lines of a file as a table in Markdown: a row per cell, means over seeds."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    cells: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for line in sorted(lines, key=lambda line: [str(line[axis]) for axis in (*CELL, "fold", "seed")]):
        cells.setdefault(tuple(line[axis] for axis in CELL), []).append(line)
    rows = []
    for cell, found in cells.items():
        plain, flips = (_by_seed(found, way) for way in ("plain", "flips"))
        gain = estimate(100 * (flips - plain))
        fulls = [[] if full == cell else cells.get(full, []) for full in _full_masks(cell)]
        figures = [shown(estimate(plain), "{:.4f}"), shown(estimate(flips), "{:.4f}"), shown(gain, "{:+.1f}")]
        figures += [shown(share(flips, _by_seed(full, "flips")), "{:.1f}") for full in fulls]
        rows.append([*cell, *(figure.text for figure in figures), len(found)])
    of_full = ("% of plain full masks with flips", "% of its own")
    headers = (*CELL, "mIoU", "with eight flips", "difference, pp", *of_full, "seeds")
    note = (
        "± is half the 95 % interval of the mean over seeds (t distribution); differences are of the same run. The "
        "shares are those of each seed's mIoU with flips in the same seed's with flips and full masks, where both are."
    )
    return tabulate(rows, headers, "github", disable_numparse=True) + f"\n\n{note}"


def _by_seed(lines: list[dict[str, Any]], way: str) -> "pd.Series[float]":
    return pd.Series({line["seed"]: line[f"miou_{way}"] for line in lines}, dtype=float)


def _full_masks(cell: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """The cells with full masks, trained plainly and by the same method, that are else as this one."""
    full = dict(zip(CELL, cell, strict=True)) | {"prior": "none", "tau": None, "points": "all"}
    return [tuple({**full, "method": method}.values()) for method in ("points", full["method"])]


def main(runs: list[Path]) -> None:
    if unfinished := [run for run in runs if not (run / "result.json").is_file()]:
        sys.exit(f"{unfinished[0]} has no result.json: it is no run's folder, or not finished")
    for run in runs:
        try:
            line = score(run)
        except UserError as e:
            sys.exit(f"{run}: {e}")
        print(json.dumps(line, ensure_ascii=False, allow_nan=False), flush=True)
        epochs = len(json.loads((run / "result.json").read_text(encoding="utf-8"))["val_miou"])
        if said := remark(line, epochs):
            print(f"{run.name}: {said}", file=sys.stderr)


if __name__ == "__main__":
    if len(sys.argv) < (3 if sys.argv[1:2] == ["table"] else 2):
        sys.exit(__doc__)
    if sys.argv[1] == "table":
        print(table(Path(sys.argv[2])))
    else:
        main([Path(run) for run in sys.argv[1:]])
