"""Several methods in one study: rows side by side, figures of one method never averaged with those of another."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from studies import Write, load, made, run_main

from sparse_seg.classes import LAND_COVER
from sparse_seg.report.families import Family, families
from sparse_seg.report.figures import figures_of
from sparse_seg.report.groups import missing
from sparse_seg.report.tables import tables_of

TARGET = {
    "points": "sparse_seg.training.SegmentationTask",
    "teacher": "sparse_seg.training.TeacherTask",
    "probe": "sparse_seg.training.ProbeTask",
}
GAIN = {("points", "none"): 0.0, ("points", "estimated"): 0.04, ("teacher", "estimated"): 0.06}
"""mIoU above plain points, before what a seed and a density add."""
SOLVED = {("probe", "none"): 0.01, ("probe", "estimated"): 0.03}
SEEDS = (0, 1, 2)


def level(points: Any, seed: int) -> float:
    return {5: 0.42, 20: 0.47, "all": 0.55}[points] + 0.01 * seed + (0.004 if seed == 1 else 0.0)


def one(write: Write, method: str, prior: str, miou: float, **axes: Any) -> Path:
    solved = {"trainer.max_epochs": 1, "optimizer.lr": 1e-4} if method == "probe" else {}
    prior_keys = {"prior._target_": "sparse_seg.training.estimated_prior"} if prior != "none" else {}
    rest = f",{method},{prior}," + ",".join(f"{k}={v}" for k, v in axes.items() if "." in k)
    keys = {"method._target_": TARGET[method], **prior_keys, "optimizer.lr": 1e-3, **solved, **axes}
    return write(miou, rest, method=method, prior=prior, **keys)


@pytest.fixture
def study(tmp_path: Path, write: Write) -> Path:
    """Plain points with full masks, two methods with a prior, a teacher's full masks without it, and the probe."""
    for seed in SEEDS:
        for points in (5, 20):
            for (method, prior), gain in GAIN.items():
                one(write, method, prior, level(points, seed) + gain, points=points, seed=seed, loss="ce")
            for (method, prior), gain in SOLVED.items():
                one(write, method, prior, level(points, seed) + gain, points=points, seed=seed)
        one(write, "points", "none", level("all", seed), points="all", seed=seed, loss="ce")
        one(write, "teacher", "none", level("all", seed) + 0.02, points="all", seed=seed, loss="ce")
    return tmp_path


def family_of(path: Path) -> Family:
    (found,) = families(load(path))
    return found


def test_methods_that_differ_in_nothing_else_are_one_family_and_the_probe_joins_it(study: Path) -> None:
    family = family_of(study)
    assert [(b.method, b.prior) for b in family.blocks] == [
        ("points", "none"), ("points", "estimated"), ("teacher", "none"), ("teacher", "estimated"), ("probe", "none"),
        ("probe", "estimated"),
    ]  # fmt: skip
    assert family.whole.title == "every method: resnet34, no pretrained weights, 256×256, 30 epochs, random split"
    assert len(family.whole.runs) == 36


def test_no_cell_of_one_configuration_averages_two_methods(study: Path) -> None:
    plain, *others = load(study)
    second = next(t for t in tables_of(plain) if t.number == "2")
    mean = np.mean([level(20, seed) for seed in SEEDS])
    assert made(second)["partial cross-entropy"]["final mIoU"].startswith(f"{mean:.4f} ± ")
    for block in (plain, *others):
        assert len(set(block.runs["method"])) == len(set(block.runs["prior"])) == 1
        for group in family_of(study).groups:
            assert len(group.runs) == len(group.runs.drop_duplicates(["seed", "fold", "points"]))


def test_table_10_has_shares_of_both_full_masks_and_paired_differences(study: Path) -> None:
    (table,) = tables_of(family_of(study), {"10"})
    rows = made(table)
    assert table.header == ("method", "prior", "figure", "5 points", "20 points", "full masks")
    plain, full = (np.array([level(p, seed) for seed in SEEDS]) for p in (20, "all"))
    corrected = plain + 0.04
    share = 100 * corrected / full
    half = stats.t.ppf(0.975, 2) * share.std(ddof=1) / np.sqrt(3)
    row = rows["points estimated % of plain full masks"]
    assert row["20 points"] == f"{share.mean():.1f} ± {half:.1f} (3)"
    assert row["full masks"] == "—"
    taught = 100 * (plain + 0.06) / (full + 0.02)
    assert rows["teacher estimated % of its own full masks"]["20 points"].startswith(f"{taught.mean():.1f} ± ")
    own = 100 * (full + 0.02) / full
    assert rows["teacher none % of plain full masks"]["full masks"].startswith(f"{own.mean():.1f} ± ")
    assert rows["points estimated pp above plain"]["20 points"] == "+4.0 ± 0.0 (3)"
    assert rows["probe estimated pp above plain"]["5 points"] == "+3.0 ± 0.0 (3)"
    assert rows["points none mIoU"]["full masks"].startswith(f"{full.mean():.4f} ± ")


def test_a_share_that_cannot_be_told_is_left_out_and_named(study: Path) -> None:
    (table,) = tables_of(family_of(study), {"10"})
    rows = made(table)
    assert rows["probe none % of its own full masks"]["20 points"] == "—"
    assert any(n.startswith("No run on full masks of its own") and "probe, prior none" in n for n in table.notes)
    assert "points none % of its own full masks" not in rows  # the row above has it
    assert "teacher none % of its own full masks" not in rows  # it has no points
    assert "points estimated % of its own full masks" not in rows


def test_seeds_that_one_side_lacks_are_left_out_of_shares_and_differences(study: Path, write: Write) -> None:
    one(write, "points", "estimated", 0.9, points=20, seed=7, loss="ce")
    (table,) = tables_of(family_of(study), {"10"})
    rows = made(table)
    assert rows["points estimated mIoU"]["20 points"].endswith("(4)")
    assert rows["points estimated % of plain full masks"]["20 points"].endswith("(3)")
    assert rows["points estimated pp above plain"]["20 points"] == "+4.0 ± 0.0 (3)"


def test_plain_points_alone_have_table_5_and_no_table_10(tmp_path: Path, write: Write) -> None:
    for points in (20, "all"):
        write(0.5, points=points)
    (block,) = load(tmp_path)
    assert [t.number for t in tables_of(block)] == ["1", "2", "3", "5", "9"]


def test_a_method_with_other_arguments_is_another_row(study: Path, write: Write) -> None:
    key = {"method.decay": 0.9}
    for seed in SEEDS:
        one(write, "teacher", "estimated", level(20, seed) + 0.1, points=20, seed=seed, loss="ce", **key)
    (table,) = tables_of(family_of(study), {"10"})
    gains = {k: v["20 points"] for k, v in made(table).items() if "teacher" in k and k.endswith("pp above plain")}
    assert gains["teacher (decay=0.9) estimated pp above plain"].startswith("+10.0")
    assert gains["teacher (decay=none) estimated pp above plain"].startswith("+6.0")


def test_a_probe_is_one_run_whatever_loss_it_was_started_with_and_stands_in_each_family(
    study: Path, write: Write
) -> None:
    one(write, "probe", "none", level(20, 0) + 0.01, points=20, seed=0, loss="ce")
    one(write, "points", "none", 0.3, points=20, seed=0, loss="ce", **{"optimizer.lr": 1e-2})
    found = families(load(study))
    assert [[b.method for b in f.blocks].count("probe") for f in found] == [2, 2]
    assert all(len(b.runs) == 6 for f in found for b in f.blocks if b.method == "probe")


def test_a_probe_alone_has_rows_against_its_own_full_masks(tmp_path: Path, write: Write) -> None:
    for seed in SEEDS:
        for points in (5, "all"):
            one(write, "probe", "none", level(points, seed), points=points, seed=seed)
        one(write, "probe", "estimated", level(5, seed) + 0.02, points=5, seed=seed)
    (table,) = tables_of(family_of(tmp_path), {"10"})
    rows = made(table)
    share = np.mean([100 * (level(5, s) + 0.02) / level("all", s) for s in SEEDS])
    assert rows["probe estimated % of its own full masks"]["5 points"].startswith(f"{share:.1f} ± ")
    assert any(n.startswith("No plain run to hold it against") for n in table.notes)


def test_table_9_divides_predicted_by_true_area_of_each_run(study: Path) -> None:
    family = family_of(study)
    (table,) = tables_of(family, {"9"})
    rows = made(table)
    runs = family.blocks[1].cell(points=20, loss="ce")
    ratios = [np.sum(m, 0)[2] / np.sum(m, 1)[2] for m in runs["confusion_matrix"]]
    assert LAND_COVER.names[2] == "Road"
    half = stats.t.ppf(0.975, 2) * np.std(ratios, ddof=1) / np.sqrt(3)
    assert rows["points estimated 20"]["Road"] == f"{np.mean(ratios):.2f} ± {half:.2f}"
    assert {"points none full masks", "teacher none full masks", "probe estimated 5"} <= rows.keys()
    assert len(rows) == 2 + 2 + 2 + 2 * 2 + 2


def test_points_that_validate_have_no_areas(tmp_path: Path, write: Write) -> None:
    path = write(0.4) / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"scored_on": "points"}))
    (block,) = load(tmp_path)
    assert tables_of(block, {"9"}) == []


def test_areas_of_held_out_tiles_are_those_of_all_tiles_together(tmp_path: Path, write: Write) -> None:
    for fold, matrix in enumerate(([[0, 0], [5, 5]], [[30, 0], [10, 0]])):
        path = write(0.4, split="tile", **{"data.fold": fold}) / "result.json"
        run = json.loads(path.read_text())
        path.write_text(json.dumps(run | {"confusion_matrix": matrix, "iou": {"a": 0.5, "b": 0.5}}))
    (block,) = load(tmp_path)
    (table,) = tables_of(block, {"9"})
    row = made(table)["points none 20"]
    assert (row["a"], row["b"], row["seeds"]) == ("1.50", "0.25", "1")


def test_the_budget_has_a_curve_per_method(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(study, "--budget", "report", "--format", "csv") == 0
    rows = {r["row"]: r for r in csv.DictReader(capsys.readouterr().out.splitlines()) if r["column"] == "final mIoU"}
    for (method, prior), gain in GAIN.items():
        mean = np.mean([level(20, seed) + gain for seed in SEEDS])
        assert float(rows[f"{method}, {prior}, partial cross-entropy, report, 20"]["value"]) == pytest.approx(mean)
    assert "probe, estimated, logistic regression, none, 5" in rows
    name, caption, figure = next(figures_of(family_of(study), budget=True))
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]  # type: ignore[union-attr]
    drawn = ["points", "points, prior estimated", "teacher, prior estimated", "probe", "probe, prior estimated"]
    assert [text for text in legend if "full masks" not in text and "the report" not in text] == drawn
    full = ["points, full masks", "teacher, prior estimated, full masks"]
    assert [text for text in legend if "full masks" in text] == full
    assert name == "label-budget"
    assert "20 points" not in caption
    assert run_main(study, "report", "--figures", str(study / "figures")) == 0
    assert len(list((study / "figures").glob("label-budget-*.png"))) == 1


def test_what_a_method_lacks_is_run_by_its_own_command(study: Path) -> None:
    probe = next(g for g in family_of(study).groups if g.block.method == "probe" and g.block.prior == "none")
    *_, command = missing(probe)
    assert "method=probe" in command
    assert "loss=" not in command
    assert "trainer.max_epochs" not in command
    corrected = next(g for g in family_of(study).groups if g.block.prior == "estimated" and g.block.method == "points")
    assert not any("no run on full masks" in line for line in missing(corrected))


def test_what_half_a_correction_on_held_out_tiles_lacks_is_said_with_both(tmp_path: Path, write: Write) -> None:
    tiles = {"split": "tile", "data.val_tiles": [1, 5]}
    for seed in SEEDS:
        one(write, "teacher", "estimated", 0.5 + seed / 100, **tiles, points=5, seed=seed, **{"prior.tau": 0.5})
    (group,) = family_of(tmp_path).groups
    _, sparse, full = missing(group)
    for command in (sparse, full):
        assert "method=teacher" in command
        assert "'data.val_tiles=[1,5]'" in command
    assert "points=1,2,10 " in sparse
    assert "prior=estimated " in sparse
    assert "prior.tau=0.5 " in sparse
    assert "points=all " in full
    assert "prior" not in full


def test_runs_csv_names_the_method_where_there_is_another_one(study: Path, tmp_path: Path) -> None:
    assert run_main(study, "report", "--keep", str(tmp_path / "kept.jsonl")) == 0
    rows = list(csv.DictReader((tmp_path / "kept.csv").read_text().splitlines()))
    assert list(rows[0])[:4] == ["study", "method", "prior", "encoder"]
    assert {(r["method"], r["loss"]) for r in rows} == {("points", "ce"), ("teacher", "ce"), ("probe", "logistic")}
