"""A method of one's own: a class, a YAML and the command line; scores and losses of one's own beside it."""

import copy
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cli import TINY, configuration, train, trained
from torch import Tensor
from torchmetrics import Metric

from sparse_seg import metrics
from sparse_seg.losses import PartialCrossEntropy
from sparse_seg.names import canonical
from sparse_seg.networks.found import find_checkpoint
from sparse_seg.networks.trained import load_trained
from sparse_seg.runs import build
from sparse_seg.runs.folder import defaults_of
from sparse_seg.runs.identity import differing_keys, flatten
from sparse_seg.runs.sources import image_set
from sparse_seg.training.scores import BoundaryIoU
from sparse_seg.training.task import Batch, SegmentationTask

ROOT = Path(__file__).resolve().parents[2]


class Teacher(SegmentationTask):
    """A copy follows the network slowly; where colours differ, the network should say what the copy says."""

    views = 2

    def __init__(self, *args: Any, decay: float = 0.5, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.decay = decay
        self.teacher = copy.deepcopy(self.network).requires_grad_(False)

    @property
    def scored_network(self) -> torch.nn.Module:
        return self.teacher

    def training_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        loss, n_labelled = super().training_loss(batch)
        with torch.no_grad():
            said = self.teacher(batch["image"]).softmax(1)
        return loss + (self.network(batch["image_strong"]).softmax(1) - said).square().mean(), n_labelled

    def on_train_batch_end(self, *_: Any) -> None:
        pairs = zip(self.teacher.state_dict().values(), self.network.state_dict().values(), strict=True)
        for mine, other in pairs:
            mine.copy_(mine * self.decay + other * (1 - self.decay) if mine.is_floating_point() else other)


class Errors(Metric):
    """Pixels that are wrong, whatever the class."""

    wrong: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("wrong", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, target: Tensor) -> None:
        self.wrong += ((logits.argmax(1) != target) & (target != 255)).sum()

    def compute(self) -> dict[str, Tensor]:
        return {"errors": self.wrong}


def frequent(confusion: Sequence[Sequence[int]], class_names: Sequence[str], least: int = 0) -> dict[str, float]:
    return {f"pixels_{name}": sum(row) for name, row in zip(class_names, confusion, strict=True) if sum(row) >= least}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a --config-dir whose method is this module's."""
    monkeypatch.setitem(sys.modules, "own_methods", sys.modules[__name__])
    (tmp_path / "conf" / "method").mkdir(parents=True)
    (tmp_path / "conf/method/teacher.yaml").write_text("_target_: own_methods.Teacher\n_partial_: true\ndecay: 0.7\n")
    (tmp_path / "cwd").mkdir()
    return tmp_path


def test_a_methods_teacher_is_scored_saved_and_loaded_and_own_scores_are_recorded(own: Path) -> None:
    words = (
        *TINY, "method=teacher", "trainer.max_epochs=2", "trainer.precision=32-true", "optimizer.lr=1e-2",
        "+scores.wrong._target_=own_methods.Errors", "+scores.pixels._target_=own_methods.frequent",
        "+scores.pixels._partial_=true",
    )  # fmt: skip
    folder, result = trained("--config-dir", str(own / "conf"), *words, cwd=own / "cwd")
    assert result["method"] == "teacher"
    assert ",method=teacher," in folder.name
    confusion = np.array(result["confusion_matrix"])
    assert result["scores"]["errors"] == confusion.sum() - np.trace(confusion)
    assert result["scores"][f"pixels_{next(iter(result['iou']))}"] == confusion[0].sum()
    assert set(result["scores"]) <= set((folder / "history.csv").read_text().splitlines()[0].split(","))
    with configuration() as configured:
        cfg, _ = configured(*(w for w in words if not w.startswith(("method", "+scores"))))
        images, truths = (np.stack(list(a)) for a in build.data_module(cfg, image_set(cfg)).validation_arrays())
    network = load_trained(find_checkpoint(folder, final=True)).network
    with torch.inference_mode():
        said = network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).float() / 255).argmax(1).numpy()
    assert np.trace(confusion) == (said == truths).sum()


def test_a_method_that_is_none_is_refused_in_a_line(tmp_path: Path) -> None:
    outcome = train(*TINY, "method._target_=torch.nn.Identity", cwd=tmp_path)
    assert outcome.code == 1
    assert outcome.err == (
        "error: method._target_=torch.nn.Identity must be a subclass of sparse_seg.training.SegmentationTask\n"
    )


def test_scores_can_be_left_out_and_do_not_make_another_run(tmp_path: Path) -> None:
    _, result = trained(*TINY, "logger=none", "callbacks.panels=null", "scores.boundary_iou=null", cwd=tmp_path)
    assert result["scores"] == {}
    outcome = train(*TINY, "logger=none", "callbacks.panels=null", cwd=tmp_path)
    assert outcome.out.startswith("done already")


def test_padding_images_count_nothing_in_boundary_iou() -> None:
    score, logits = BoundaryIoU(["a", "b"]), torch.randn(2, 2, 16, 16)
    target = torch.randint(2, (2, 16, 16))
    score.update(logits, target)
    before = score.compute()
    score.update(logits, torch.full_like(target, 255))
    assert score.compute() == before


def test_a_batch_of_torchgeo_trains_with_its_mask() -> None:
    task = SegmentationTask(torch.nn.Conv2d(3, 2, 1), PartialCrossEntropy(), class_names=["a", "b"])
    image, mask = torch.rand(2, 3, 8, 8), torch.randint(2, (2, 1, 8, 8))
    whole = task.whole_batch({"image": image, "mask": mask})
    loss, n_labelled = task.training_loss(whole)
    expected, n_expected = task.training_loss({"image": image, "target": mask[:, 0]})
    assert loss == expected
    assert n_labelled == n_expected == 128


def kept() -> list[tuple[str, dict[str, Any]]]:
    lines = []
    no_runs = ("flips.jsonl", "loop.jsonl")  # scores of runs, and of a probe click by click
    gone = ("self-training.jsonl",)  # runs of a method that was tried, and is no longer there
    for path in sorted(p for p in (ROOT / "docs" / "results").glob("*.jsonl") if p.name not in (*no_runs, *gone)):
        lines += [(path.name, json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    return lines


def test_kept_lines_are_still_the_same_runs() -> None:
    """Figures of today's configuration with the same choices and values differ from a kept line's in nothing."""
    lines = kept()
    assert len(lines) >= 184
    composed: dict[tuple[str, ...], dict[str, Any]] = {}
    with configuration() as configured:
        for name, line in lines:
            old = line["figures"]
            groups = {"data": line["data"], "loss": line["loss"], "augment": line["augment"]}
            groups |= {"optimizer": line["optimizer"], "scheduler": line["scheduler"]}
            groups |= {"method": line.get("method", "points"), "prior": line.get("prior", "none")}
            words = tuple(f"{k}={v}" for k, v in groups.items())
            if words not in composed:
                composed[words] = flatten(defaults_of(configured(*words)[1]))
            usual = composed[words]
            # What the line says and today's configuration has not, or has with another name, would be a difference.
            today = canonical(usual) | {k: v for k, v in canonical(old).items() if not k.endswith("_target_")}
            assert differing_keys(old, today, usual) == [], name
            assert not {k for k in canonical(old) if k.endswith("_target_") and k not in canonical(usual)}, name
    assert metrics.mean_iou(lines[0][1]["confusion_matrix"]) == pytest.approx(lines[0][1]["miou_final"])
