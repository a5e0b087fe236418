"""`python -m sparse_seg.data inspect` finds, counts, writes classes.yaml once, and says when it cannot tell."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from cli import SMALL, train
from folders import CLASSES, COLOURS, UTM, index_map, make, picture, save_mask, save_tif
from hydra.core.override_parser.overrides_parser import OverridesParser

from sparse_seg.classes import LAND_COVER
from sparse_seg.data.__main__ import main
from sparse_seg.data.classfile import read_classes
from sparse_seg.data.folder import folder

NAMES = ["a.JPG", "b.jpeg", "c.PNG", "d.png"]


def looked(root: Path, capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(["inspect", str(root), *words]) == code
    said = capsys.readouterr()
    return said.err if code else said.out


def test_it_counts_pixels_and_writes_the_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make(tmp_path / "own", NAMES)
    (root / "classes.yaml").unlink()
    out = looked(root, capsys)
    assert "images    4 in" in out
    assert "48×40 (4)" in out
    assert "masks     4, of which 4" in out
    code = read_classes(root / "classes.yaml")
    assert code.colours == tuple(LAND_COVER.colours[:3])
    assert code.names == ("Water", "Land", "Road")
    total = sum(np.bincount(index_map(k).ravel(), minlength=3) for k in range(4))
    for name, pixels in zip(code.names, total.tolist(), strict=True):
        assert any(name in line and f" {pixels:,} pixels" in line for line in out.splitlines())
    assert len(folder(root).samples) == 4


def test_the_command_it_prints_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make(tmp_path / "own", NAMES, masked=[], points=6)
    (root / "classes.yaml").unlink()
    out = looked(root, capsys)
    assert "points    72 on 4 images" in out
    assert "Water 24, Land 24, Road 24" in out
    assert "the score is point accuracy, not mIoU" in out
    words = shlex.split(out.splitlines()[-1])[2:]
    assert words == ["data=folder", f"data.root={root}", "points=6"]
    bare = ("logger=none", "callbacks.checkpoint=null", "callbacks.panels=null")
    outcome = train(*words, *SMALL, *bare, cwd=tmp_path)
    assert outcome.code == 0, outcome.err


def test_it_never_overwrites_the_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make(tmp_path / "own", NAMES)
    assert f"classes   3 in {root / 'classes.yaml'}" in looked(root, capsys)
    assert (root / "classes.yaml").read_text() == CLASSES


def test_it_names_what_is_unpaired_damaged_off_the_palette_or_misplaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make(tmp_path / "own", NAMES, points=3)
    save_mask(root / "masks" / "lonely.png", index_map(0))
    (root / "masks" / "d.PNG").unlink()
    (root / "images" / "b.jpeg").write_bytes((root / "images" / "b.jpeg").read_bytes()[:200])
    colours = np.array(COLOURS, np.uint8)[index_map(2)]
    colours[0, :5] = (1, 2, 3)
    PIL.Image.fromarray(colours).save(root / "masks" / "c.png")
    with (root / "points.csv").open("a") as f:
        f.write("a,99,1,Water\nc,0,0,Forest\n")
    out = looked(root, capsys)
    assert f"1 images without mask: {root / 'images' / 'd.png'}" in out
    assert f"1 masks without image: {root / 'masks' / 'lonely.png'}" in out
    assert f"damaged   {root / 'images' / 'b.jpeg'} is damaged" in out
    assert "off       5 pixels hold no class and count as unlabelled: #010203 (5)" in out
    assert "bad points left out" in out
    assert "1 outside of their image" in out
    assert "1 of unknown classes" in out


def test_masks_of_numbers_give_classes_with_indices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make(tmp_path / "own", ["a.png"], masked=[])
    (root / "classes.yaml").unlink()
    save_tif(root / "masks" / "a.tif", (index_map(0) * 3 + 1)[None])
    out = looked(root, capsys)
    code = read_classes(root / "classes.yaml")
    assert (code.names, code.indices) == (("class_1", "class_4", "class_7"), (1, 4, 7))
    assert f"{(index_map(0) == 0).sum():,} pixels" in out
    np.testing.assert_array_equal(folder(root).samples[0].read()[1], index_map(0))


@pytest.mark.parametrize(
    ("labels", "names", "indices"),
    [
        (["1", "2", "5"], ("class_1", "class_2", "class_5"), (1, 2, 5)),
        (["311", "112", "411"], ("112", "311", "411"), None),
        (["01", "02", "5"], ("01", "02", "5"), None),
    ],
)
def test_labels_that_are_numbers_stay_what_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: list[str], names: tuple[str, ...], indices: Any
) -> None:
    root = make(tmp_path / "own", ["a.png"], masked=[])
    (root / "classes.yaml").unlink()
    lines = [f"a,{k},{k},{label}" for k, label in enumerate(labels)]
    (root / "points.csv").write_text("\n".join(["image,x,y,class", *lines]))
    looked(root, capsys)
    code = read_classes(root / "classes.yaml")
    assert (code.names, code.indices) == (names, indices)
    points = folder(root).samples[0].points
    assert points is not None
    said = [names.index(label if indices is None else f"class_{label}") for label in labels]
    assert points[:, 2].tolist() == said


def test_nodata_of_a_mask_is_no_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make(tmp_path / "own", ["a.png"], masked=[])
    (root / "classes.yaml").unlink()
    values = index_map(0).astype(np.int16) + 1
    values[:5] = -9999
    save_tif(root / "masks" / "a.tif", values[None], nodata=-9999)
    out = looked(root, capsys)
    assert read_classes(root / "classes.yaml").indices == (1, 2, 3)
    assert re.search(rf"unlabelled +{5 * 48} pixels +12\.5%", out)
    assert "off " not in out


@pytest.mark.parametrize("name", ["Bilder (über), 2024 = x", "it's", "2024", "null"])
def test_the_printed_command_holds_whatever_the_folder_is_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / name, ["a.png"])
    monkeypatch.chdir(tmp_path)
    words = shlex.split(looked(Path(name), capsys).splitlines()[-1])[2:]
    parser = OverridesParser.create()
    values = {o.key_or_group: o.value() for o in parser.parse_overrides(words)}
    assert values == {"data": "folder", "data.root": name}


def test_masks_in_black_and_white_have_two_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make(tmp_path / "own", ["a.png"], masked=[])
    (root / "classes.yaml").unlink()
    object_ = index_map(0) == 1
    save_mask(root / "masks" / "a.png", np.where(object_, 255, 0).astype(np.uint8), "L")
    out = looked(root, capsys)
    assert any("class_255" in line and f" {object_.sum():,} pixels" in line for line in out.splitlines())
    np.testing.assert_array_equal(folder(root).samples[0].read()[1], object_)


def test_deep_geotiffs_are_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make(tmp_path / "own", [], masked=[])
    save_tif(root / "images" / "a.tif", np.zeros((4, 40, 2100), np.uint16))
    out = looked(root, capsys)
    assert "uint16 × 4" in out
    assert UTM in out
    assert "refused" in out
    assert "has neither masks in masks nor points.csv" in out
    save_mask(root / "masks" / "a.png", np.zeros((40, 2100), np.uint8))
    out = looked(root, capsys)
    assert "data.scale=[LOW,HIGH]" in out
    assert "data.tile=256" in out
    assert "for LOW and HIGH" in out


@pytest.mark.parametrize("kind", ["nothing", "noise", "mixed", "which", "one class", "no folder"])
def test_it_refuses_politely_when_it_cannot_decide(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    root = make(tmp_path / "own", ["a.png", "b.png"], masked=["a.png"] if kind in ("mixed", "which") else [])
    (root / "classes.yaml").unlink()
    if kind == "noise":
        (root / "masks").mkdir()
        noise = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
        PIL.Image.fromarray(noise).save(root / "masks" / "a.png")
    if kind == "mixed":
        save_mask(root / "masks" / "b.png", index_map(1), "L")
    if kind == "one class":
        save_mask(root / "masks" / "a.png", np.full((40, 48), 7, np.uint8), "L")
    if kind == "which":
        (root / "points.csv").write_text("image,x,y,class\na,1,1,Sea\n")
    err = looked(root if kind != "no folder" else tmp_path / "none", capsys, code=2)
    messages = {
        "nothing": "has no masks and no file of points", "noise": "JPEG and smoothing invent colours",
        "mixed": "some masks hold colours", "which": "cannot tell which is which",
        "one class": "hold one class, class_7", "no folder": "is no folder",
    }  # fmt: skip
    assert err.startswith("error: ")
    assert messages[kind] in err
    assert err.count("\n") <= 2
    assert not (root / "classes.yaml").exists()


def test_other_names_are_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make(tmp_path / "own", ["a.png"], masked=[])
    (root / "images").rename(root / "rgb")
    PIL.Image.fromarray(picture(index_map(0))).save(root / "rgb" / "b.png")
    (root / "clicks.csv").write_text("image,x,y,class\na,1,1,Water\n")
    out = looked(root, capsys, "--images", "rgb", "--points-file", str(root / "clicks.csv"))
    assert "data.images=rgb" in out
    assert f"data.points_file={root / 'clicks.csv'}" in out
