"""Runs with known figures for the tests of the report, and what its tables say of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from sparse_seg.classes import LAND_COVER
from sparse_seg.report import results, status
from sparse_seg.report.__main__ import main
from sparse_seg.report.blocks import Block, blocks
from sparse_seg.report.cells import Table
from sparse_seg.runs import identity, result
from sparse_seg.runs.child import Child
from sparse_seg.runs.folder import claim, held

EPOCHS = 30
Write = Callable[..., Path]


def _config(**changes: Any) -> dict[str, Any]:
    """What run.py passes on, as far as results need it; a key with dots replaces a value."""
    loss = {"focal": {"_target_": "PartialFocal", "gamma": 2.0}, "ce": {"_target_": "PartialCrossEntropy"}}
    config: dict[str, Any] = {
        "points": 20,
        "split": "random",
        "seed": 0,
        "study": "report",
        "overwrite": False,
        "data": {"size": 256, "batch_size": 8, "fold": None, "source": {"_target_": "dubai"}},
        "model": {"encoder": "resnet34", "encoder_weights": None},
        "loss": loss[changes.pop("loss", "focal")],
        "augment": {"report": {"brightness": 0.2}, "none": {}}[changes.pop("augment", "report")],
        "optimizer": {"lr": 1e-4},
        "trainer": {"max_epochs": EPOCHS, "devices": 1, "precision": "bf16-mixed"},
    }
    for key, value in changes.items():
        OmegaConf.update(node := OmegaConf.create(config), key, value)
        config = OmegaConf.to_container(node)  # type: ignore[assignment]
    return config


def _confusion(level: float, seed: int) -> list[list[int]]:
    """Counts of a classifier that is right about `level` of the time."""
    rng = np.random.default_rng(seed)
    right = np.clip(level + rng.normal(0, 0.03, 5), 0.05, 0.95)
    matrix = np.outer(1 - right, np.full(5, 0.25)) * 10_000
    np.fill_diagonal(matrix, right * 10_000)
    return [[int(count) for count in row] for row in matrix.round()]


def configured(
    data: str = "dubai", method: str | None = None, prior: str | None = None, **axes: Any
) -> tuple[DictConfig, dict[str, str]]:
    """A run's configuration and its choice in each group."""
    choices = {"loss": axes.get("loss", "focal"), "augment": axes.get("augment", "report"), "data": data}
    choices |= {"optimizer": "adam", "scheduler": "none"} | ({"method": method} if method else {})
    choices |= {"prior": prior} if prior else {}
    return OmegaConf.create(_config(**axes)), choices


def make_result(miou: float = 0.5, **axes: Any) -> dict[str, Any]:
    """A result.json as `build_result` makes it, with the final mIoU given; per-class IoU is plausible only."""
    content = axes.pop("content", None)
    cfg, choices = configured(**axes)
    figures = identity.flatten(cfg) | ({"data.content": content} if content else {})
    scale = 0.5 if axes.get("loss", "focal") == "focal" else 1.0
    curve = (
        miou * (1 - np.exp(-np.arange(1, EPOCHS + 1) / 4))
        + 0.02 * np.sin(np.arange(EPOCHS))
        + axes.get("seed", 0) / 100
    )
    curve[-1] = miou
    rows = [
        {"epoch": e + 1, "train_loss": scale * (0.3 + np.exp(-e / 8)), "val_miou": float(curve[e]), "seconds": 7.0}
        for e in range(EPOCHS)
    ]
    confusion = _confusion(miou + 0.15, axes.get("seed", 0))
    made = result.build_result(cfg, choices, figures, LAND_COVER.names, rows, confusion, {})
    return made | {"val_images": [f"image {i}" for i in range(14)], "device": "cpu", "threads": 2}


def folder_of(outputs: Path, made: dict[str, Any], rest: str = "") -> Path:
    axes = {a: made[a] for a in ("loss", "points", "augment", "split", "seed")}
    axes |= {"fold": made["fold"]} if made["fold"] is not None else {}
    return outputs / str(made["study"]) / (",".join(f"{k}={v}" for k, v in axes.items()) + rest)


def leave_failed(folder: Path, **axes: Any) -> None:
    """What the parent of a sweep keeps of a job that failed before it started."""
    Child(1, [], folder, [], *configured(**axes)).ended(1, "out of memory", 0.0)


def leave_unfinished(folder: Path, **axes: Any) -> None:
    """What lies in the folder of a run that started."""
    cfg, choices = configured(**axes)
    with held(folder):
        claim(folder, cfg, identity.flatten(cfg), choices)


FOCAL = {5: (0.43, 0.44, 0.46), 20: (0.47, 0.49, 0.48), 50: (0.48, 0.485, 0.5), "all": (0.54, 0.55, 0.56)}


CE = {5: (0.44, 0.43, 0.45), 20: (0.475, 0.485, 0.5), 50: (0.49, 0.5, 0.51), "all": (0.55, 0.56, 0.58)}


def whole_grid(write: Write) -> None:
    for loss, cells in {"focal": FOCAL, "ce": CE}.items():
        for points, values in cells.items():
            for seed, miou in enumerate(values):
                write(miou, loss=loss, points=points, seed=seed)
                if points != "all":
                    write(miou - 0.03 - 0.005 * seed, loss=loss, points=points, seed=seed, augment="none")


def tile_folds(write: Write) -> None:
    for fold in range(8):
        for loss, gain in (("focal", 0.0), ("ce", 0.01 + 0.001 * fold)):
            axes = {"study": "tile_cv", "split": "tile", "data.fold": fold, "loss": loss}
            path = write(0.35 + 0.02 * fold + gain, **axes) / "result.json"
            images = [f"Tile {fold + 1}/image {i}" for i in range(9)]
            path.write_text(json.dumps(json.loads(path.read_text()) | {"val_images": images}))


def load(tmp_path: Path, study: str = "report") -> list[Block]:
    runs = results.load([study], tmp_path / "outputs", tmp_path / "runs.jsonl")
    folder = tmp_path / "outputs" / study
    return blocks(runs.frame, status.runs_of(folder) if folder.exists() else [])


def made(table: Table | None) -> dict[str, dict[str, str]]:
    """Row → column → text; a column of the report's is named after the one before it."""
    assert table is not None
    names = [f"{table.header[i - 1]} report" if h.startswith("report") else h for i, h in enumerate(table.header)]
    return {
        " ".join(c.text for c in row[: table.labels]): dict(zip(names, (c.text for c in row), strict=True))
        for row in table.rows
    }


def run_main(tmp_path: Path, *words: str) -> int:
    return main([*words, "--outputs", str(tmp_path / "outputs"), "--results", str(tmp_path / "runs.jsonl")])


def store_panels(folder: Path, images: int = 5) -> None:
    """panels/ as Figure 2 reads it; image i is wrong in its first 8·i rows."""
    index: dict[str, Any] = {"classes": LAND_COVER.names, "colours": LAND_COVER.colours, "images": []}
    rng = np.random.default_rng(0)
    for i in range(images):
        place = folder / "panels" / f"image_{i}"
        place.mkdir(parents=True)
        truth = np.repeat(np.repeat(rng.integers(0, 5, (8, 8)), 8, 0), 8, 1).astype(np.uint8)
        truth[:, :4] = 255
        prediction = truth.copy()
        prediction[truth == 255] = 0
        prediction[: 8 * i] = (prediction[: 8 * i] + 1) % 5
        points = np.full_like(truth, 255)
        points[rng.integers(0, 64, 20), rng.integers(4, 64, 20)] = 1
        image = np.array(LAND_COVER.colours, np.uint8)[prediction] // 2 + rng.integers(0, 90, (64, 64, 3), np.uint8)
        for name, pixels in {"image": image, "truth": truth, "prediction": prediction, "points": points}.items():
            Image.fromarray(pixels).save(place / f"{name}.png")
        index["images"].append({"id": f"1/image {i}", "folder": f"image_{i}"})
    (folder / "panels" / "index.json").write_text(json.dumps(index))
