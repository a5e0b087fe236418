"""Figures show what their runs hold."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from studies import EPOCHS, Write, load, run_main, store_panels, whole_grid


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
    assert curves is not None
    assert matrices is not None
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
            assert picture.format == "PNG"
            assert picture.width >= 900
            assert 300 <= picture.height <= 1200
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20
        assert path.stat().st_size < 300_000


def test_a_run_with_a_sheet_only_shows_the_sheet(tmp_path: Path, write: Write) -> None:
    from sparse_seg.report.examples import examples

    panels = write(0.5) / "panels"
    panels.mkdir()
    Image.new("RGB", (400, 300), "red").save(panels / "panel.png")
    (block,) = load(tmp_path)
    made_figure = examples(block)
    assert made_figure is not None
    assert "first training images" in made_figure[1]
