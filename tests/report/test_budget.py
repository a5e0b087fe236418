"""Would more points help? Tables 7 and 8 and their sentences on results whose truth is known."""

import csv
import io
import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from studies import folder_of, load, made, make_result, run_main

from sparse_seg.classes import LAND_COVER
from sparse_seg.report.groups import DEFAULTS, Group, groups
from sparse_seg.report.tables import tables_of
from sparse_seg.runs import result

# IoU of each class is A − B · n^(−1/2); Road lacks most to full masks.
LIMIT = dict(zip(LAND_COVER.names, (0.80, 0.66, 0.38, 0.55, 0.45), strict=True))
LACK = dict(zip(LAND_COVER.names, (0.1, 0.3, 0.6, 0.5, 0.3), strict=True))
Study = Callable[..., None]


def power_law(n: float) -> dict[str, float]:
    return {c: LIMIT[c] - LACK[c] * n**-0.5 for c in LIMIT}


def flat(n: float) -> dict[str, float]:
    return LIMIT


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Write runs of study `report`: all points × seeds, with noise of each seed and of each run, in IoU."""

    def build(
        points: Sequence[Any], seeds: Sequence[int], truth: Callable[[float], dict[str, float]] = power_law,
        noise: float = 0.0, **axes: Any,
    ) -> None:  # fmt: skip
        for seed in seeds:
            for n in points:
                rng = np.random.default_rng([seed, 0 if n == "all" else n])
                shift = noise * np.random.default_rng(seed).normal()
                exact = truth(1e9 if n == "all" else n)
                iou = {c: v + shift + float(noise * rng.normal()) for c, v in exact.items()}
                run = make_result(float(np.nanmean(list(iou.values()))), points=n, seed=seed, **axes) | {"iou": iou}
                folder = folder_of(tmp_path / "outputs", run, "".join(f",{k}={v}" for k, v in axes.items()))
                folder.mkdir(parents=True)
                result.write_result(folder / "result.json", run)

    return build


def only(tmp_path: Path) -> Group:
    (block,) = load(tmp_path)
    (group,) = groups(block)
    return group


def notes(tmp_path: Path) -> str:
    (block,) = load(tmp_path)
    return "\n".join(n for t in tables_of(block, budget=True) for n in t.notes)


def test_tables_hold_the_curve_the_share_and_the_limiting_classes(tmp_path: Path, study: Study) -> None:
    study([5, 10, 20, 50, "all"], range(3))
    (block,) = load(tmp_path)
    seven, eight = (made(t) for t in tables_of(block, budget=True))
    full, fifty = np.mean(list(LIMIT.values())), np.mean(list(power_law(50).values()))
    row = seven["partial focal report 50"]
    assert (row["final mIoU"], row["fitted curve"]) == (f"{fifty:.4f} ± 0.0000", f"{fifty:.4f} ± 0.0000")
    assert row["share of full in %"] == f"{100 * fifty / full:.1f} ± 0.0"
    assert seven["partial focal report 100 (not run)"]["fitted curve"].startswith(
        f"{np.mean(list(power_law(100).values())):.4f}"
    )
    assert seven["partial focal report all"]["final mIoU"].startswith(f"{full:.4f}")
    classes = [name.removeprefix("partial focal report ") for name in eight]
    assert classes[:3] == ["all (mIoU)", "Road", "Building"]
    assert classes[-1] == "Water"
    road = eight["partial focal report Road"]
    assert (road["doubling"], road["gap to full"]) == ("50 → 100", f"+{60 * 50**-0.5:.1f} ± 0.0")
    assert road["gain"] == f"+{60 * (50**-0.5 - 100**-0.5):.1f} ± 0.0"
    said = notes(tmp_path)
    assert "saturating power law a − b·n^(−c)" in said
    assert "c = 0.500 (4 densities test its shape)" in said
    lacking = 100 * LACK["Road"] / sum(LACK.values())
    assert (
        f"Road limits mIoU most: IoU 0.2951 with 50 points per class, 8.5 points below full masks, {lacking:.0f} %"
        in said
    )
    assert "python train.py" not in said


def test_a_flat_curve_shows_no_gain(tmp_path: Path, study: Study) -> None:
    study([5, 10, 20, 50], range(3), flat, noise=0.01)
    assert re.search(
        r"doubling from 50 to 100 points per class is expected to bring [+−]\d\.\d points of mIoU, "
        r"95 % interval −\d+\.\d to \+\d+\.\d: no gain is shown\.",
        notes(tmp_path),
    )


def test_a_steep_curve_shows_a_gain(tmp_path: Path, study: Study) -> None:
    study([5, 10, 20, 40], range(3), lambda n: {c: 0.1 + 0.05 * np.log2(n) for c in LIMIT}, noise=0.001)
    assert re.search(
        r"bring \+[45]\.\d points of mIoU, 95 % interval \+\d\.\d to \+\d\.\d: a gain is shown\.", notes(tmp_path)
    )


def test_two_densities_give_a_line_and_say_what_it_assumes(tmp_path: Path, study: Study) -> None:
    study([5, 20, "all"], range(3), noise=0.001)
    said = notes(tmp_path)
    assert "a straight line in log2 n, as 2 densities cannot show how a curve flattens (more can: points=10,40)" in said
    assert "a gain is shown, provided that the line goes on." in said


def test_without_full_masks_the_classes_are_held_against_the_best_and_the_command_is_named(
    tmp_path: Path, study: Study
) -> None:
    study([5, 20, 50], range(3), noise=0.005)
    said = notes(tmp_path)
    assert "no run on full masks (points=all), so the share of full supervision is unknown (it takes masks of" in said
    assert re.search(
        r"^python train\.py -m points=all loss=focal augment=report seed=0,1,2 .*study=report$", said, re.MULTILINE
    )
    assert re.search(r"Road limits mIoU most: .* points below the best class \(Water\)", said)
    (block,) = load(tmp_path)
    seven, eight = (made(t) for t in tables_of(block, budget=True))
    assert seven["partial focal report 50"]["share of full in %"] == "—"
    assert eight["partial focal report Road"]["gap to full"] == "—"


def test_one_density_says_what_is_missing(tmp_path: Path, study: Study) -> None:
    study([20], range(3))
    said = notes(tmp_path)
    assert "there is one density (20 points per class), and a curve needs two" in said
    assert "\npython train.py -m points=5,10,40,all loss=focal augment=report seed=0,1,2 " in said
    assert "no expectation from one density" in said
    assert only(tmp_path).curves["miou_final"] is None


def test_one_seed_has_a_curve_without_band_or_interval(tmp_path: Path, study: Study) -> None:
    study([5, 10, 20, 50, "all"], [0])
    (block,) = load(tmp_path)
    tables = tables_of(block, budget=True)
    assert not any("±" in cell.text for t in tables for row in t.rows for cell in row)
    said = notes(tmp_path)
    assert "No band: it takes two seeds" in said
    assert "one seed gives no interval" in said
    assert "there is no interval, and no gain is shown" in said
    assert "points=5,10,20,50,all loss=focal augment=report seed=0,1,2 " in said


def test_seeds_that_lack_a_density_are_left_out_of_the_curve_and_named(tmp_path: Path, study: Study) -> None:
    study([5, 20, 50, "all"], range(4), noise=0.01)
    shutil.rmtree(next((tmp_path / "outputs/report").glob("*points=50*seed=3")))
    curve = only(tmp_path).curves["miou_final"]
    assert curve is not None
    assert curve.scores.shape == (3, 3)
    said = notes(tmp_path)
    assert "(seeds left out of it for lack of a density: 1)" in said
    assert "points=50 lacks seed 3" in said
    assert "-m points=50 loss=focal augment=report seed=0,1,2,3 " in said


def test_no_interval_where_no_two_seeds_have_every_density(tmp_path: Path, study: Study) -> None:
    study([5], [0, 1])
    study([20], [1, 2])
    curve = only(tmp_path).curves["miou_final"]
    assert curve is not None
    assert curve.gain().low is None
    assert "No band" in notes(tmp_path)


def test_a_density_of_which_the_images_had_too_few_points_is_no_point_of_the_curve(
    tmp_path: Path, study: Study
) -> None:
    study([5, 20, 50], range(2))
    for path in (tmp_path / "outputs" / "report").glob("*/result.json"):
        run = json.loads(path.read_text())
        count = min(run["points"], 12) * 9
        path.write_text(json.dumps(run | {"labelled_pixels": dict.fromkeys(LIMIT, count)}))
    group = only(tmp_path)
    assert group.densities == [5]
    assert group.short == {20: pytest.approx(2.4), 50: pytest.approx(2.4)}
    said = notes(tmp_path)
    assert "points=50 is left out: the images had too few points" in said
    assert "2.4 times" in said
    assert "a gain is shown" not in said
    assert "\npython train.py -m points=1,2,10,all loss=focal" in said


def test_runs_of_another_configuration_are_no_point_of_the_curve(tmp_path: Path, study: Study) -> None:
    study([5, 20], range(2))
    study([50], range(2), **{"optimizer.lr": 1e-3})
    found = [g for block in load(tmp_path) for g in groups(block)]
    assert sorted(g.densities for g in found) == [[5, 20], [50]]
    (lone,) = (tables_of(b, budget=True) for b in load(tmp_path) if groups(b)[0].densities == [50])
    assert any("optimizer.lr=0.001" in n for n in lone[0].notes if n.startswith("python train.py"))


def test_losses_and_augmentations_have_curves_of_their_own(tmp_path: Path, study: Study) -> None:
    study([5, 20], range(2))
    study([5, 20], range(2), flat, loss="ce", augment="none")
    (block,) = load(tmp_path)
    gains = {(g.loss, g.augment): g.curves["miou_final"].gain().mean for g in groups(block)}  # type: ignore[union-attr]
    assert gains["focal", "report"] > 0.01
    assert gains["ce", "none"] == pytest.approx(0)


def test_held_out_tiles_stand_in_for_seeds(tmp_path: Path, study: Study) -> None:
    for fold in range(3):
        shifted = {c: v * (1 - 0.05 * fold) for c, v in LIMIT.items()}
        axes = {"split": "tile", "data.fold": fold}
        study([5, 20], [0], lambda n, s=shifted: {c: s[c] - 0.1 / n for c in s}, noise=0.01, **axes)
    group = only(tmp_path)
    assert group.unit == "tile"
    assert group.scores["miou_final"].shape == (3, 2)
    said = notes(tmp_path)
    assert "paired over tiles" in said
    assert "delta method over 3 tiles" in said
    assert "seed=0 data.fold=0,1,2 split=tile" in said


def test_a_class_without_iou_breaks_nothing(tmp_path: Path, study: Study) -> None:
    study([5, 20, 50], range(2), lambda n: power_law(n) | {"Road": float("nan")})
    (block,) = load(tmp_path)
    eight = made(tables_of(block, budget=True)[1])
    assert (eight["partial focal report Road"]["IoU now"], eight["partial focal report Road"]["gain"]) == ("—", "—")
    assert list(eight)[-1] == "partial focal report Road"


def test_full_masks_alone_have_no_curve(tmp_path: Path, study: Study) -> None:
    study(["all"], range(2))
    (block,) = load(tmp_path)
    (seven,) = tables_of(block, budget=True)
    assert "there are full masks only" in " ".join(seven.notes)
    assert "points=5,10,20,40" in " ".join(seven.notes)


def test_defaults_of_the_command_are_those_of_conf() -> None:
    conf = Path(__file__).parents[2] / "conf"
    top = yaml.safe_load((conf / "config.yaml").read_text())
    chosen = {k: v for entry in top["defaults"] if isinstance(entry, dict) for k, v in entry.items()}
    for word, (_, default) in DEFAULTS.items():
        group, _, key = word.partition(".")
        if key:
            assert default == yaml.safe_load((conf / group / f"{chosen[group]}.yaml").read_text())[key], word
        else:
            assert default == {**top, **chosen}[group], word


def test_command_line_formats_and_figure(tmp_path: Path, study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    study([5, 20, 50, "all"], range(3), noise=0.005)
    study([20], range(3), noise=0.005, loss="ce")
    assert run_main(tmp_path, "--budget", "report") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("study report: 15 runs read from ")
    assert "Table 7: " in shown
    assert "Table 8: " in shown
    assert re.search(r"^  python train\.py -m points=5,10,40,all loss=ce .*study=report$", shown, re.MULTILINE)

    assert run_main(tmp_path, "--budget", "report", "--format", "csv") == 0
    cells = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    names = {"table": "8", "row": "partial focal, report, all (mIoU)", "column": "gain"}
    (cell,) = [c for c in cells if names.items() <= c.items()]
    assert float(cell["low"]) < float(cell["value"]) < float(cell["high"])
    assert cell["n"] == "3"

    assert run_main(tmp_path, "--budget", "report", "--format", "latex", "--out", str(tmp_path / "out")) == 0
    assert (tmp_path / "out" / "budget.tex").read_text().isascii()
    assert run_main(tmp_path, "--budget", "report", "--format", "markdown", "--out", str(tmp_path / "out")) == 0
    assert "### Table 8: " in (tmp_path / "out" / "budget.md").read_text()

    assert run_main(tmp_path, "--budget", "report", "--figures", str(tmp_path / "figures")) == 0
    (path,) = (tmp_path / "figures").iterdir()
    with Image.open(path) as picture:
        assert path.name.startswith("label-budget-resnet34")
        assert picture.width >= 900


def test_one_density_is_no_curve_to_draw(tmp_path: Path, study: Study) -> None:
    for points, pictures in (20, 0), (5, 1):
        study([points], range(2), noise=0.005)
        assert run_main(tmp_path, "report", "--figures", str(tmp_path / "figures")) == 0
        assert len(list((tmp_path / "figures").glob("label-budget-*.png"))) == pictures


def test_budget_takes_one_study_and_no_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(tmp_path, "other", "--budget", "report") == 2
    assert "--budget STUDY has tables of its own" in capsys.readouterr().err
    assert run_main(tmp_path, "--budget", "nothing") == 2
    assert "study 'nothing' has no finished run" in capsys.readouterr().err
