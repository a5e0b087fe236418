"""result.json: all that a report needs to know of a run."""

import json
import math
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
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
    scores: Mapping[str, float],
    areas: bool = True,
) -> dict[str, Any]:
    """The configured axes and what was measured.

    Args:
        cfg: the run's configuration.
        choices: group → its chosen YAML.
        figures: as `identity.figures`.
        class_names: C names.
        rows: one per epoch, as `History` keeps them. "final" is the last one that was validated, "best" the first one
            with the highest validation mIoU.
        confusion: (C, C) counts of the last validation, rows truth, columns prediction.
        scores: further scores of the last validation, by name.
        areas: whether masks validate; what single points count is no area.

    Returns:
        What result.json holds, less the circumstances; NaN where there is no number.
    """
    scored = [r for r in rows if "val_miou" in r]
    best = max(scored, key=lambda r: -math.inf if math.isnan(r["val_miou"]) else r["val_miou"])
    weights = cfg.model.get("encoder_weights")
    true, predicted = (dict(zip(class_names, s.tolist(), strict=True)) for s in metrics.area_shares(confusion))
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
        "miou_final": scored[-1]["val_miou"],
        "miou_best": best["val_miou"],
        "epoch_best": best["epoch"],
        "iou": dict(zip(class_names, metrics.iou_per_class(confusion).tolist(), strict=True)),
        "f1": dict(zip(class_names, metrics.f1_per_class(confusion).tolist(), strict=True)),
        "accuracy": metrics.accuracy(confusion),
        "confusion_matrix": confusion,
        "share_true": true if areas else None,
        "share_predicted": predicted if areas else None,
        "scores": dict(scores),
        "loss_at_epoch_25": rows[24]["train_loss"] if len(rows) >= 25 else None,
        "train_loss": [r["train_loss"] for r in rows],
        "val_miou": [r.get("val_miou") for r in rows],
        "seconds": round(sum(r["seconds"] for r in rows), 1),
        "devices": cfg.trainer.devices,
        "precision": figures["trainer.precision"],
        "version": _own_version(),
        "versions": {p: version(p) for p in PACKAGES},
        "commit": _git_commit(),
        "figures": figures,
    }


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write result.json, whole or not at all. Its presence means that the run is done."""
    write_text(path, json.dumps(_finite(result), indent=1, allow_nan=False))


def _own_version() -> str | None:
    """This project's version; None where it is not installed."""
    try:
        return version("sparse-seg")
    except PackageNotFoundError:
        return None


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
