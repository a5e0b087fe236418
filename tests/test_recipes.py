"""Recipes of CONTRIBUTING.md, each carried out with a tiny example: a part is added, and no other file changes.

Those of methods, scores, formats and tables are carried out beside what they add to, in the folders of tests.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from cli import BARE, SMALL, TINY, trained
from processes import TINY as JOB
from processes import TRAIN, environment

from sparse_seg.networks.build import NormalisedNetwork
from sparse_seg.networks.trained import load_trained

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"
SEAMS = ["loss", "method", "prior", "network", "score"]
SEAMS += ["image format", "points format", "data set", "table", "launcher"]
LOSS = '''
import torch
from torch import Tensor, nn

def huber(logits: Tensor, target: Tensor, delta: float = 1.0) -> Tensor:
    """Huber loss of the winning probability, mean over the labelled pixels."""
    at = (target != 255).nonzero(as_tuple=True)
    if not len(at[0]):
        return logits.sum() * 0
    p = logits.softmax(1)[at[0], :, at[1], at[2]].gather(1, target[at][:, None])
    return nn.functional.huber_loss(p, torch.ones_like(p), delta=delta)

class Huber(nn.Module):
    def __init__(self, delta: float = 1.0) -> None:
        super().__init__()
        self.delta = delta

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return huber(logits, target, delta=self.delta)
'''
DATA = '''
from pathlib import Path

import numpy as np

from sparse_seg.classes import Classes
from sparse_seg.data import ImageSet, Sample
from sparse_seg.files import digest

def read(path):
    values = np.load(path)
    return values[..., :3], values[..., 3]

def arrays(root: str) -> ImageSet:
    """Arrays (H, W, 4): red, green, blue and the class."""
    files = sorted(Path(root).glob("*.npy"))
    samples = [Sample(f.stem, "1", digest(f).hex(), lambda f=f: read(f)) for f in files]
    return ImageSet(Classes(("Dark", "Bright"), ((0, 0, 0), (255, 255, 255))), samples)
'''
PRIOR = '''
from dataclasses import replace

import torch

from sparse_seg.training import Shares, own_shares

def even(network, data, *, least: float = 0.0) -> Shares:
    """All classes have the same share of every image's ground."""
    own = own_shares(data)
    return replace(own, ground=torch.full_like(own.ground, 1 / len(data.classes)))
'''
LAUNCHER = '''
from collections.abc import Sequence

from hydra._internal.core_plugins.basic_launcher import BasicLauncher

class Backwards(BasicLauncher):
    """One job after the other, the last one first."""

    def launch(self, job_overrides, initial_job_idx):
        return super().launch(list(job_overrides)[::-1], initial_job_idx)[::-1]
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of modules and YAMLs of one's own, importable as it is for whoever works in it."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("own_loss", "own_data", "own_prior"):
        sys.modules.pop(name, None)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_recipe_of_a_loss(own: Path) -> None:
    write(own / "own_loss.py", LOSS)
    write(own / "conf" / "loss" / "huber.yaml", "_target_: own_loss.Huber\ndelta: 0.5\n")
    _, result = trained("--config-dir", str(own / "conf"), "loss=huber", *TINY, *BARE, cwd=own / "cwd")
    assert result["loss"] == "huber"
    assert 0 < result["train_loss"][0] < 0.5

    from own_loss import Huber  # type: ignore[import-not-found]

    logits, target = torch.zeros(1, 2, 2, 2, requires_grad=True), torch.full((1, 2, 2), 255)
    target[0, 0, 1] = 1
    Huber()(logits, target).backward()
    assert logits.grad is not None
    assert (logits.grad.abs().sum(1) > 0).tolist() == [[[False, True], [False, False]]]


def test_recipe_of_a_prior(own: Path) -> None:
    write(own / "own_prior.py", PRIOR)
    write(own / "conf" / "prior" / "even.yaml", "_target_: own_prior.even\n_partial_: true\nleast: 0.1\n")
    folder, result = trained("--config-dir", str(own / "conf"), "prior=even", *TINY, *BARE, cwd=own / "cwd")
    assert result["prior"] == "even"
    rows = (folder / "shares.csv").read_text().splitlines()
    assert rows[0] == "image,class,points,estimated"
    assert {row.rsplit(",", 1)[1] for row in rows[1:]} == {"0.200000"}


def test_recipe_of_a_data_set(own: Path) -> None:
    write(own / "own_data.py", DATA)
    yaml = (CONF / "data" / "dubai.yaml").read_text().replace("sparse_seg.data.dubai", "own_data.arrays")
    write(own / "conf" / "data" / "arrays.yaml", yaml)
    for k in range(5):
        write(own / "arrays" / f"{k}.npy", "")
        values = np.random.default_rng(k).integers(0, 256, (40, 40, 4)).astype(np.uint8)
        values[..., 3] = values[..., 0] > 127
        np.save(own / "arrays" / f"{k}.npy", values)
    words = ("--config-dir", str(own / "conf"), "data=arrays", f"data.root={own / 'arrays'}", "points=3")
    folder, result = trained(*words, *SMALL, *BARE, cwd=own / "cwd")
    assert set(result["iou"]) == {"Dark", "Bright"}
    assert len(result["val_images"]) == 1
    assert len((folder / "points.csv").read_text().splitlines()) == 1 + 4 * 2 * 3


def test_recipe_of_a_network_that_trains_and_predicts(own: Path) -> None:
    yaml = "_target_: sparse_seg.networks.create\narch: fpn\nencoder: resnet18\nencoder_weights: null\n"
    write(own / "conf" / "model" / "light.yaml", yaml)
    small = [word for word in TINY if not word.startswith("model.")]
    words = ("--config-dir", str(own / "conf"), "model=light", *small, "logger=none", "callbacks.panels=null")
    folder, _ = trained(*words, cwd=own / "cwd")
    network = load_trained(folder / "checkpoints" / "best.ckpt").network
    assert isinstance(network, NormalisedNetwork)
    assert isinstance(network.network, smp.FPN)
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 5, 64, 64)


@pytest.mark.slow
def test_recipe_of_a_launcher(tmp_path: Path) -> None:
    """The second job fails under it; the first one, which comes after it, is done all the same."""
    write(tmp_path / "hydra_plugins" / "backwards.py", LAUNCHER)
    write(tmp_path / "conf/hydra/launcher/backwards.yaml", "_target_: hydra_plugins.backwards.Backwards\n")
    write(tmp_path / "fate", "1 raise")
    words = (*JOB, "data.source._target_=scenes.fragile", "trainer.max_epochs=1", "data.source.seed=0,1")
    command = [sys.executable, str(TRAIN), "-m", "--config-dir", "conf", *words, "hydra/launcher=backwards"]
    path = os.pathsep.join([str(Path(__file__).parent), str(tmp_path)])  # of scenes.py, and of the launcher
    ended = subprocess.run(command, cwd=tmp_path, env=environment(PYTHONPATH=path), capture_output=True, text=True)
    assert ended.returncode == 1
    assert "1 of 2 runs failed" in ended.stderr
    assert len(list(tmp_path.glob("outputs/runs/*/result.json"))) == 1
    assert ended.stdout.index("data.source.seed=1") < ended.stdout.index("data.source.seed=0")


def test_every_recipe_names_its_test() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    _, *recipes = re.split(r"^### ", page.partition("## Recipes")[2], flags=re.MULTILINE)
    assert [text.splitlines()[0].split(" ", 1)[1] for text in recipes] == SEAMS
    for text in recipes:
        ((name, path),) = re.findall(r"\[([\w/]+)\]\((tests/[\w/]*test_\w+\.py)\)", text)
        assert path.startswith(name) or f"def {name}" in (ROOT / path).read_text(encoding="utf-8")
