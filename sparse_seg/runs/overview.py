"""The table that a sweep ends with."""

import json
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from sparse_seg.runs.jobs import Job

SHOWN = ("loss", "points", "augment", "seed")
POINTS_NOTE = "Scores with a point accuracy are of held-out points alone: there are no masks, so no mIoU of full masks."


def table(jobs: Sequence[Job]) -> str:
    """A row per run: axes, what else was varied, final and best mIoU, IoU per class of the last epoch."""
    # Not from the folder's name, which is cut where it would be too long.
    names = [_axes(job) | dict(o.lstrip("+~").split("=", 1) for o in job.overrides if "=" in o) for job in jobs]
    keys = list(dict.fromkeys(k for name in names for k in name))
    varied = [k for k in keys if k in SHOWN or len({name.get(k) for name in names}) > 1]
    rows, scored_on_points = [], False
    for job, name in zip(jobs, names, strict=True):
        row: dict[str, Any] = {k.removeprefix("data."): name.get(k, "") for k in varied}
        if job.succeeded:
            result = json.loads((job.folder / "result.json").read_text(encoding="utf-8"))
            scores = {"final mIoU": result["miou_final"], "best mIoU": result["miou_best"], **result["iou"]}
            if result.get("scored_on") == "points":
                scored_on_points = True
                scores = {"point accuracy": result["accuracy"]} | scores
            row |= {name: "—" if score is None else f"{score:.4f}" for name, score in scores.items()}
        else:
            row |= {"final mIoU": "failed"}
        rows.append(row)
    columns = len({name for row in rows for name in row})
    align = ["left"] * len(varied) + ["right"] * (columns - len(varied))
    text = tabulate(rows, headers="keys", missingval="—", disable_numparse=True, colalign=align)
    return text + ("\n" + POINTS_NOTE if scored_on_points else "")


def _axes(job: Job) -> dict[str, str]:
    return {key: str(job.choices[key] if key in job.choices else job.cfg[key]) for key in SHOWN}
