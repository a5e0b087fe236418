"""The report: what its tables, figures and pages say of runs whose figures are known."""

import csv
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from omegaconf import OmegaConf
from PIL import Image
from scipy import stats

from sparse_seg.classes import LAND_COVER
from sparse_seg.errors import UserError
from sparse_seg.report import published, results, status
from sparse_seg.report.__main__ import main
from sparse_seg.report.blocks import Block, blocks
from sparse_seg.report.cells import Table, sentence
from sparse_seg.report.intervals import Estimate, estimate, paired
from sparse_seg.report.tables import epochs_to, table1, table2, table3, tables_of
from sparse_seg.runs import identity, result
from sparse_seg.runs.folder import held

EPOCHS = 30
CSV_COLUMNS = (
    "study encoder weights loss points augment split fold seed epochs size miou_final miou_best one iou_ per class "
    "loss_at_epoch_25 seconds device precision commit"
)
Write = Callable[..., Path]


def _config(**changes: Any) -> dict[str, Any]:
    """What run.py passes on, as far as results need it; a key with dots replaces a value."""
    loss = {"focal": {"_target_": "PartialFocal", "gamma": 2.0}, "ce": {"_target_": "PartialCrossEntropy"}}
    config: dict[str, Any] = {
        "points": 20,
        "split": "random",
        "seed": 0,
        "study": "report",
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
    return matrix.round().astype(int).tolist()


def make_result(miou: float = 0.5, data: str = "dubai", **axes: Any) -> dict[str, Any]:
    """A result.json as `build_result` makes it, with the final mIoU given; per-class IoU is plausible only."""
    cfg = OmegaConf.create(_config(**axes))
    figures = identity.flatten(cfg)
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
    choices = {"loss": axes.get("loss", "focal"), "augment": axes.get("augment", "report"), "data": data}
    choices |= {"optimizer": "adam", "scheduler": "none"}
    confusion = _confusion(miou + 0.15, axes.get("seed", 0))
    made = result.build_result(cfg, choices, figures, LAND_COVER.names, rows, confusion)
    return made | {"val_images": [f"image {i}" for i in range(14)], "device": "cpu", "threads": 2}


@pytest.fixture(scope="module", autouse=True)
def _without_git() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(result, "_git_commit", lambda: "71f49fd")
        yield


def folder_of(outputs: Path, made: dict[str, Any], rest: str = "") -> Path:
    axes = {a: made[a] for a in ("loss", "points", "augment", "split", "seed")}
    axes |= {"fold": made["fold"]} if made["fold"] is not None else {}
    return outputs / made["study"] / (",".join(f"{k}={v}" for k, v in axes.items()) + rest)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a run's folder below outputs/ and return it."""

    def build(miou: float = 0.5, rest: str = "", **axes: Any) -> Path:
        made = make_result(miou, **axes)
        folder = folder_of(tmp_path / "outputs", made, rest)
        folder.mkdir(parents=True)
        result.write_result(folder / "result.json", made)
        return folder

    return build


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


def test_interval_of_the_mean_is_that_of_the_t_distribution() -> None:
    found = estimate([0.47, 0.49, 0.48])
    assert found is not None and found.half is not None
    assert found.mean == pytest.approx(0.48)
    # Student's t at 0.975 with 2 degrees of freedom is 4.302653; the standard error is 0.01 / √3.
    assert found.half == pytest.approx(4.302653 * 0.01 / 3**0.5, rel=1e-6)


def test_paired_difference_is_the_paired_t_test_of_the_common_seeds() -> None:
    a = pd.Series([0.5, 0.52, 0.51, 0.6], index=[0, 1, 2, 7])
    b = pd.Series([0.47, 0.5, 0.45, 0.4], index=[0, 1, 2, 8])
    found, test = paired(a, b), stats.ttest_rel([0.5, 0.52, 0.51], [0.47, 0.5, 0.45])
    assert found is not None and found.n == 3
    assert found.p == pytest.approx(test.pvalue)
    interval = test.confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_one_value_has_no_interval_and_none_has_no_mean() -> None:
    assert estimate([0.5, float("nan")]) == Estimate(0.5, 1)
    assert estimate([float("nan")]) is None


def test_equal_values_have_an_interval_without_width() -> None:
    same, half = pd.Series([0.5, 0.25]), pd.Series([0.25, 0.0])
    assert paired(same, same) == Estimate(0.0, 2, 0.0, 0.0, 1.0)
    assert paired(same, half) == Estimate(0.25, 2, 0.25, 0.25, 0.0)
    assert estimate([0.5, 0.5]) == Estimate(0.5, 2, 0.5, 0.5)


def test_sentences_say_what_is_shown() -> None:
    assert sentence("CE − focal", Estimate(0.4, 3, -1.1, 1.9, 0.36), "CE", "focal") == (
        "CE − focal = +0.4 points, 95 % interval −1.1 to +1.9, p = 0.360: no difference shown with 3 seeds."
    )
    assert sentence("CE − focal", Estimate(-2.0, 5, -3.0, -1.0, 0.0002), "CE", "focal", 0.4) == (
        "CE − focal = −2.0 points, 95 % interval −3.0 to −1.0, p < 0.001: focal is higher, shown with 5 seeds "
        "(the report, one run each: +0.4)."
    )
    later = sentence("Epochs", Estimate(-2.3, 3, -3.8, -0.9, 0.02), "CE", "focal", unit="epochs", more="needs more")
    assert later.endswith("p = 0.020: focal needs more, shown with 3 seeds.")
    assert "one seed: no interval" in sentence("x", Estimate(0.4, 1), "CE", "focal")
    assert "no seed has both" in sentence("x", None, "CE", "focal")


def test_the_reports_classes_average_to_its_final_miou() -> None:
    for loss in ("focal", "ce"):
        mean = np.mean([row[loss] for row in published.TABLE3.values()])
        assert mean == pytest.approx(published.TABLE2[loss]["miou_final"], abs=1e-4)
    for row in published.TABLE3.values():
        assert row["focal"] - row["ce"] == pytest.approx(row["difference"], abs=6e-4)
    assert published.TABLE1[20]["miou_final"] == published.TABLE2["focal"]["miou_final"]


def test_tables_hold_means_intervals_and_the_reports_figures(tmp_path: Path, write: Write) -> None:
    whole_grid(write)
    (block,) = load(tmp_path)
    assert block.title == "resnet34, no pretrained weights, 256×256, 30 epochs, random split"
    one, two, three = made(table1(block)), made(table2(block)), made(table3(block))
    assert list(one) == ["5", "20", "50"]
    assert one["20"]["final mIoU"] == "0.4800 ± 0.0248"
    assert (one["5"]["final mIoU report"], one["50"]["best mIoU report"]) == ("0.4392", "0.4592")
    assert one["20"]["seeds"] == "3"
    ce = two["partial cross-entropy"]
    assert (ce["final mIoU report"], ce["best mIoU report"]) == ("0.4640", "0.4742")
    assert ce["loss at epoch 25 report"] == "0.7886"
    assert ce["loss at epoch 25"].startswith(f"{0.3 + np.exp(-3):.4f}")
    assert (three["Road"]["CE report"], three["Road"]["focal − CE report"]) == ("0.3917", "−2.6")
    iou = block.cell(loss="focal", points=20, augment="report")["iou_Road"]
    assert three["Road"]["focal"].startswith(f"{iou.mean():.4f} ± ")


def test_differences_are_paired_over_seeds(tmp_path: Path, write: Write) -> None:
    whole_grid(write)
    (block,) = load(tmp_path)
    table = table2(block)
    assert table is not None
    test = stats.ttest_rel(CE[20], FOCAL[20])
    line = next(n for n in table.notes if n.startswith("CE − focal"))
    assert f"p = {test.pvalue:.3f}" in line and "+0.7 points" in line and "no difference shown with 3 seeds" in line
    assert "(the report, one run each: +0.4)" in line
    table = table1(block)
    assert table is not None
    five, fifty = (next(n for n in table.notes if n.startswith(s)) for s in ("5 → 20", "20 → 50"))
    assert "(the report, one run each: +2.1)" in five and "(the report, one run each: −1.3)" in fifty


def test_table_4_and_5_pair_seeds(tmp_path: Path, write: Write) -> None:
    whole_grid(write)
    (block,) = load(tmp_path)
    four, five = (made(t) for t in tables_of(block, {"4", "5"}))
    assert four["partial focal 5"]["gain"] == "+3.5 ± 1.2"  # the gains are 3.0, 3.5, 4.0
    assert len(four) == 6
    shares = 100 * np.array(CE[20]) / np.array(CE["all"])
    assert five["partial cross-entropy 20"]["share in %"].startswith(f"{shares.mean():.1f} ± ")


def test_points_all_without_masks_is_no_full_supervision(
    tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    for points in (5, 20, "all"):
        for seed in range(2):
            path = write(0.4 + 0.01 * seed, points=points, seed=seed, data="folder") / "result.json"
            own = {"scored_on": "points", "train_images": 9, "train_masks": 0}
            path.write_text(json.dumps(json.loads(path.read_text()) | own))
    (block,) = load(tmp_path)
    tables = tables_of(block)
    assert [t.number for t in tables] == ["1", "2", "3"]
    assert all("Scores are of held-out points" in t.notes[0] for t in tables)
    assert run_main(tmp_path, "--budget", "report") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "below full masks" not in said and "points=all is all given points, no full supervision" in said
    assert "python train.py" not in said


def test_epochs_of_runs_that_never_reach_the_level_are_not_compared(tmp_path: Path, write: Write) -> None:
    whole_grid(write)
    path = tmp_path / "outputs/report/loss=focal,points=20,augment=report,split=random,seed=1/result.json"
    made_result = json.loads(path.read_text())
    path.write_text(json.dumps(made_result | {"val_miou": [0.1] * EPOCHS}))
    (block,) = load(tmp_path)
    table = table2(block)
    assert table is not None
    assert made(table)["partial focal"]["epochs to 90 %"].endswith("(not reached in 1 of 3)")
    assert table.notes[-1] == "Epochs to 90 % are not compared: 1 of 6 runs do not reach it."


def test_epochs_to_a_level_count_from_one() -> None:
    assert epochs_to([0.1, None, 0.5, 0.4], 0.45) == 3
    assert np.isnan(epochs_to([0.1, 0.2], 0.45))


def test_missing_and_failed_runs_are_named(tmp_path: Path, write: Write) -> None:
    whole_grid(write)
    study = tmp_path / "outputs" / "report"
    shutil.rmtree(study / "loss=ce,points=20,augment=report,split=random,seed=1")
    failed = study / "loss=focal,points=5,augment=report,split=random,seed=2"
    (failed / "result.json").unlink()
    (failed / "failed.json").write_text(
        json.dumps({"overrides": [], "reason": "exit code 1", "error": "out of memory"})
    )
    for seed in range(3):
        shutil.rmtree(study / f"loss=focal,points=50,augment=report,split=random,seed={seed}")
    (block,) = load(tmp_path)
    one, three = made(table1(block)), made(table3(block))
    assert re.fullmatch(r"0\.4350 ± 0\.\d{4}", one["5"]["final mIoU"])
    assert one["5"]["seeds"] == "2/3 seeds, 1 failed"
    assert (one["50"]["final mIoU"], one["50"]["seeds"]) == ("—", "0/3 seeds")
    assert three["Water"]["CE"].endswith("(2/3 seeds)")
    assert three["Water"]["seeds in both"] == "2"


def test_a_cell_of_failed_runs_only_says_so(tmp_path: Path, write: Write) -> None:
    write(0.5, points=20)
    folder = tmp_path / "outputs/report/loss=focal,points=5,augment=report,split=random,seed=0"
    folder.mkdir()
    (folder / "failed.json").write_text(json.dumps({"error": "killed by signal 9"}))
    (block,) = load(tmp_path)
    row = made(table1(block))["5"]
    assert (row["final mIoU"], row["seeds"]) == ("—", "0/1 seeds, 1 failed")


def test_one_seed_has_values_without_interval_and_says_so(tmp_path: Path, write: Write) -> None:
    write(0.47)
    write(0.48, loss="ce")
    (block,) = load(tmp_path)
    table = table2(block)
    assert table is not None
    assert made(table)["partial focal"]["final mIoU"] == "0.4700"
    assert table.notes[0].startswith("One seed: values without interval")
    assert any("with one seed: no interval" in n for n in table.notes)


@pytest.mark.parametrize("axes", [{}, {"loss": "ce"}, {"points": "all"}, {"augment": "none"}, {"points": 7}])
def test_a_single_run_breaks_no_table(tmp_path: Path, write: Write, axes: dict[str, Any]) -> None:
    write(0.47, **axes)
    (block,) = load(tmp_path)
    for table in tables_of(block):
        assert all(len(row) == len(table.header) for row in table.rows)


def test_runs_of_other_configurations_stand_apart_and_their_keys_are_named(tmp_path: Path, write: Write) -> None:
    for seed in range(2):
        write(0.47, seed=seed)
        write(0.60, rest=",optimizer.lr=0.001", seed=seed, **{"optimizer.lr": 1e-3})
        write(0.70, rest=",model.encoder=lite0", seed=seed, **{"model.encoder": "lite0"})
    found = load(tmp_path)
    assert sorted(made(table1(b))["20"]["final mIoU"][:6] for b in found) == ["0.4700", "0.6000", "0.7000"]
    assert sorted(b.title.split("split")[1] for b in found) == ["", ", optimizer.lr=0.0001", ", optimizer.lr=0.001"]
    assert {d.split(":")[0] for b in found for d in b.differs} == {"optimizer.lr", "model.encoder"}


def test_another_gamma_is_another_configuration_that_shares_the_ce_runs(tmp_path: Path, write: Write) -> None:
    write(0.47)
    write(0.55, rest=",loss.gamma=1", **{"loss.gamma": 1.0})
    write(0.48, loss="ce")
    found = load(tmp_path)
    values = [{k: v["final mIoU"] for k, v in made(table2(b)).items()} for b in found]
    assert sorted(v["partial focal"] for v in values) == ["0.4700", "0.5500"]
    assert {v["partial cross-entropy"] for v in values} == {"0.4800"}
    assert all("loss.gamma=" in b.title for b in found)


def test_a_run_that_lies_in_two_studies_counts_once(tmp_path: Path, write: Write) -> None:
    write(0.47)
    write(0.47, study="again")
    runs = results.load(["report", "again"], tmp_path / "outputs", tmp_path / "none")
    assert len(runs.results) == 2 and len(runs.frame) == 1


def test_tile_table_has_a_row_per_tile_and_their_interval(tmp_path: Path, write: Write) -> None:
    tile_folds(write)
    (block,) = load(tmp_path, "tile_cv")
    (table,) = tables_of(block)
    rows = made(table)
    scores = ("mIoU", *LAND_COVER.names)
    tiles = [f"{fold} (Tile {fold + 1})" for fold in range(8)]
    assert list(rows) == [*tiles, "mean over tiles", *(f"all tiles as one: {name}" for name in scores)]
    pooled = np.sum([np.asarray(m) for m in block.cell(loss="ce")["confusion_matrix"]], axis=0)
    water = pooled[0, 0] / (pooled[0].sum() + pooled[:, 0].sum() - pooled[0, 0])
    assert LAND_COVER.names[0] == "Water" and rows["all tiles as one: Water"]["CE, 20 points"] == f"{water:.4f}"
    assert rows["3 (Tile 4)"]["focal, 20 points"] == "0.4100"
    assert rows["mean over tiles"]["focal, 20 points"].startswith("0.4200 ± ")
    assert "with 8 tiles" in table.notes[-1] and "CE is higher" in table.notes[-1]


def test_a_title_names_the_tiles_held_out(tmp_path: Path, write: Write) -> None:
    write(0.5, split="tile", **{"data.val_tiles": [1, 5]})
    (block,) = load(tmp_path)
    assert block.title.endswith("tile split (held out: 1, 5)")


def test_lines_hold_a_run_once_and_the_csv_has_the_named_columns(tmp_path: Path, write: Write) -> None:
    write(0.47)
    write(0.48, loss="ce")
    path = tmp_path / "docs" / "runs.jsonl"
    found = results.read_folder(tmp_path / "outputs" / "report")
    assert results.keep(found, path) == 2
    assert results.keep(found[:1], path) == 2
    lines = results.read_lines(path)
    assert [r["fingerprint"] for r in lines] == [r["fingerprint"] for r in found]
    assert "folder" not in lines[0] and lines[0] == {k: v for k, v in found[0].items() if k != "folder"}
    rows = list(csv.DictReader(io.StringIO(path.with_suffix(".csv").read_text())))
    before, after = CSV_COLUMNS.split(" one iou_ per class ")
    iou = [f"iou_{name}" for name in LAND_COVER.names]
    assert list(rows[0]) == [*before.split(), *iou, *after.split()]
    assert {r["loss"]: r["miou_final"] for r in rows} == {"focal": "0.47", "ce": "0.48"}


def test_a_study_without_folder_is_read_from_the_lines(
    tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    whole_grid(write)
    assert run_main(tmp_path, "report", "--keep", str(tmp_path / "runs.jsonl")) == 0
    assert run_main(tmp_path) == 0
    printed = capsys.readouterr().out
    assert f"42 runs read from {tmp_path}/outputs/report" in printed
    shutil.rmtree(tmp_path / "outputs")
    assert run_main(tmp_path) == 0
    again = capsys.readouterr().out
    assert f"42 runs read from {tmp_path}/runs.jsonl" in again
    assert again.split("\n", 1)[1] == printed.split("\n", 1)[1]
    for number in range(1, 6):
        assert f"Table {number}: " in again


def test_after_keeping_all_kept_runs_are_shown(
    tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    whole_grid(write)
    words = ["report", "--keep", str(tmp_path / "runs.jsonl"), "--out", str(tmp_path), "--figures", str(tmp_path)]
    assert run_main(tmp_path, *words) == 0
    tables = (tmp_path / "tables.txt").read_text()
    shutil.rmtree(tmp_path / "outputs")
    store_panels(write(0.48, points=20, seed=1))
    assert run_main(tmp_path, *words) == 0
    again = (tmp_path / "tables.txt").read_text()
    assert f"42 runs read from {tmp_path}/runs.jsonl" in again
    assert again.count("\n") == tables.count("\n")
    assert len(list(tmp_path.glob("figure2-*.png"))) == 1


def test_a_word_for_a_table_prints_that_table_of_the_report(
    tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    whole_grid(write)
    assert run_main(tmp_path, "table1") == 0
    shown = capsys.readouterr().out
    assert "Table 1: " in shown and "Table 2: " not in shown
    assert "does not cover the choice of the 14 validation images" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing"], "study 'nothing' has no finished run"),
        (["report", "--tables", "9"], "there is no table 9"),
        (["report", "--tables", "6"], "belongs to table 6"),
        (["--status", "nothing"], "there is no study in"),
    ],
)
def test_errors_are_one_message_and_exit_2(
    tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    write(0.5)
    assert run_main(tmp_path, *words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and "Traceback" not in error


def test_a_broken_result_is_named(tmp_path: Path, write: Write) -> None:
    folder = write(0.5)
    (folder / "result.json").write_text('{"miou_final": ')
    with pytest.raises(UserError, match=r"result\.json is not JSON"):
        load(tmp_path)
    (folder / "result.json").write_text("{}")
    with pytest.raises(UserError, match=r"fingerprint, .* missing"):
        load(tmp_path)


def test_status_tells_done_failed_running_and_unfinished_runs(
    tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    study = write(0.5).parent
    # The third one's owner was killed; a process with its number lives.
    for seed, (name, content) in enumerate(
        [(".lock", ""), ("owner", f"{os.getpid()} on node7"), ("failed.json", '{"error": "out of memory"}')], 1
    ):
        folder = study / f"loss=focal,points=20,augment=report,split=random,seed={seed}"
        folder.mkdir()
        (folder / name).write_text(content)
        (folder / "history.csv").write_text("epoch,val_miou\n1,0.1\n2,0.2\n")
    (study / "stray").mkdir()
    with held(study / "loss=focal,points=20,augment=report,split=random,seed=1"):
        assert [r.state for r in status.runs_of(study)] == ["done", "running", "unfinished", "failed"]
        assert run_main(tmp_path, "--status", "report") == 0
    shown = capsys.readouterr().out
    assert re.search(r"seed=3 +failed +2 +out of memory", shown)
    assert "4 runs: 1 done, 1 running, 1 failed, 1 unfinished" in shown


def test_formats_parse(tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    whole_grid(write)
    assert run_main(tmp_path, "--format", "csv") == 0
    cells = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    cell = next(c for c in cells if (c["table"], c["row"], c["column"]) == ("1", "20", "final mIoU"))
    assert float(cell["value"]) == pytest.approx(0.48) and cell["n"] == "3" and cell["shown"] == "0.4800 ± 0.0248"
    assert {c["column"] for c in cells if c["table"] == "1"} >= {"final mIoU: report", "best mIoU: report", "seeds"}

    assert run_main(tmp_path, "--format", "markdown") == 0
    lines = capsys.readouterr().out.splitlines()
    tables = [list(t) for t in _runs_of_pipes(lines)]
    assert len(tables) == 5
    assert all(len({row.count("|") for row in t}) == 1 and set(t[1]) <= set("|:- ") for t in tables)

    assert run_main(tmp_path, "--format", "latex", "--out", str(tmp_path / "tex")) == 0
    text = (tmp_path / "tex" / "tables.tex").read_text()
    assert text.isascii()
    body = re.sub(r"(?<!\\)%.*", "", text)
    begun, ended = (re.findall(rf"\\{w}\{{(\w+)\}}", body) for w in ("begin", "end"))
    assert sorted(begun) == sorted(ended) and begun.count("table") == 5
    bare = re.sub(r"\\[{}]", "", body)
    assert bare.count("{") == bare.count("}")
    for rule in ("toprule", "midrule", "bottomrule"):
        assert body.count(f"\\{rule}") == 5
    if compiler := shutil.which("pdflatex"):
        document = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + text + "\\end{document}"
        (tmp_path / "tex" / "all.tex").write_text(document)
        command = [compiler, "-halt-on-error", "-interaction=nonstopmode", "all.tex"]
        subprocess.run(command, cwd=tmp_path / "tex", check=True, capture_output=True)


def _runs_of_pipes(lines: list[str]) -> Iterator[list[str]]:
    table: list[str] = []
    for line in [*lines, ""]:
        if line.startswith("|"):
            table.append(line)
        elif table:
            yield table
            table = []


def store_panels(folder: Path, images: int = 5) -> None:
    """panels/ as Figure 2 reads it; image i is wrong in its first 8·i rows."""
    index = {"classes": LAND_COVER.names, "colours": LAND_COVER.colours, "images": []}
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


def test_figure_2_shows_the_lowest_the_median_and_the_highest_image(tmp_path: Path, write: Write) -> None:
    from sparse_seg.report.examples import lowest_median_highest

    folder = write(0.5)
    store_panels(folder)
    panels = folder / "panels"
    chosen = lowest_median_highest(panels, json.loads((panels / "index.json").read_text()))
    assert [name for name, _, _ in chosen] == ["1/image 4", "1/image 2", "1/image 0"]
    assert chosen[2][1] == 1.0


def test_figures_show_the_runs_figures(tmp_path: Path, write: Write) -> None:
    from sparse_seg.report.figures import confusion, training_curves

    whole_grid(write)
    (block,) = load(tmp_path)
    cell = {loss: block.cell(loss=loss, points=20, augment="report") for loss in ("focal", "ce")}
    curves, matrices = training_curves(block), confusion(block)
    assert curves is not None and matrices is not None
    for axes, column in zip(curves[2].axes, ("train_loss", "val_miou"), strict=True):
        for line, runs in zip(axes.lines, cell.values(), strict=True):
            np.testing.assert_array_equal(line.get_xdata(), np.arange(1, EPOCHS + 1))
            np.testing.assert_allclose(np.asarray(line.get_ydata()), np.mean(runs[column].tolist(), 0))
    for axes, runs in zip(matrices[2].axes, cell.values(), strict=True):
        counts = np.sum(runs["confusion_matrix"].tolist(), 0)
        expected = [f"{v:.0f}" for v in (100 * counts / counts.sum(1, keepdims=True)).ravel()]
        assert [text.get_text() for text in axes.texts] == expected


def test_figures_are_pictures_of_a_plausible_size(tmp_path: Path, write: Write) -> None:
    whole_grid(write)
    store_panels(tmp_path / "outputs/report/loss=focal,points=20,augment=report,split=random,seed=0")
    assert run_main(tmp_path, "--figures", str(tmp_path / "figures")) == 0
    names = sorted(p.name.split("-resnet34")[0] for p in (tmp_path / "figures").iterdir())
    assert names == ["confusion", "figure1", "figure2", "label-budget"]
    for path in (tmp_path / "figures").iterdir():
        with Image.open(path) as picture:
            picture.load()
            assert picture.format == "PNG" and picture.width >= 900 and 300 <= picture.height <= 1200
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20
        assert path.stat().st_size < 300_000


def test_a_run_with_a_sheet_only_shows_the_sheet(tmp_path: Path, write: Write) -> None:
    from sparse_seg.report.examples import examples

    panels = write(0.5) / "panels"
    panels.mkdir()
    Image.new("RGB", (400, 300), "red").save(panels / "panel.png")
    (block,) = load(tmp_path)
    made_figure = examples(block)
    assert made_figure is not None and "first training images" in made_figure[1]


def test_the_page_needs_no_other_file(tmp_path: Path, write: Write) -> None:
    whole_grid(write)
    assert run_main(tmp_path, "--html", str(tmp_path / "report.html")) == 0
    page = (tmp_path / "report.html").read_text()
    assert "http" not in re.sub(r'base64,[^"]*', "", page) and "<script" not in page and "<link" not in page
    assert page.count("<table>") == page.count("</table>") == 5
    assert page.count('src="data:image/png;base64,') == page.count("<img") == 3
    for number in range(1, 6):
        assert f"<h3>Table {number}: " in page
    open_tags: list[str] = []
    for close, tag in re.findall(r"<(/?)(\w+)", page):
        if close:
            assert open_tags.pop() == tag
        elif tag not in ("meta", "img"):
            open_tags.append(tag)
    assert not open_tags


def grid(experiment: str) -> set[tuple[str, ...]]:
    """The runs of an experiment of study report, as (seed, augment, points, loss)."""
    path = Path(__file__).parents[2] / "conf" / "experiment" / f"{experiment}.yaml"
    config = yaml.safe_load(path.read_text())
    assert config["study"] == "report" and config["hydra"]["mode"] == "MULTIRUN"
    params = config["hydra"]["sweeper"]["params"]
    return set(itertools.product(*(str(params[k]).split(",") for k in ("seed", "augment", "points", "loss"))))


def test_the_reports_grid_is_the_union_of_its_tables() -> None:
    parts = {name: grid(name) for name in ("table1", "table2", "table3", "augmentation", "upper_bound")}
    assert {name: len(cells) for name, cells in parts.items()} == {
        "table1": 9, "table2": 6, "table3": 6, "augmentation": 36, "upper_bound": 6,
    }  # fmt: skip
    assert grid("report") == set.union(*(parts[n] for n in ("table1", "table2", "table3", "augmentation")))


def test_tables_need_neither_torch_nor_matplotlib(tmp_path: Path, write: Write) -> None:
    write(0.5)
    code = (
        "import sys; from sparse_seg.report.__main__ import main; code = main(sys.argv[1:]); "
        "print(code, sorted({'torch', 'matplotlib', 'lightning', 'hydra'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, "report", "--outputs", str(tmp_path / "outputs")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
