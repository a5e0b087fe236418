"""The scripts of docs/results that read finished runs."""

import csv
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
from cli import TINY, trained
from studies import Write, store_panels

from sparse_seg.classes import LAND_COVER

RESULTS = Path(__file__).parents[2] / "docs" / "results"
ROAD = LAND_COVER.names.index("Road")


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, RESULTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_fat_roads_are_told_of_the_image_and_of_all(write: Write) -> None:
    roads = script("roads")
    plain = write(0.4)
    corrected = write(0.5, method="teacher", prior="estimated", rest=",teacher")
    for run in (plain, corrected):
        store_panels(run)
    found = roads.areas(plain, ROAD)
    image = roads.typical(plain, ROAD)
    figure = roads.draw(plain, corrected, None)
    said = [axes.get_xlabel() for axes in figure.axes[6:]]
    whole = sum(called for _, called in found.values()) / sum(true for true, _ in found.values())
    assert said[0] == f"Road: {found[image][1] / found[image][0]:.2f} times its area\n(all 5 images: {whole:.2f})"
    titles = [axes.get_title() for axes in figure.axes[:4]]
    assert titles == [image, "ground truth", "points\n20 points", "teacher, prior estimated\n20 points"]


def test_the_typical_image_is_of_the_half_with_the_most_road(write: Write) -> None:
    roads = script("roads")
    run = write(0.4)
    store_panels(run)
    true = {image: pair[0] for image, pair in roads.areas(run, ROAD).items()}
    assert true[roads.typical(run, ROAD)] >= sorted(true.values())[len(true) // 2]


def test_runs_without_pictures_are_named(write: Write) -> None:
    run = write(0.4)
    with pytest.raises(SystemExit, match=r"no panels/index\.json"):
        script("roads").draw(run, run, None)


def test_flips_score_a_run_as_it_scored_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, result = trained(*TINY, "trainer.max_epochs=2", "logger=none", "callbacks.panels=null", cwd=tmp_path)
    monkeypatch.chdir(tmp_path)
    script("flips").main([folder])
    out, err = capsys.readouterr()
    line = json.loads(out)
    assert line["miou_plain"] == pytest.approx(result["miou_final"], abs=1e-3)
    assert line["iou_plain"].keys() == line["iou_flips"].keys() == result["iou"].keys()
    assert 0 <= line["miou_flips"] <= 1
    assert (line["run"], line["epoch"], line["points"]) == (folder.name, 2, result["points"])
    assert ("where the run says" in err) == (abs(line["miou_plain"] - result["miou_final"]) > 1e-4)
    with pytest.raises(SystemExit, match="not finished"):
        script("flips").main([tmp_path])


def test_flips_say_where_a_line_is_not_of_the_last_epoch() -> None:
    line = {"epoch": 3, "miou_plain": 0.5, "miou_final": 0.5}
    assert "of epoch 3 of 5" in script("flips").remark(line, 5)
    assert script("flips").remark(line, 3) is None
    assert "scored 0.5100" in script("flips").remark(line | {"miou_plain": 0.51}, 3)


def test_flips_make_a_table_of_cells(tmp_path: Path) -> None:
    cell = {"method": "points", "prior": "none", "loss": "ce", "points": 20, "split": "random", "fold": None}
    cell |= {"tau": None, "encoder": "resnet18", "size": 64}
    found = [(0, 0.50, 0.52), (1, 0.54, 0.55)]
    full = cell | {"points": "all"}
    lines = [json.dumps(cell | {"seed": s, "miou_plain": a, "miou_flips": b}) for s, a, b in found]
    lines += [json.dumps(full | {"seed": s, "miou_plain": 2 * a, "miou_flips": 2 * b}) for s, a, b in found]
    lines.append(json.dumps(full | {"method": "teacher", "seed": 0, "miou_plain": 0.5, "miou_flips": 0.65}))
    taught = {"method": "teacher", "prior": "estimated", "tau": 0.5, "seed": 0, "miou_plain": 0.5, "miou_flips": 0.52}
    lines.append(json.dumps(cell | taught))
    other = {"prior": "estimated", "encoder": "resnet34", "seed": 0, "miou_plain": 0.9, "miou_flips": 0.9}
    lines += [json.dumps(cell | other | {"tau": tau}) for tau in (0.5, 1.0)]
    (tmp_path / "flips.jsonl").write_text("\n".join(lines) + "\n")
    table = script("flips").table(tmp_path / "flips.jsonl").splitlines()
    cells = [[part.strip().split(" ± ")[0] for part in line.strip("|").split("|")] for line in table]
    assert len([row for row in cells if "resnet34" in row]) == 2  # one for each tau
    rows = {tuple(row[:5]): row[-6:] for row in cells if "resnet18" in row}
    assert rows["points", "none", "", "ce", "20"] == ["0.5200", "0.5350", "+1.5", "50.0", "50.0", "2"]
    assert rows["points", "none", "", "ce", "all"] == ["1.0400", "1.0700", "+3.0", "—", "—", "2"]
    assert rows["teacher", "estimated", "0.5", "ce", "20"] == ["0.5000", "0.5200", "+2.0", "50.0", "80.0", "1"]


def test_shares_are_held_against_those_of_the_masks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = trained(*TINY, "prior=estimated", "logger=none", "callbacks.panels=null", cwd=tmp_path)
    monkeypatch.chdir(tmp_path)
    shares = script("shares")
    before, after = shares.errors(folder)
    assert before > 0
    assert after > 0
    cfg = shares.OmegaConf.load(folder / "config.yaml").config
    cfg.points = "all"
    true = shares.true_shares(shares.build.data_module(cfg, shares.image_set(cfg)))
    with (folder / "shares.csv").open(newline="", encoding="utf-8") as file:
        rows = [row | {"estimated": true[row["image"], row["class"]]} for row in csv.DictReader(file)]
    with (folder / "shares.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert shares.errors(folder) == (pytest.approx(before), pytest.approx(0, abs=1e-12))
    shares.main([folder])
    assert f"| {before:.3f}" in capsys.readouterr().out
