"""What TensorBoard's own plugins answer of a run's events, and what other loggers get."""

import csv
import json
import math
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard import default, program
from werkzeug.test import Client

from sparse_seg.training.dashboard import HPARAMS, log_epoch, log_layout, log_result

ROW = {
    "epoch": 1,
    "train_loss": 0.5,
    "val_miou": 0.25,
    "lr": 0.1,
    "iou_Road": 0.25,
    "share_Road": 0.3,
    "boundary_iou": 0.2,
    "seconds": 1.0,
}
RESULT: dict[str, Any] = dict.fromkeys(HPARAMS, 1) | {"miou_final": 0.25, "miou_best": 0.25, "iou": {"Road": 0.25}}


def test_tensorboard_shows_what_tells_runs_apart_first_and_curves_side_by_side(tmp_path: Path) -> None:
    loggers = [TensorBoardLogger(str(tmp_path), name=None, version=""), CSVLogger(str(tmp_path / "csv"))]
    log_layout(loggers)
    areas = {"share_ratio/Road": 1.5, "share_true/Road": 0.2, "share_ratio/Sea": math.nan}
    log_epoch(loggers, ROW, ["boundary_iou"], areas)
    log_result(loggers, RESULT | {"figures": {"seed": 1}}, 1)
    board = program.TensorBoard(plugins=default.get_plugins())
    board.configure(argv=[None, "--logdir", str(tmp_path), "--load_fast=false", "--reload_interval=0"])
    client = Client(_application(board))
    asked = {"experimentName": "", "hparamsLimit": 5}
    said = json.loads(client.post("/data/plugin/hparams/experiment", json=asked).data)
    assert [info["name"] for info in said["hparamInfos"]] == ["loss", "method", "points", "seed", "split"]
    layout = json.loads(client.get("/data/plugin/custom_scalars/layout").data)
    charts = [chart["title"] for chart in layout["category"][0]["chart"]]
    assert charts == ["mIoU", "loss", "IoU per class", "predicted ÷ true area", "predicted share"]
    (table,) = (tmp_path / "csv").rglob("metrics.csv")
    (row,) = csv.DictReader(table.read_text().splitlines())
    assert (row["miou/val"], row["scores/boundary_iou"], row["step"]) == ("0.25", "0.2", "1")
    shares = {name: value for name, value in row.items() if name.startswith("share")}
    assert shares == {"share_predicted/Road": "0.3", "share_ratio/Road": "1.5", "share_true/Road": "0.2"}


def _application(board: program.TensorBoard) -> Any:
    from tensorboard.backend import application

    ingester = board._make_data_ingester()
    ingester.start()
    return application.TensorBoardWSGIApp(
        board.flags,
        board.plugin_loaders,
        ingester.data_provider,
        board.assets_zip_provider,
        ingester.deprecated_multiplexer,
    )
