"""Every YAML composes and builds what it names; a loss of a user's own needs two words or one YAML, nothing else."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
import yaml
from cli import BARE, ROOT, SMALL, TINY, Configured, configuration, train, trained
from folders import make
from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from hydra.utils import get_object, instantiate
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf
from sklearn.utils.class_weight import compute_class_weight

from sparse_seg.classes import LAND_COVER
from sparse_seg.data.dubai import dubai
from sparse_seg.data.sample import ImageSet
from sparse_seg.data.synthetic import synthetic_samples
from sparse_seg.losses import as_module
from sparse_seg.runs import build as parts
from sparse_seg.runs import schema
from sparse_seg.runs.folder import defaults_of
from sparse_seg.runs.sources import image_set
from sparse_seg.training.task import SegmentationTask

CONF = ROOT / "conf"
FILES = sorted(path.relative_to(CONF) for path in CONF.rglob("*.yaml"))
OBJECTS = [path for path in FILES if len(path.parts) == 2 and path.parts[0] != "experiment"]
EXPERIMENTS = [path.stem for path in FILES if path.parts[0] == "experiment"]
WORDS = {
    "prior=given": ["prior.shares=shares.csv"],
    "loss=custom": ["loss._target_=torch.nn.functional.cross_entropy"],
    "data=synthetic": TINY[1:5],
    "data=folder": SMALL[:2],
    "data=dubai": SMALL[:2],
}


@pytest.fixture
def configured() -> Iterator[Configured]:
    with configuration() as function:
        yield function


def parameters() -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.zeros(2))]


def build(group: str, cfg: DictConfig, tmp_path: Path) -> None:
    """Build the object of a group as run.py does, and check that it is what a run needs of it."""
    node = cfg[group]
    if group == "data":
        if node.source._target_.endswith("data.dubai") and not os.environ.get("SPARSE_SEG_DATA"):
            return  # composed is all that can be asked
        if node.source._target_.endswith("data.folder"):
            node.root = str(make(tmp_path / "own", [f"{k}.png" for k in range(6)]))
        is_dubai = node.source._target_.endswith("data.dubai")
        images = ImageSet(LAND_COVER, synthetic_samples(6, 64)) if is_dubai else image_set(cfg)
        data = parts.data_module(cfg, images)
        assert len(data.train_indices) + len(data.val_indices) == len(images.samples)
        assert next(iter(data.train_dataloader()))["image"].shape == (4, 3, 32, 32)
    elif group == "model":
        network = instantiate(node, classes=5, encoder_weights=None).eval()
        assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 5, 32, 32)
    elif group == "loss":
        target = torch.zeros(1, 4, 4, dtype=torch.int64)
        assert as_module(instantiate(node))(torch.randn(1, 5, 4, 4), target).isfinite()
    elif group == "augment":
        assert not node or instantiate(node).transforms
    elif group == "optimizer":
        assert isinstance(instantiate(node)(parameters()), torch.optim.Optimizer)
    elif group == "scheduler":
        optimizer = torch.optim.Adam(parameters(), lr=1.0)
        schedule = instantiate(node) or None
        assert schedule is None or isinstance(schedule(optimizer, total_steps=5), torch.optim.lr_scheduler.LRScheduler)
    elif group == "trainer":
        if node.accelerator == "gpu" and not (torch.cuda.is_available() or torch.backends.mps.is_available()):
            pytest.skip("no GPU")
        assert isinstance(instantiate(node, precision="32-true", logger=False), L.Trainer)
    elif group == "method":
        assert issubclass(parts.method(cfg).func, SegmentationTask)
    elif group == "prior":
        assert not node or callable(instantiate(node))
    elif group == "scores":
        assert set(parts.scores(cfg, LAND_COVER.names, "masks")) == set(node)
    elif group == "callbacks":
        assert all(isinstance(instantiate(callback), L.Callback) for callback in node.values())
    elif group == "logger":
        assert all(isinstance(made, Logger) for made in parts.loggers(cfg, tmp_path, 0))
    else:
        pytest.fail(f"a group that this test does not know: {group}")


@pytest.mark.parametrize("path", OBJECTS, ids=str)
def test_every_choice_composes_and_builds(configured: Configured, tmp_path: Path, path: Path) -> None:
    word = f"{path.parts[0]}={path.stem}"
    cfg, choices = configured(word, *WORDS.get(word, ()))
    assert choices[path.parts[0]] == path.stem
    schema.check(cfg)
    build(path.parts[0], cfg, tmp_path)


@pytest.mark.skipif(not os.environ.get("SPARSE_SEG_DATA"), reason="SPARSE_SEG_DATA is not set: no Dubai data")
def test_dubai_finds_its_data_by_the_environment_alone(configured: Configured) -> None:
    cfg, _ = configured()
    assert cfg.data.root == os.environ["SPARSE_SEG_DATA"]
    assert len(image_set(cfg).samples) == len(dubai(cfg.data.root).samples) == 72


def targets(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (node["_target_"],) if "_target_" in node else ()
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from targets(value)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_target_exists(path: Path) -> None:
    for target in targets(yaml.safe_load((CONF / path).read_text(encoding="utf-8"))):
        assert target == "???" or callable(get_object(target))


def test_trainers_differ_in_the_accelerator_alone() -> None:
    read = {n: yaml.safe_load((CONF / "trainer" / f"{n}.yaml").read_text()) for n in ("auto", "cpu", "gpu")}
    assert {name for name, node in read.items() if node.pop("accelerator") == name} == set(read)
    assert read["auto"] == read["cpu"] == read["gpu"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes_and_its_grid_has_no_value_that_is_refused(configured: Configured, name: str) -> None:
    composed = compose("config", overrides=[f"experiment={name}"], return_hydra_config=True)
    grid = OmegaConf.to_container(composed.hydra.sweeper).get("params") or {}
    assert composed.hydra.mode == (RunMode.MULTIRUN if grid else None), "a study in one word is a sweep without -m"
    cfg = OmegaConf.masked_copy(composed, [key for key in composed if key != "hydra"])  # type: ignore[misc]
    schema.check(cfg)
    for key, value in grid.items():
        override = OverridesParser.create().parse_override(f"{key}={value}")
        for text in override.sweep_string_iterator() if override.is_sweep_override() else [str(value)]:
            if (CONF / key).is_dir():
                assert (CONF / key / f"{text}.yaml").is_file(), f"{key}={text}"
            else:
                job = cfg.copy()
                OmegaConf.update(job, key, yaml.safe_load(text))
                schema.check(job)


LITE0 = ("tu-tf_efficientnet_lite0", "imagenet")


@pytest.mark.parametrize(
    ("words", "encoder"),
    [
        ("method=probe", LITE0),
        ("experiment=best method=probe", LITE0),
        ("method=probe model.encoder=resnet18", ("resnet18", "imagenet")),
        ("model.encoder=resnet18 method=probe", ("resnet18", "imagenet")),
        ("model.encoder_weights=w.pth method=probe", (LITE0[0], "w.pth")),
        ("method=probe model=unet", ("resnet34", "imagenet")),
        ("model=unet method=probe", ("resnet34", "imagenet")),
        ("model=lite0", LITE0),
        ("method=teacher", ("resnet34", "imagenet")),
    ],
)
def test_a_probe_has_a_small_pretrained_encoder_unless_words_say_otherwise(
    configured: Configured, words: str, encoder: tuple[str, str]
) -> None:
    cfg, choices = configured(*words.split())
    assert (cfg.model.encoder, cfg.model.encoder_weights) == encoder
    assert cfg.trainer.max_epochs == (1 if choices["method"] == "probe" else 50)
    usual = defaults_of(choices)
    assert (usual.trainer.max_epochs, usual.model._target_) == (cfg.trainer.max_epochs, cfg.model._target_)


def test_best_is_one_word_and_every_other_word_wins_over_it(configured: Configured) -> None:
    cfg, choices = configured("experiment=best")
    assert (cfg.model.encoder, cfg.model.encoder_weights, cfg.optimizer.lr) == (*LITE0, 1e-3)
    chosen = {key: choices[key] for key in ("method", "prior", "loss", "scheduler")}
    assert chosen == {"method": "teacher", "prior": "estimated", "loss": "ce", "scheduler": "cosine"}
    words = ["model=unet", "method=points", "prior=none", "loss=dice", "scheduler=none", "optimizer.lr=0.1"]
    for line in (["experiment=best", *words], [*words, "experiment=best"]):
        cfg, choices = configured(*line)
        assert [f"{key}={choices[key]}" for key in ("model", "method", "prior", "loss", "scheduler")] == words[:-1]
        assert (cfg.optimizer.lr, cfg.model.encoder) == (0.1, "resnet34")
    assert configured("experiment=best", "model.encoder=resnet18")[0].model.encoder == "resnet18"


def test_a_loss_that_needs_a_target_says_so(tmp_path: Path) -> None:
    outcome = train(*TINY, "loss=custom", cwd=tmp_path)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("error: ")
    assert "loss._target_=pkg.fn" in outcome.err


OWN_LOSS = """
import torch.nn.functional as F

calls = []

def own(logits, target, scale=1.0):
    loss = scale * F.cross_entropy(logits.float(), target, ignore_index=255)
    calls.append(loss.item())
    return loss
"""


@pytest.mark.parametrize("way", ["two words", "a YAML of its own"])
def test_own_loss_trains_and_is_the_loss_that_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    (tmp_path / "ownpkg.py").write_text(OWN_LOSS)
    (tmp_path / "cwd").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ownpkg", raising=False)
    if way == "two words":
        words = ["loss=custom", "loss._target_=ownpkg.own", "+loss.scale=3"]
    else:
        (tmp_path / "conf" / "loss").mkdir(parents=True)
        (tmp_path / "conf/loss/mine.yaml").write_text("_target_: ownpkg.own\n_partial_: true\nscale: 3\n")
        words = ["--config-dir", str(tmp_path / "conf"), "loss=mine"]
    folder, result = trained(*words, *TINY, *BARE, cwd=tmp_path / "cwd")
    calls = sys.modules["ownpkg"].calls
    assert result["train_loss"] == pytest.approx(calls, rel=1e-6)
    assert len(calls) == 1
    assert calls[0] > 3  # three times the cross-entropy of a network that knows nothing, ln 5
    assert result["loss"] == ("mine" if "YAML" in way else "custom")
    assert folder.name.startswith(f"loss={result['loss']},points=20,")
    monkeypatch.delitem(sys.modules, "ownpkg")


@pytest.mark.parametrize("loss", ["ce", "focal", "dice"])
def test_balanced_weights_are_those_of_scikit_learn(configured: Configured, loss: str) -> None:
    counts = [30, 5, 15, 1, 9]
    cfg, _ = configured(f"loss={loss}", "loss.class_weights=balanced")
    points = np.repeat(np.arange(5), counts)
    expected = compute_class_weight("balanced", classes=np.arange(5), y=points)
    weights = instantiate(parts.with_balanced_weights(cfg.loss, counts)).class_weights
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_class_without_points_gets_no_balanced_weight() -> None:
    node = parts.with_balanced_weights({"class_weights": "balanced"}, [4, 0])
    assert node == {"class_weights": [0.5, 0.0]}


def test_balanced_weights_in_a_sum_come_from_the_points_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    from sparse_seg.losses import modules

    keep = modules._per_class
    monkeypatch.setattr(modules, "_per_class", lambda name, values: seen.append(values) or keep(name, values))
    words = ("loss=ce_dice", "loss.terms.0.class_weights=balanced", "points=7")
    _, result = trained(*TINY, *BARE, *words, cwd=tmp_path)
    counts = np.array(list(result["labelled_pixels"].values()))
    assert counts.max() <= 5 * 7
    cross_entropy, dice = seen
    np.testing.assert_allclose(cross_entropy, [counts.sum() / (5 * n) if n else 0 for n in counts])
    assert dice is None
