"""One network is scored, saved and drawn, whatever callbacks average or swap, and wherever training stops."""

import json
import math
from pathlib import Path
from typing import Any

import lightning.pytorch.callbacks
import numpy as np
import PIL.Image
import pytest
import torch
from cli import TINY, configuration, train, trained
from processes import warm_train

from sparse_seg import metrics
from sparse_seg.networks.found import find_checkpoint
from sparse_seg.networks.trained import load_trained
from sparse_seg.runs import build
from sparse_seg.runs.sources import image_set

WORDS = (*TINY, "trainer.max_epochs=4", "trainer.precision=32-true", "optimizer.lr=1e-2", "logger=none")
LIGHTNING = "lightning.pytorch.callbacks"
AVERAGES = {
    "plain": (),
    "EMA": (f"+callbacks.ema._target_={LIGHTNING}.EMAWeightAveraging", "+callbacks.ema.decay=0.5"),
    "SWA": (
        f"+callbacks.swa._target_={LIGHTNING}.StochasticWeightAveraging",
        "+callbacks.swa.swa_lrs=0.01",
        "+callbacks.swa.swa_epoch_start=2",
    ),
}


HAS_EMA = hasattr(lightning.pytorch.callbacks, "EMAWeightAveraging")
EMA = pytest.param(
    "EMA", marks=pytest.mark.skipif(not HAS_EMA, reason="Lightning before 2.6 has no EMAWeightAveraging")
)


def recomputed(folder: Path, words: tuple[str, ...], final: bool) -> tuple[list[list[int]], np.ndarray]:
    """The confusion matrix and the class maps of a saved network on the validation images of a run."""
    with configuration() as configured:
        cfg, _ = configured(*words)
        images, truths = (np.stack(list(a)) for a in build.data_module(cfg, image_set(cfg)).validation_arrays())
    network = load_trained(find_checkpoint(folder, final)).network
    with torch.inference_mode():
        said = network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).float() / 255).argmax(1).numpy()
    known = truths != 255
    counts = np.bincount(truths[known].astype(int) * 5 + said[known], minlength=25).reshape(5, 5)
    return counts.tolist(), said


@pytest.mark.parametrize("average", ["plain", EMA, "SWA"])
def test_the_saved_weights_are_those_that_were_scored_and_drawn(tmp_path: Path, average: str) -> None:
    words = (*WORDS, *AVERAGES[average])
    folder, result = trained(*words, cwd=tmp_path)
    counts, said = recomputed(folder, words, final=True)
    assert counts == result["confusion_matrix"]
    drawn = np.asarray(PIL.Image.open(folder / "panels" / "000" / "prediction.png"))
    assert (drawn == said[0]).all()
    best, _ = recomputed(folder, words, final=False)
    assert metrics.mean_iou(best) == pytest.approx(result["miou_best"])
    if average == "SWA":  # a last pass over the images, for batch norm's statistics of the averaged weights
        assert len(result["val_miou"]) == 5


def test_an_average_is_another_network_than_the_last_step(tmp_path: Path) -> None:
    states = {}
    for average, words in AVERAGES.items():
        if average == "EMA" and not HAS_EMA:
            continue
        (tmp_path / average).mkdir()
        folder, _ = trained(*WORDS, "callbacks.panels=null", *words, cwd=tmp_path / average)
        states[average] = load_trained(find_checkpoint(folder, final=True)).network.state_dict()
    key = "network.segmentation_head.0.weight"
    assert len(states) == 2 + HAS_EMA
    assert not any(torch.equal(states["plain"][key], state[key]) for name, state in states.items() if name != "plain")


FIGURES = ("train_loss", "val_miou", "confusion_matrix", "scores", "fingerprint")


@pytest.mark.parametrize("average", [EMA, "SWA"])
def test_an_average_that_was_interrupted_ends_with_the_same_weights(tmp_path: Path, average: str) -> None:
    words = (*WORDS, "callbacks.panels=null", "+callbacks.fate._target_=probes.Fate", *AVERAGES[average])
    folders: list[Path] = []
    for name, fates in (("whole", [None]), ("broken", ["SIGTERM 4", None])):
        (tmp_path / name).mkdir()
        for fate in fates:
            (tmp_path / name / "fate").write_text(fate or "")
            ended = warm_train(*words, cwd=tmp_path / name)
            assert ended.code == (143 if fate else 0), ended.err
        folders += [path.parent for path in (tmp_path / name).rglob("result.json")]
    whole, broken = (json.loads((folder / "result.json").read_text()) for folder in folders)
    assert {k: broken[k] for k in FIGURES} == {k: whole[k] for k in FIGURES}
    states = [load_trained(find_checkpoint(folder, final=True)).network.state_dict() for folder in folders]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


EARLY = (
    f"+callbacks.early._target_={LIGHTNING}.EarlyStopping", "+callbacks.early.monitor=miou",
    "+callbacks.early.mode=max", "+callbacks.early.patience=1", "+callbacks.early.min_delta=1",
)  # fmt: skip


def test_a_run_that_stops_early_has_all_that_others_have(tmp_path: Path) -> None:
    words = (*WORDS, *EARLY, "trainer.max_epochs=9")
    folder, result = trained(*words, cwd=tmp_path)
    assert len(result["val_miou"]) == 2
    assert recomputed(folder, words, final=True)[0] == result["confusion_matrix"]
    assert json.loads((folder / "panels" / "index.json").read_text())["images"]
    assert {p.name for p in (folder / "checkpoints").iterdir()} <= {"best.ckpt", "final.ckpt"}


def test_validation_every_other_epoch_leaves_the_others_without_scores(tmp_path: Path) -> None:
    words = (*WORDS, "+trainer.check_val_every_n_epoch=2")
    folder, result = trained(*words, cwd=tmp_path)
    assert [value is None for value in result["val_miou"]] == [True, False, True, False]
    assert result["miou_final"] == result["val_miou"][-1]
    assert result["epoch_best"] in (2, 4)
    assert all(math.isfinite(value) for value in result["train_loss"])
    assert recomputed(folder, words, final=True)[0] == result["confusion_matrix"]
    header, *lines = (folder / "history.csv").read_text().splitlines()
    place = header.split(",").index("val_miou")
    assert [bool(line.split(",")[place]) for line in lines] == [False, True, False, True]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("+trainer.check_val_every_n_epoch=3", "trainer.check_val_every_n_epoch=3 must be a divisor of"),
        ("+trainer.limit_val_batches=0", "trainer.limit_val_batches=0 leaves nothing to score"),
        ("callbacks.history=null", "callbacks.history cannot be left out"),
    ],
)
def test_what_would_leave_no_scores_is_refused_in_a_line(tmp_path: Path, word: str, said: str) -> None:
    outcome = train(*WORDS, word, cwd=tmp_path)
    assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (1, "", 1)
    assert said in outcome.err
    assert not list(tmp_path.iterdir())


def figures_of(result: dict[str, Any]) -> dict[str, Any]:
    return {k: result[k] for k in ("train_loss", "val_miou", "confusion_matrix")}


def test_a_run_without_checkpoint_panels_and_bar_has_the_same_figures(tmp_path: Path) -> None:
    found = []
    for k, words in enumerate([(), ("callbacks.checkpoint=null", "callbacks.panels=null", "callbacks.progress=null")]):
        (tmp_path / str(k)).mkdir()
        found.append(figures_of(trained(*WORDS, *words, cwd=tmp_path / str(k))[1]))
    assert found[0] == found[1]
