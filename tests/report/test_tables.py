"""Tables say what their runs say."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from studies import CE, EPOCHS, FOCAL, Write, load, made, run_main, tile_folds, whole_grid

from sparse_seg.classes import LAND_COVER
from sparse_seg.report.tables import tables_of
from sparse_seg.report.tables.classes import table3
from sparse_seg.report.tables.density import table1
from sparse_seg.report.tables.losses import epochs_to, table2


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
    assert f"p = {test.pvalue:.3f}" in line
    assert "+0.7 points" in line
    assert "no difference shown with 3 seeds" in line
    assert "(the report, one run each: +0.4)" in line
    table = table1(block)
    assert table is not None
    five, fifty = (next(n for n in table.notes if n.startswith(s)) for s in ("5 → 20", "20 → 50"))
    assert "(the report, one run each: +2.1)" in five
    assert "(the report, one run each: −1.3)" in fifty


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
    assert "below full masks" not in said
    assert "points=all is all given points, no full supervision" in said
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


def test_tile_table_has_a_row_per_tile_and_their_interval(tmp_path: Path, write: Write) -> None:
    tile_folds(write)
    (block,) = load(tmp_path, "tile_cv")
    (table,) = tables_of(block, {"6"})
    rows = made(table)
    scores = ("mIoU", *LAND_COVER.names)
    tiles = [f"{fold} (Tile {fold + 1})" for fold in range(8)]
    assert list(rows) == [*tiles, "mean over tiles", *(f"all tiles as one: {name}" for name in scores)]
    pooled = np.sum([np.asarray(m) for m in block.cell(loss="ce")["confusion_matrix"]], axis=0)
    water = pooled[0, 0] / (pooled[0].sum() + pooled[:, 0].sum() - pooled[0, 0])
    assert LAND_COVER.names[0] == "Water"
    assert rows["all tiles as one: Water"]["CE, 20 points"] == f"{water:.4f}"
    assert rows["3 (Tile 4)"]["focal, 20 points"] == "0.4100"
    assert rows["mean over tiles"]["focal, 20 points"].startswith("0.4200 ± ")
    assert "with 8 tiles" in table.notes[-1]
    assert "CE is higher" in table.notes[-1]
