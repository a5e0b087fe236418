"""A run leaves one folder, whose contents hold what design and README promise, and never damages another one's."""

import csv
import json
import os
import platform
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import pytest
import torch
import yaml
from cli import BARE, ROOT, TINY, Outcome, contents, results, train, trained
from sklearn.metrics import confusion_matrix
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sparse_seg import metrics
from sparse_seg.classes import LAND_COVER
from sparse_seg.data.sample import Sample
from sparse_seg.data.split import split_indices
from sparse_seg.data.synthetic import synthetic_samples
from sparse_seg.data.transforms import resize_mask
from sparse_seg.networks.build import create
from sparse_seg.points.draw import sample_points
from sparse_seg.runs.folder import held
from sparse_seg.runs.result import write_result

EPOCHS = 4
WORDS = (*TINY, f"trainer.max_epochs={EPOCHS}", "optimizer.lr=1e-3", "callbacks.checkpoint.every_n_epochs=10")
NAMES = LAND_COVER.names
TIMES = ("seconds", "seconds_setup")


class Done(NamedTuple):
    cwd: Path
    folder: Path
    result: dict[str, Any]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A run with everything that a run writes."""
    cwd = tmp_path_factory.mktemp("done")
    return Done(cwd, *trained(*WORDS, cwd=cwd))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A run without dashboard, panels and checkpoints. Look at it; copy it to change it."""
    cwd = tmp_path_factory.mktemp("bare")
    return Done(cwd, *trained(*TINY, *BARE, cwd=cwd))


@pytest.fixture
def own(bare: Done, tmp_path: Path) -> Done:
    """A copy of `bare` for one test."""
    shutil.copytree(bare.cwd, tmp_path / "cwd")
    return Done(tmp_path / "cwd", tmp_path / "cwd" / bare.folder.relative_to(bare.cwd), bare.result)


def again(run: Done, *words: str) -> Outcome:
    return train(*TINY, *BARE, *words, cwd=run.cwd)


def sides() -> tuple[list[Sample], list[Sample]]:
    """Training and validation samples of the tiny runs."""
    samples = synthetic_samples(6, 64)
    training, validation = split_indices(samples, "random", 0.2)
    return [samples[i] for i in training], [samples[i] for i in validation]


def cpu_flags() -> set[str]:
    info = Path("/proc/cpuinfo")
    return set(info.read_text().split()) if info.exists() else set()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as f:
        return list(csv.DictReader(f))


def test_a_run_writes_its_folder_and_nothing_else(done: Done) -> None:
    assert done.folder.parent == done.cwd / "outputs" / "runs"
    assert done.folder.name.startswith("loss=focal,points=20,augment=report,split=random,seed=0,data=synthetic,")
    inside = {p for p in contents(done.folder) if not p.startswith("events.out.tfevents")}
    assert {str(done.folder.relative_to(done.cwd) / p) for p in contents(done.folder)} == set(contents(done.cwd))
    best_is_last = done.result["epoch_best"] == EPOCHS
    assert inside == {
        ".lock", "config.yaml", "points.csv", "history.csv", "log.txt", "hparams.yaml", "result.json",
        "panels/panel.png", "panels/index.json",
        *(f"panels/000/{n}.png" for n in ("image", "points", "truth", "prediction")),
        "checkpoints/best.ckpt", *([] if best_is_last else ["checkpoints/final.ckpt"]),
    }  # fmt: skip


def test_config_is_resolved_and_says_what_the_figures_depend_on(done: Done) -> None:
    text = (done.folder / "config.yaml").read_text()
    kept = yaml.safe_load(text)
    assert "${" not in text
    assert kept["config"]["trainer"]["max_epochs"] == EPOCHS
    assert kept["config"]["data"]["source"]["images"] == 6
    assert kept["figures"] == done.result["figures"]
    assert kept["axes"] == {key: done.result[key] for key in kept["axes"]}
    assert kept["axes"]["loss"] == "focal"
    assert kept["figures"]["trainer.precision"] != "auto"


def test_points_are_the_ones_drawn_on_the_training_masks(done: Done) -> None:
    table = rows(done.folder / "points.csv")
    assert list(table[0]) == ["image", "row", "col", "class"]
    training, _ = sides()
    assert {row["image"] for row in table} == {s.image_id for s in training}
    counts = Counter((row["image"], row["class"]) for row in table)
    for sample in training:
        mask = sample.read()[1]
        pixels = np.bincount(mask.ravel(), minlength=256)
        wanted = {(sample.image_id, n): min(20, pixels[k]) for k, n in enumerate(NAMES) if pixels[k]}
        assert {key: n for key, n in counts.items() if key[0] == sample.image_id} == wanted
        given = [
            (int(r["row"]), int(r["col"]), NAMES.index(r["class"])) for r in table if r["image"] == sample.image_id
        ]
        assert given == [tuple(p) for p in sample_points(mask, 20, 0, sample.image_id).tolist()]


def test_history_has_a_row_per_epoch_from_one(done: Done) -> None:
    table = rows(done.folder / "history.csv")
    iou = [f"iou_{name}" for name in NAMES]
    share = [f"share_{name}" for name in NAMES]
    assert list(table[0]) == ["epoch", "train_loss", "val_miou", "lr", *iou, *share, *done.result["scores"], "seconds"]
    assert [row["epoch"] for row in table] == ["1", "2", "3", "4"]
    assert [float(row["train_loss"]) for row in table] == done.result["train_loss"]
    assert [float(row["val_miou"]) for row in table] == done.result["val_miou"]
    assert {float(row["lr"]) for row in table} == {1e-3}
    last = {name: float(table[-1][f"iou_{name}"]) for name in NAMES}
    assert {k: v for k, v in last.items() if not np.isnan(v)} == {
        k: v for k, v in done.result["iou"].items() if v is not None
    }


def test_log_tells_the_run(done: Done) -> None:
    lines = (done.folder / "log.txt").read_text().splitlines()
    assert f"(process {os.getpid()})" in lines[0]
    assert "5 training images with" in lines[1]
    assert "1 validation images" in lines[1]
    assert [line.split("  ")[1].split("/")[0] for line in lines[2:-1]] == [f"epoch {k + 1}" for k in range(EPOCHS)]
    assert f"done: final mIoU {done.result['miou_final']:.4f}" in lines[-1]


def test_dashboard_holds_scalars_panels_and_hyper_parameters(done: Done) -> None:
    events = EventAccumulator(str(done.folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0}).Reload()
    table = rows(done.folder / "history.csv")
    columns = {"loss/train": "train_loss", "miou/val": "val_miou", "optimizer/lr": "lr"}
    columns |= {f"iou/{name}": f"iou_{name}" for name in NAMES}
    columns |= {f"share_predicted/{name}": f"share_{name}" for name in NAMES}
    for tag, column in columns.items():
        wanted = [(k + 1, float(row[column])) for k, row in enumerate(table) if row[column] != "nan"]
        if wanted:
            said = events.Scalars(tag)
            assert [event.step for event in said] == [step for step, _ in wanted]
            assert [event.value for event in said] == pytest.approx([value for _, value in wanted], rel=1e-6)
    true = {name: share for name, share in done.result["share_true"].items() if share}
    said = {name: events.Scalars(f"share_true/{name}") for name in true}
    assert {len(once) for once in said.values()} == {1}
    for name, share in true.items():
        assert said[name][0].value == pytest.approx(share)
        ratio = done.result["share_predicted"][name] / share
        assert events.Scalars(f"share_ratio/{name}")[-1].value == pytest.approx(ratio)
    assert [event.step for event in events.Images("panels")] == [1, EPOCHS]
    text = events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "data.size: 32" in text
    assert "loss.gamma: 2.0" in text
    assert events.Scalars("score/miou_final")[0].value == pytest.approx(done.result["miou_final"], rel=1e-6)
    start = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"encoder" in start
    assert b"resnet18" in start
    assert b"batch_size" in start


def test_panels_hold_the_validation_images_as_they_are_scored(done: Done) -> None:
    assert not (done.folder / "panels/shares.png").exists()  # there is no prior
    index = json.loads((done.folder / "panels/index.json").read_text())
    assert index["classes"] == list(NAMES)
    assert [entry["id"] for entry in index["images"]] == done.result["val_images"]
    read = {n: np.asarray(PIL.Image.open(done.folder / f"panels/000/{n}.png")) for n in ("truth", "prediction")}
    np.testing.assert_array_equal(read["truth"], resize_mask(sides()[1][0].read()[1], 32))
    scored = read["truth"] != 255
    seen = confusion_matrix(read["truth"][scored], read["prediction"][scored], labels=range(5))
    assert np.abs(seen - done.result["confusion_matrix"]).sum() <= 0.1 * scored.sum(), (
        "bfloat16 may turn a pixel or two"
    )


def test_checkpoint_is_the_networks_weights_as_plain_tensors(done: Done) -> None:
    kept = torch.load(done.folder / "checkpoints/best.ckpt", weights_only=True)
    assert set(kept) == {"state_dict", "model", "epoch", "val_miou"}
    assert (kept["epoch"], kept["val_miou"]) == (done.result["epoch_best"], done.result["miou_best"])
    assert kept["model"]["classes"] == list(NAMES)
    assert kept["model"]["size"] == 32
    assert kept["model"]["config"]["encoder"] == "resnet18"
    create("unet", "resnet18", None, classes=5).load_state_dict(kept["state_dict"])


def test_result_holds_the_contract(done: Done) -> None:
    result = done.result
    wanted = {
        "status": "done", "study": "runs", "loss": "focal", "points": 20, "augment": "report", "split": "random",
        "fold": None, "seed": 0, "encoder": "resnet18", "weights": None, "size": 32, "epochs": EPOCHS, "batch_size": 4,
        "loss_at_epoch_25": None, "device": "cpu", "threads": torch.get_num_threads(), "train_images": 5,
    }  # fmt: skip
    assert {key: result[key] for key in wanted} == wanted
    assert len(result["fingerprint"]) == 64
    flags = cpu_flags()
    assert result["precision"] == ("bf16-mixed" if {"avx512_bf16", "amx_tile"} & flags else "32-true")
    assert (
        result["versions"]["torch"] == torch.__version__.split("+")[0]
        or result["versions"]["torch"] == torch.__version__
    )
    assert {"commit", "seconds"} <= set(result)
    assert result["seconds"] > 0
    assert result["val_images"] == [s.image_id for s in sides()[1]]
    assert len(result["train_loss"]) == len(result["val_miou"]) == EPOCHS
    assert result["miou_final"] == result["val_miou"][-1] <= result["miou_best"] == max(result["val_miou"])
    assert result["val_miou"].index(result["miou_best"]) + 1 == result["epoch_best"]
    points = Counter(row["class"] for row in rows(done.folder / "points.csv"))
    assert set(result["labelled_pixels"]) == set(NAMES)
    # Fewer after mapping to 32×32, where two points may fall into one cell.
    assert all(0 < n <= points[name] for name, n in result["labelled_pixels"].items())


def test_confusion_matrix_counts_each_labelled_validation_pixel_once(done: Done) -> None:
    truth = np.concatenate([resize_mask(s.read()[1], 32).ravel() for s in sides()[1]])
    confusion = np.array(done.result["confusion_matrix"])
    assert confusion.sum(1).tolist() == np.bincount(truth, minlength=256)[:5].tolist()
    assert done.result["accuracy"] == pytest.approx(np.trace(confusion) / confusion.sum())


def test_scores_follow_from_the_confusion_matrix(done: Done) -> None:
    m = done.result["confusion_matrix"]
    iou = {}
    for k, name in enumerate(NAMES):
        union = sum(m[k]) + sum(row[k] for row in m) - m[k][k]
        iou[name] = m[k][k] / union if union else None
    present = [value for value in iou.values() if value is not None]
    whole = sum(map(sum, m))
    assert done.result["share_true"] == pytest.approx({n: sum(m[k]) / whole for k, n in enumerate(NAMES)})
    said = {n: sum(row[k] for row in m) / whole for k, n in enumerate(NAMES)}
    assert done.result["share_predicted"] == pytest.approx(said)
    assert done.result["iou"] == pytest.approx(iou)
    assert done.result["miou_final"] == pytest.approx(sum(present) / len(present))


def test_undefined_is_null_and_never_nan(tmp_path: Path, done: Done) -> None:
    def refuse(word: str) -> None:
        pytest.fail(f"{word} is no JSON")

    json.loads((done.folder / "result.json").read_text(), parse_constant=refuse)
    write_result(tmp_path / "r.json", {"a": float("nan"), "b": [1.5, float("inf")], "c": {"d": (float("nan"), 2)}})
    text = (tmp_path / "r.json").read_text()
    assert json.loads(text, parse_constant=refuse) == {"a": None, "b": [1.5, None], "c": {"d": [None, 2]}}
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_training_loss_falls(done: Done) -> None:
    losses = done.result["train_loss"]
    assert losses[-1] < 0.95 * losses[0]


def test_same_command_again_says_done_and_changes_no_byte(done: Done) -> None:
    before = contents(done.cwd)
    outcome = train(*WORDS, cwd=done.cwd)
    assert outcome == Outcome(0, f"done already: {done.folder.relative_to(done.cwd)}\n", "")
    assert contents(done.cwd) == before


def test_leaving_out_the_checkpoint_leaves_no_checkpoint(bare: Done) -> None:
    assert set(contents(bare.folder)) == {".lock", "config.yaml", "points.csv", "history.csv", "log.txt", "result.json"}


def test_another_study_and_other_workers_give_identical_figures(own: Done) -> None:
    assert again(own, "study=second", "data.num_workers=1").code == 0
    folder = own.cwd / "outputs" / "second" / own.folder.name
    result = json.loads((folder / "result.json").read_text())
    assert {k: v for k, v in result.items() if k not in (*TIMES, "study")} == {
        k: v for k, v in own.result.items() if k not in (*TIMES, "study")
    }
    assert (folder / "points.csv").read_bytes() == (own.folder / "points.csv").read_bytes()
    first, second = rows(own.folder / "history.csv"), rows(folder / "history.csv")
    assert [{**row, "seconds": ""} for row in first] == [{**row, "seconds": ""} for row in second]


def losses_of(cwd: Path, *words: str) -> list[str]:
    cwd.mkdir()
    folder, _ = trained(*TINY, *BARE, "trainer.max_epochs=3", "optimizer.lr=1e-3", *words, cwd=cwd)
    return [row["train_loss"] for row in rows(folder / "history.csv")]


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return losses_of(tmp_path_factory.mktemp("usual") / "cwd")


@pytest.mark.parametrize("word", ["seed=5", "augment=none", "optimizer.lr=1e-2", "scheduler=cosine", "loss.gamma=1"])
def test_a_word_changes_what_is_trained_and_not_only_the_name(usual: list[str], tmp_path: Path, word: str) -> None:
    assert losses_of(tmp_path / "cwd", word) != usual


def test_a_seed_changes_the_initial_weights(tmp_path: Path) -> None:
    """On full masks of all images at once, without augmentation, nothing else is drawn."""
    words = ("points=all", "augment=none", "data.batch_size=8")
    assert losses_of(tmp_path / "0", *words) != losses_of(tmp_path / "5", *words, "seed=5")


def test_points_and_split_are_those_of_the_command_line(tmp_path: Path) -> None:
    samples = synthetic_samples(6, 64)
    folder, result = trained(*TINY, *BARE, "seed=5", "points=3", "split=tile", "data.fold=1", cwd=tmp_path)
    training, validation = split_indices(samples, "tile", 0.2, fold=1)
    assert result["val_images"] == [samples[i].image_id for i in validation]
    drawn = {
        (samples[i].image_id, str(r), str(c), NAMES[k])
        for i in training
        for r, c, k in sample_points(samples[i].read()[1], 3, 5, samples[i].image_id).tolist()
    }
    assert {(p["image"], p["row"], p["col"], p["class"]) for p in rows(folder / "points.csv")} == drawn


def test_overwrite_runs_again_in_an_empty_folder(own: Done) -> None:
    (own.folder / "left").mkdir()
    (own.folder / "left/over.txt").touch()
    outcome = again(own, "overwrite=true")
    assert outcome.code == 0
    assert "done: final mIoU" in outcome.out
    assert set(contents(own.folder)) == {".lock", "config.yaml", "points.csv", "history.csv", "log.txt", "result.json"}
    result = json.loads((own.folder / "result.json").read_text())
    assert {k: v for k, v in result.items() if k not in TIMES} == {
        k: v for k, v in own.result.items() if k not in TIMES
    }


def test_overwrite_of_a_job_that_slurm_starts_again_goes_on(own: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    (own.folder / "result.json").unlink()
    (own.folder / "kept").touch()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert again(own, "overwrite=true").code == 0
    assert (own.folder / "kept").exists()
    assert (own.folder / "result.json").exists()


def edit_figures(folder: Path, changes: dict[str, Any], drop: tuple[str, ...] = ()) -> None:
    kept = yaml.safe_load((folder / "config.yaml").read_text())
    kept["figures"] = {k: v for k, v in {**kept["figures"], **changes}.items() if k not in drop}
    (folder / "config.yaml").write_text(yaml.safe_dump(kept))


@pytest.mark.parametrize("finished", [True, False])
def test_a_folder_with_another_run_is_refused_and_nothing_is_lost(own: Done, finished: bool) -> None:
    edit_figures(own.folder, {"loss.gamma": 3.0})
    if not finished:
        (own.folder / "result.json").unlink()
    before = contents(own.cwd)
    outcome = again(own)
    assert outcome.code == 1
    assert outcome.out == ""
    first, second = outcome.err.splitlines()
    assert first.startswith("error: ")
    assert first.endswith("it differs in loss.gamma: 3.0 → 2.0")
    assert "study=NAME" in second
    assert "overwrite=true" in second
    assert contents(own.cwd) == before


def test_what_ended_before_its_first_epoch_is_in_nobodys_way(own: Done) -> None:
    edit_figures(own.folder, {"loss.gamma": 3.0})
    for name in ("result.json", "history.csv"):
        (own.folder / name).unlink()
    assert again(own).code == 0
    assert results(own.cwd) == [own.folder]


def test_a_run_from_before_a_key_was_there_is_done(own: Done) -> None:
    edit_figures(own.folder, {}, drop=("loss.gamma", "data.source.groups"))
    assert again(own).out.startswith("done already")


HOLD = """
import sys
from pathlib import Path
from sparse_seg.runs.folder import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_run_that_another_process_trains_is_refused_until_that_ends(own: Done) -> None:
    (own.folder / "result.json").unlink()
    before = contents(own.cwd)
    command = [sys.executable, "-c", HOLD, str(own.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as other:
        assert other.stdin
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        outcome = again(own)
        assert outcome.code == 1
        assert f"is being trained by process {other.pid} on {platform.node()}; wait for it, or stop it" in outcome.err
        assert {name: data for name, data in contents(own.cwd).items() if not name.endswith("/owner")} == before
        other.kill()  # the lock dies with its owner, however that ends
    assert again(own).code == 0
    assert results(own.cwd) == [own.folder]


def test_a_run_that_another_process_ends_meanwhile_is_done(own: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    result = own.folder / "result.json"
    said = result.read_bytes()
    result.unlink()

    @contextmanager
    def late(folder: Path) -> Iterator[None]:
        result.write_bytes(said)
        with held(folder):
            yield

    monkeypatch.setattr("sparse_seg.runs.run.held", late)
    before = (own.folder / "history.csv").stat().st_mtime_ns
    outcome = again(own)
    assert outcome.code == 0
    assert f"done already: {own.folder.relative_to(own.cwd)}" in outcome.out
    assert (own.folder / "history.csv").stat().st_mtime_ns == before


def test_last_weights_are_kept_beside_the_best_where_they_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    falling = iter(np.linspace(0.9, 0.1, 100).tolist())
    monkeypatch.setattr(metrics, "mean_iou", lambda confusion: next(falling))
    words = ("trainer.max_epochs=2", "logger=none", "callbacks.panels=null", "callbacks.checkpoint.every_n_epochs=10")
    folder, result = trained(*TINY, *words, cwd=tmp_path)
    assert result["epoch_best"] == 1
    assert result["miou_final"] < result["miou_best"]
    best, final = (torch.load(folder / "checkpoints" / f"{n}.ckpt", weights_only=True) for n in ("best", "final"))
    assert (best["epoch"], final["epoch"]) == (1, 2)
    assert not all(torch.equal(v, final["state_dict"][k]) for k, v in best["state_dict"].items())
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {"best.ckpt", "final.ckpt"}


@pytest.mark.skipif(not os.environ.get("SPARSE_SEG_DATA"), reason="SPARSE_SEG_DATA is not set: no Dubai data")
@pytest.mark.filterwarnings("default:.* hold no class and count as unlabelled.*:UserWarning")
def test_training_loss_falls_on_the_dubai_images(tmp_path: Path) -> None:
    words = ["data.size=64", "model.encoder=resnet18", "model.encoder_weights=null", "optimizer.lr=1e-3"]
    words += ["trainer=cpu", "trainer.max_epochs=2", f"data.cache_dir={tmp_path / 'cache'}"]
    folder, result = trained(*words, *BARE, cwd=tmp_path)
    assert result["train_loss"][1] < result["train_loss"][0]
    assert len(result["val_images"]) == 14
    assert result["train_images"] == 58
    assert all(n > 0 for n in result["labelled_pixels"].values())
    said = (folder / "log.txt").read_text()
    assert "warning: 552,156 pixels of 9 masks (most in " in said
    assert "hold no class and count as unlabelled, mostly #000000 (552,156)" in said
