"""The methods that come with the project: the teacher and the probe."""

import copy
import re
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from cli import BARE, TINY, train, trained
from torch import nn

import sparse_seg
from sparse_seg.data import synthetic
from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.errors import UserError
from sparse_seg.losses import PartialCrossEntropy
from sparse_seg.networks.build import create
from sparse_seg.networks.probe import Probe
from sparse_seg.training.prior import estimated_prior
from sparse_seg.training.probe import ProbeTask
from sparse_seg.training.shares import Shares
from sparse_seg.training.teacher import TeacherTask

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers.*", "ignore:.*in eval mode.*", "ignore:.*will run with no optimizer.*"
)


class Line(nn.Module):
    """Logits that are linear in the image, with batch norm, whose buffers follow."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.head = nn.Conv2d(3, 3, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.norm(image))
        return out


def batches(count: int, labelled: bool = False) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    made = []
    for _ in range(count):
        target = torch.full((2, 8, 8), 255)
        target[:, 0, :3] = torch.arange(3)
        if labelled:
            target = torch.randint(3, (2, 8, 8), generator=generator)
        image = torch.rand(2, 3, 8, 8, generator=generator)
        made.append({"image": image, "target": target, "index": torch.tensor([0, 1])})
    return made


class Trail(L.Callback):
    """The network after every step."""

    def __init__(self) -> None:
        self.states: list[dict[str, torch.Tensor]] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.states.append(copy.deepcopy(pl_module.network.state_dict()))


def fitted(task: TeacherTask, train: list[dict[str, torch.Tensor]], accumulated: int = 1) -> Trail:
    trail = Trail()
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, callbacks=[trail], enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, log_every_n_steps=1,
        accumulate_grad_batches=accumulated,
    )  # fmt: skip
    trainer.fit(task, *[torch.utils.data.DataLoader(b, batch_size=None) for b in (train, train[:1])])
    return trail


def teacher(**options: Any) -> TeacherTask:
    torch.manual_seed(0)
    task = TeacherTask(Line(), PartialCrossEntropy(), class_names=["a", "b", "c"], **options)
    own = torch.tensor([[0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]], dtype=torch.float64)
    task.use_shares(Shares(["0", "1"], own, own, torch.arange(2)))
    return task


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"decay": 1.5}, "method.decay=1.5 must be a number from 0 to 1"),
        ({"start": -0.1}, "method.start=-0.1 must be a number from 0 to 1"),
        ({"threshold": "abc"}, "method.threshold='abc' must be a number from 0 to 1"),
        ({"threshold": float("nan")}, "method.threshold=nan must be a number from 0 to 1"),
        ({"weight": -1}, "method.weight=-1 must be a number of at least 0"),
        ({"weight": True}, "method.weight=True must be a number of at least 0"),
    ],
)
def test_a_teacher_of_wrong_numbers_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        teacher(**options)


def test_a_negative_strength_is_refused(tmp_path: Path) -> None:
    words = ("method=probe", "method.allow_random=true", "method.strength=-1")
    outcome = train(*TINY, *BARE, *words, cwd=tmp_path)
    assert (outcome.code, outcome.err) == (1, "error: method.strength=-1 must be a number of at least 0\n")


@pytest.mark.parametrize("accumulated", [1, 2])
def test_the_teacher_is_the_running_average_of_the_weights_and_the_result(accumulated: int) -> None:
    task = teacher(start=1.0)
    average = copy.deepcopy(task.network.state_dict())
    states = fitted(task, batches(6), accumulated).states[accumulated - 1 :: accumulated]
    for t, state in enumerate(states, start=1):
        past = min(0.99, (1 + t) / (10 + t))
        for key, value in state.items():
            average[key] = past * average[key] + (1 - past) * value if value.is_floating_point() else value
    for key, value in task.teacher.state_dict().items():
        torch.testing.assert_close(value, average[key])
        torch.testing.assert_close(task.scored_state[key], value)
    assert not task.teacher.training
    assert task.scored_network is task.teacher


def test_it_labels_what_it_is_sure_of_with_classes_that_the_image_has() -> None:
    task, batch = teacher(threshold=0.0), batches(1)[0]
    with torch.no_grad():
        task.teacher.head.bias[2] = 50.0  # it says class 2 of everything, which image 0 does not have
        logits = task.network(batch["image"]).requires_grad_()
    with torch.enable_grad():
        task._taught(logits, batch).backward()
    assert logits.grad is not None
    pulled = (logits.grad < 0).any(dim=(2, 3))  # classes that the loss asks more of
    assert not pulled[0, 2]
    assert pulled[1].tolist() == [False, False, True]
    assert not logits.grad[:, :, 0, :3].any()  # the points are the other term's
    task.threshold = 0.9
    assert task._taught(logits[:1], {k: v[:1] for k, v in batch.items()}) == 0  # less than 0.9 is left of image 0


def test_it_waits_for_a_share_of_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    task = teacher(start=0.5)
    monkeypatch.setattr(task, "_taught", lambda logits, batch: asked.append(task.global_step) or logits.sum() * 0)
    fitted(task, batches(10))
    assert asked == [5, 6, 7, 8, 9]


def test_with_full_masks_it_is_the_average_alone() -> None:
    task = teacher(threshold=0.0)
    batch = batches(1, labelled=True)[0]
    assert task._taught(task.network(batch["image"]), batch) == 0


def test_a_run_with_a_teacher_saves_it(tmp_path: Path) -> None:
    folder, result = trained(*TINY, "logger=none", "callbacks.panels=null", "method=teacher", cwd=tmp_path)
    assert result["method"] == "teacher"
    assert sparse_seg.load(folder).predict(np.zeros((64, 64, 3), np.uint8)).shape == (64, 64)


def test_a_probe_is_one_word_and_predicts(tmp_path: Path) -> None:
    words = (*TINY[:-1], "data.source.images=8", "points=20")
    refused = train(*words, "method=probe", cwd=tmp_path)
    assert refused.code == 1
    assert "method=probe with model.encoder_weights=null" in refused.err
    assert "method.allow_random=true" in refused.err
    folder, result = trained(*words, "method=probe", "method.allow_random=true", "prior=estimated", cwd=tmp_path)
    assert (result["method"], result["epochs"]) == ("probe", 1)
    assert result["strength"] > 0
    assert result["features_seconds"] >= 0
    assert {"panel.png", "shares.png"} <= {p.name for p in (folder / "panels").iterdir()}
    assert list(folder.glob("events.out.tfevents*"))
    network = sparse_seg.load(folder).trained.network.network
    assert type(network).__name__ == "Probe"
    assert network.weight.abs().sum() > 0


def test_a_probe_is_the_same_whatever_the_workers(tmp_path: Path) -> None:
    words = (*TINY, *BARE, "method=probe", "method.allow_random=true", "points=5")
    found = []
    for workers in (0, 2):
        (tmp_path / str(workers)).mkdir()
        found.append(trained(*words, f"data.num_workers={workers}", cwd=tmp_path / str(workers))[1])
    one, two = found
    assert one["confusion_matrix"] == two["confusion_matrix"]
    assert one["train_loss"] == two["train_loss"]


def test_the_second_probe_of_the_same_images_runs_no_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scored(cache: str, pretrained: bool = True) -> ProbeTask:
        data = SparsePointsDataModule(synthetic(images=5, size=64), points=5, size=64, cache_dir=str(tmp_path / cache))
        data.setup()
        torch.manual_seed(0)
        network = create("unet", "resnet18", None, classes=5)
        network.pretrained = pretrained
        names = data.classes.names
        task = ProbeTask(network, PartialCrossEntropy(), class_names=names, allow_random=True)
        task.use_shares(estimated_prior(network, data))
        trainer = L.Trainer(
            accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, num_sanity_val_steps=0, log_every_n_steps=1,
        )  # fmt: skip
        trainer.fit(task, datamodule=data)
        return task

    first = scored("one")
    assert len(list((tmp_path / "one" / "features").iterdir())) == 5
    without = scored("two", pretrained=False)
    assert not (tmp_path / "two" / "features").exists()  # each seed makes another encoder
    monkeypatch.setattr(Probe, "deeper", None)
    again = scored("one")
    for other in (without, again):
        assert other.confusion_matrix == first.confusion_matrix
        assert other.train_loss() == first.train_loss()
        assert torch.equal(other.probe.weight, first.probe.weight)
    assert first.strength == again.strength == first.shares.probe.strength
