"""result.json: all that a report needs to know of a run."""

import json
import math
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from sparse_seg import metrics
from sparse_seg.files import write_text
from sparse_seg.runs import identity

PACKAGES = (
    "torch", "lightning", "segmentation-models-pytorch", "timm", "torchmetrics", "albumentations", "numpy",
    "hydra-core",
)  # fmt: skip


def build_result(
    cfg: DictConfig,
    choices: Mapping[str, str],
    figures: identity.Flat,
    class_names: Sequence[str],
    rows: Sequence[Mapping[str, float]],
    confusion: Sequence[Sequence[int]],
) -> dict[str, Any]:
    """The configured axes and what was measured.

    rows: one per epoch, as `History` keeps them. confusion: (C, C) counts of the last epoch, rows truth, columns
    prediction. "final" is the last epoch, "best" the first one with the highest validation mIoU.
    """
    miou = [r["val_miou"] for r in rows]
    best = max(range(len(rows)), key=lambda k: -math.inf if math.isnan(miou[k]) else miou[k])
    weights = cfg.model.get("encoder_weights")
    return {
        "status": "done",
        "fingerprint": identity.fingerprint(figures),
        **identity.axes(cfg, choices),
        "data": choices["data"],
        "encoder": cfg.model.get("encoder"),
        "weights": Path(weights).name if weights else None,
        "optimizer": choices["optimizer"],
        "lr": cfg.optimizer.get("lr"),
        "scheduler": choices["scheduler"],
        "size": cfg.data.size,
        "epochs": cfg.trainer.max_epochs,
        "batch_size": cfg.data.batch_size,
        "miou_final": miou[-1],
        "miou_best": miou[best],
        "epoch_best": rows[best]["epoch"],
        "iou": dict(zip(class_names, metrics.iou_per_class(confusion).tolist(), strict=True)),
        "f1": dict(zip(class_names, metrics.f1_per_class(confusion).tolist(), strict=True)),
        "accuracy": metrics.accuracy(confusion),
        "confusion_matrix": confusion,
        "loss_at_epoch_25": rows[24]["train_loss"] if len(rows) >= 25 else None,
        "train_loss": [r["train_loss"] for r in rows],
        "val_miou": miou,
        "seconds": round(sum(r["seconds"] for r in rows), 1),
        "devices": cfg.trainer.devices,
        "precision": figures["trainer.precision"],
        "versions": {p: version(p) for p in PACKAGES},
        "commit": _git_commit(),
        "figures": figures,
    }


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write result.json, whole or not at all. Its presence means that the run is done."""
    write_text(path, json.dumps(_finite(result), indent=1, allow_nan=False))


def _git_commit() -> str | None:
    """The commit of the code, with -dirty if files differ from it; None outside a git checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def _finite(value: Any) -> Any:
    """NaN and infinity become None, JSON's null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list | tuple) else value
