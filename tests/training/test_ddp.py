"""Two processes train as one does, validate each image once, and leave one run; in a sweep they train its job only."""

import csv
import json
import math
import os
import socket
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
import yaml
from processes import TINY, Ended, train, warm
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.utils.data import DataLoader

from sparse_seg.classes import IGNORE_INDEX
from sparse_seg.data.dataset import EpochBatchSampler, SegmentationDataset
from sparse_seg.data.synthetic import synthetic
from sparse_seg.data.transforms import resize_mask
from sparse_seg.losses import PartialCrossEntropy, PartialFocal
from sparse_seg.training.shares import RunningShares
from sparse_seg.training.task import SegmentationTask
from sparse_seg.training.teacher import TeacherTask

CLASSES, SIZE, BATCH, STEPS, VAL_IMAGES = 3, 8, 4, 5, 7
LABELS = [(1, 64), (40, 3), (7, 0), (0, 0), (0, 30)]
"""Labelled pixels of the first image of each rank, step by step; its other images have none."""


class NanOnRank(nn.Module):
    def forward(self, logits: Tensor, target: Tensor, image: Tensor | None = None) -> Tensor:
        self.step = getattr(self, "step", 0) + 1
        here = torch.distributed.get_rank() == 1 and self.step == 2
        return PartialCrossEntropy()(logits, target) * (math.nan if here else 1)


class TrainLoss(L.Callback):
    value = math.nan

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.value = pl_module.train_loss()


def dataset(count: int) -> SegmentationDataset:
    rng = np.random.default_rng(count)
    images = rng.integers(0, 256, (count, SIZE, SIZE, 3)).astype(np.uint8)
    targets = rng.choice(np.array([0, 1, 2, IGNORE_INDEX], np.uint8), (count, SIZE, SIZE))
    return SegmentationDataset(images, targets)


def training_set() -> SegmentationDataset:
    made = dataset(STEPS * BATCH)
    targets = np.full_like(np.asarray(made.targets), IGNORE_INDEX)
    for batch, labels in zip(EpochBatchSampler(STEPS * BATCH, BATCH, shuffle=True), LABELS, strict=True):
        for (_, image), n in zip(batch, labels, strict=False):  # the first two: one for each rank
            targets[image].ravel()[:n] = np.arange(n) % CLASSES
    made.targets = list(targets)
    return made


def fit(rank: int, world: int, environment: dict[str, str], loss: str) -> None:
    """One epoch as process `rank` of `world`; what came out of it is saved."""
    if world > 1:
        os.environ.update(environment, LOCAL_RANK=str(rank))  # so Lightning starts no processes itself
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, CLASSES, 1))
    network[1].eval()  # statistics of a batch differ between one process and two; Lightning leaves it like this
    network[1].running_mean.uniform_(-1, 1)
    weights = [0.5, 1.0, 3.0]
    losses = {"ce": PartialCrossEntropy(weights), "focal": PartialFocal(alpha=weights), "nan": NanOnRank()}
    losses["shares"] = losses["teacher"] = losses["ce"]
    epochs = 2 if loss in ("shares", "teacher") else 1
    # A threshold that some pixels pass and others do not, on each rank another number of them.
    made = partial(TeacherTask, threshold=0.5) if loss == "teacher" else SegmentationTask
    task = made(
        network, losses[loss], class_names=[f"class {c}" for c in range(CLASSES)],
        optimizer=lambda p: torch.optim.Adam(p, lr=0.01),
    )  # fmt: skip
    if epochs > 1:
        own = torch.full((STEPS * BATCH, CLASSES), 1 / 3, dtype=torch.float64)
        task.use_shares(RunningShares([str(k) for k in range(len(own))], own, own, torch.arange(len(own)), start=0.5))
    train_loss = TrainLoss()
    trainer = L.Trainer(
        accelerator="cpu", devices=world, strategy="ddp" if world > 1 else "auto", precision="64-true",
        max_epochs=epochs, callbacks=[train_loss], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, use_distributed_sampler=False,
    )  # fmt: skip
    loaders = [
        DataLoader(data, batch_sampler=EpochBatchSampler(len(data), BATCH, shuffle, rank=rank, world=world))
        for data, shuffle in ((training_set(), True), (dataset(VAL_IMAGES), False))
    ]
    trainer.fit(task, *loaders)
    assert trainer.global_step == STEPS * epochs
    assert not network[1].training
    content: dict[str, Any] = {"weights": task.scored_network.state_dict(), "student": network.state_dict()}
    content["rel"] = 1e-7 if loss == "teacher" else 1e-9  # a teacher's own term is in float32
    content |= {"confusion": task.confusion_matrix, "train_loss": train_loss.value}
    content["ground"] = None if task.shares is None else task.shares.ground
    torch.save(content, f"{loss}-{rank}-{world}.pt")


def meeting_place() -> dict[str, str]:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(s.getsockname()[1]), "WORLD_SIZE": "2", "NODE_RANK": "0"}


@pytest.fixture(scope="module", params=["ce", "focal", "shares", "teacher"])
def fits(request, tmp_path_factory) -> list[dict]:
    """What one process made, and the two ranks of DDP."""
    cwd, place = tmp_path_factory.mktemp("fits"), meeting_place()
    parts = [(0, 1), (0, 2), (1, 2)]
    ended = warm(fit, [(rank, world, place, request.param) for rank, world in parts], cwd)
    assert [end.code for end in ended] == [0, 0, 0], ended
    return [torch.load(cwd / f"{request.param}-{rank}-{world}.pt") for rank, world in parts]


def test_the_ranks_hold_very_different_numbers_of_labels():
    data = training_set()
    samplers = [EpochBatchSampler(STEPS * BATCH, BATCH, True, rank=r, world=2) for r in (0, 1)]

    def labels(part: list[tuple[int, int]]) -> int:
        return int((np.asarray(data.targets)[[i for _, i in part]] != IGNORE_INDEX).sum())

    assert [tuple(map(labels, parts)) for parts in zip(*samplers, strict=True)] == LABELS


@pytest.mark.parametrize("which", ["weights", "student"])
def test_two_processes_train_the_weights_of_one(fits, which):
    alone, *ranks = (f[which] for f in fits)
    assert all(v.dtype == torch.float64 for v in alone.values() if v.is_floating_point())
    for rank in ranks:
        for key, value in alone.items():
            torch.testing.assert_close(rank[key], value, rtol=0, atol=1e-9)


def test_two_processes_report_the_training_loss_of_one(fits):
    alone, *ranks = (f["train_loss"] for f in fits)
    assert math.isfinite(alone)
    assert ranks == pytest.approx([alone, alone], rel=fits[0]["rel"])


def test_two_processes_find_the_shares_of_one(fits):
    alone, *ranks = (f["ground"] for f in fits)
    if alone is None:
        return
    assert (alone - 1 / 3).abs().max() > 0.01
    for rank in ranks:
        torch.testing.assert_close(rank, alone, rtol=0, atol=1e-6)


def test_two_processes_count_the_validation_of_one(fits):
    alone, *ranks = (f["confusion"] for f in fits)
    assert VAL_IMAGES % 2 == 1
    assert sum(map(sum, alone)) == int((np.asarray(dataset(VAL_IMAGES).targets) != IGNORE_INDEX).sum())
    assert ranks == [alone, alone]


def test_a_loss_that_is_nan_on_one_rank_ends_both_with_the_same_message(tmp_path):
    place = meeting_place()
    for end in warm(fit, [(0, 2, place, "nan"), (1, 2, place, "nan")], tmp_path):
        assert end.code == 1
        assert "UserError: the loss is nan at step 2 (epoch 1)" in end.err


SWEEP = (
    "-m", *TINY, "trainer.devices=2", "data.source.images=9", "loss=custom", "loss._target_=probes.fragile_loss",
    "+loss.rank=1,9,8",
)  # fmt: skip


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> tuple[Ended, Path]:
    """Three jobs of two processes each; in the first job, the second process fails."""
    cwd = tmp_path_factory.mktemp("sweep")
    ended = train(*SWEEP, cwd=cwd)
    assert ended.out.count("\njob ") == 3, ended
    return ended, cwd / "outputs" / "runs"


def figure(folder: Path, key: str) -> int:
    return yaml.safe_load((folder / "config.yaml").read_text())["figures"][key]


@pytest.fixture(scope="module")
def good(sweep) -> Path:
    """The folder of the second job."""
    found = {figure(p.parent, "loss.rank"): p.parent for p in sweep[1].rglob("result.json")}
    assert sorted(found) == [8, 9]
    return found[9]


def test_children_of_a_job_train_that_job_and_never_the_sweep(sweep):
    ended, study = sweep
    assert sorted(figure(f, "loss.rank") for f in study.iterdir() if f.is_dir()) == [1, 8, 9]
    assert ended.out.count("3 runs, 0 of them done already") == 1
    assert ended.code == 1
    assert "1 of 3 runs failed" in ended.err


def test_jobs_after_a_failed_rank_are_right(sweep, good):
    """Both differ in a number that their loss does not use, so that their figures must be the same."""
    results = [json.loads(p.read_text()) for p in sweep[1].rglob("result.json")]
    assert len(results) == 2
    for key in ("train_loss", "val_miou", "confusion_matrix"):
        assert results[0][key] == results[1][key], key


def test_a_rank_that_fails_ends_its_job_alone_and_is_heard(sweep):
    ended, study = sweep
    assert "RuntimeError: rank 1 broke" in ended.err
    (failed,) = study.rglob("failed.json")
    kept = json.loads(failed.read_text())
    assert "+loss.rank=1" in kept["overrides"]
    assert kept["error"] == "RuntimeError: rank 1 broke"
    assert not (failed.parent / "result.json").exists()


def test_a_run_of_two_processes_is_one_run(good):
    result = json.loads((good / "result.json").read_text())
    assert result["devices"] == 2
    with (good / "history.csv").open() as f:
        assert [row["epoch"] for row in csv.DictReader(f)] == ["1", "2"]
    assert {path.parent for path in good.rglob("events.out.tfevents*")} == {good}  # one run of the dashboard
    assert not list(good.rglob("lightning_logs"))
    assert not list(good.rglob("*.tmp"))
    events = EventAccumulator(str(good)).Reload()
    assert [e.value for e in events.Scalars("loss/train")] == pytest.approx(result["train_loss"])
    log = (good / "log.txt").read_text()
    assert "warning" not in log
    assert log.count("epoch 1/2") == log.count("epoch 2/2") == log.count("done: ") == 1


def test_each_validation_image_counts_once(good):
    result = json.loads((good / "result.json").read_text())
    samples = synthetic(images=9, size=64).samples
    truth = np.concatenate(
        [resize_mask(s.read()[1], 32).ravel() for s in samples if s.image_id in result["val_images"]]
    )
    assert len(result["val_images"]) == 3
    rows = [sum(row) for row in result["confusion_matrix"]]
    assert rows == np.bincount(truth, minlength=256)[: len(rows)].tolist()
