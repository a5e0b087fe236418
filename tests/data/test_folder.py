"""A folder of one's own: what pairs, what splits, what is refused, and runs from end to end."""

import csv
import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from cli import SMALL, train, trained
from folders import COLOURS, index_map, make, picture, save_mask, save_tif

from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.data.dubai import dubai
from sparse_seg.data.folder import files_of, folder
from sparse_seg.data.sample import ImageSet
from sparse_seg.data.split import split_indices
from sparse_seg.errors import UserError
from sparse_seg.raster.warned import AlphaWarning

NAMES = ["a.JPG", "b.jpeg", "c.PNG", "d.png", "e.TIFF"]


def ids(images: ImageSet) -> list[str]:
    return [s.image_id for s in images.samples]


def module(images: ImageSet, tmp_path: Path, points: int | str = 5, **options: Any) -> SparsePointsDataModule:
    given = {"seed": 0, "size": 32, "val_fraction": 0.4, "cache_dir": str(tmp_path / "cache")} | options
    data = SparsePointsDataModule(images, points=points, **given)
    data.setup()
    return data


def test_images_of_any_suffix_and_case_pair_with_rgb_and_palette_masks(tmp_path: Path) -> None:
    images = folder(make(tmp_path / "own", NAMES))
    assert ids(images) == ["a", "b", "c", "d", "e"]
    assert images.scored_on == "masks"
    for k, sample in enumerate(images.samples):
        image, mask = sample.read()
        assert image.shape == (40, 48, 3)
        np.testing.assert_array_equal(mask, index_map(k))


@pytest.mark.skipif(not os.environ.get("SPARSE_SEG_DATA"), reason="SPARSE_SEG_DATA is not set: no Dubai data")
def test_dubai_is_one_such_folder(tmp_path: Path) -> None:
    own = dubai()
    lines = [
        f"  - {{name: {n}, colour: {list(c)}}}" for n, c in zip(own.classes.names, own.classes.colours, strict=True)
    ]
    (tmp_path / "classes.yaml").write_text("\n".join(["classes:", *lines, 'unlabelled: ["#9B9B9B"]']))
    images = folder(
        os.environ["SPARSE_SEG_DATA"], images="*/images", masks="*/masks", classes=str(tmp_path / "classes.yaml")
    )
    assert images.classes == own.classes
    assert [(s.image_id, s.content) for s in images.samples] == [(s.image_id, s.content) for s in own.samples]


def test_a_pattern_names_files_by_what_its_stars_stand_for(tmp_path: Path) -> None:
    root = make(tmp_path / "own", ["a_rgb.png", "b_rgb.png"], masked=[])
    for k, name in enumerate("ab"):
        save_mask(root / "labels" / f"{name}_mask.png", index_map(k))
    images = folder(root, images="images/*_rgb.png", masks="labels/*_mask.png")
    assert ids(images) == ["a", "b"]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_masks_may_hold_class_numbers(tmp_path: Path, suffix: str) -> None:
    root = make(tmp_path / "own", ["a.png"], masked=[])
    index = index_map(0)
    values = (index * 10).astype(np.uint8)
    values[:2, :2] = 7  # no class
    if suffix == ".png":
        save_mask(root / "masks" / "a.png", values, "L")
    else:
        save_tif(root / "masks" / "a.tif", values[None])
    (root / "classes.yaml").write_text("classes: [{name: A, index: 0}, {name: B, index: 10}, {name: C, index: 20}]")
    with pytest.warns(UserWarning, match="4 pixels"):
        mask = folder(root).samples[0].read()[1]
    index[:2, :2] = 255
    np.testing.assert_array_equal(mask, index)


def test_a_mask_of_other_numbers_is_refused_with_them(tmp_path: Path) -> None:
    root = make(tmp_path / "own", ["a.png"], masked=[])
    save_mask(root / "masks" / "a.png", np.full((40, 48), 9, np.uint8), "L")
    (root / "classes.yaml").write_text("classes: [{name: A, index: 0}, {name: B, index: 10}]")
    with pytest.raises(UserError, match=r"a\.png: 100% of the pixels hold the value of no class, mostly 9"):
        folder(root).samples[0].read()


def refuse(root: Path, message: str, **options: object) -> None:
    with pytest.raises(UserError) as error:
        folder(root, **options)  # type: ignore[arg-type]
    assert message in str(error.value)
    assert str(error.value).count("\n") < 2


def test_what_a_folder_lacks_is_named_with_the_way_out(tmp_path: Path) -> None:
    refuse(None, "data.root=FOLDER")  # type: ignore[arg-type]
    refuse(tmp_path / "none", "is no folder")
    refuse(tmp_path, "no image (.tif, .tiff, .jp2, .vrt, .png, .jpg, .jpeg) in")
    root = make(tmp_path / "own", ["a.png"], masked=[])
    refuse(root, "has neither masks in masks nor points.csv")
    refuse(root, "is no pattern", images="images/**/*.png")
    refuse(root, "nowhere.csv does not exist", points_file="nowhere.csv")
    (root / "points.csv").touch()
    (root / "points.geojson").touch()
    refuse(root, "points.csv and")
    (root / "classes.yaml").unlink()
    (root / "points.csv").unlink()
    refuse(root, "python -m sparse_seg.data inspect")


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    refuse(make(tmp_path / "own", ["a.jpg", "a.PNG"], masked=[], points=1), "are both called 'a'")


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    root = make(tmp_path / "own", NAMES)
    (root / "images" / "c.PNG").write_bytes(b"no image")
    refuse(root, f"{root / 'images' / 'c.PNG'} is damaged or no image")
    (root / "images" / "c.PNG").unlink()
    (root / "images" / "e.TIFF").write_bytes(b"no image")
    refuse(root, f"{root / 'images' / 'e.TIFF'} is damaged or no GeoTIFF")


def test_a_mask_of_another_size_is_named(tmp_path: Path) -> None:
    root = make(tmp_path / "own", ["a.png"])
    save_mask(root / "masks" / "a.png", index_map(0, (48, 48)))
    refuse(root, "is 48×40 but its mask")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bands": []}, "data.bands=[] names 0 bands, not 1 to 128"),
        ({"bands": [1] * 129}, "names 129 bands, not 1 to 128; null: the first three"),
        ({"bands": "rgb"}, "data.bands='rgb' must be a list of band numbers"),
        ({"bands": [0, 1, 2]}, "data.bands=[0, 1, 2] must be a list"),
        ({"scale": [5]}, "data.scale=[5] must be two numbers"),
        ({"scale": [5, 5]}, "must be below the second"),
        ({"tile": 16}, "data.tile=16 must be a whole number of pixels of at least 32"),
        ({"on_bad_point": "ignore"}, "data.on_bad_point='ignore' is unknown; choose error or skip"),
    ],
)
def test_values_that_cannot_work_are_refused(tmp_path: Path, options: dict[str, object], message: str) -> None:
    refuse(make(tmp_path / "own", ["a.png"]), message, **options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: []", "there must be a list `classes:`"),
        ("classes: [{colour: '#000000'}]", "class 1: {'colour': '#000000'} has no name"),
        ("classes: [{name: A, colour: red}]", "class 1: colour 'red' must be"),
        ("classes: [{name: A, color: '#000000'}, {name: A}]", "the name 'A' belongs to two classes"),
        ("classes: [{name: A, index: 1}, {name: B}]", "1 of 2 classes have an index"),
        ("classes: [{name: A, index: 255}]", "index 255 must be a whole number from 0 to 254"),
        ("classes: [{name: A, colours: 1}]", "'colours' is unknown"),
        ("classes: [", "cannot be read as YAML"),
        ("classes: [{name: A, colour: '#000000'}]\nunlabelled: ['#000000']", "and unlabelled, too"),
    ],
)
def test_a_wrong_classes_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    root = make(tmp_path / "own", ["a.png"])
    (root / "classes.yaml").write_text(text)
    refuse(root, message)


BANDS = np.arange(4 * 40 * 48).reshape(4, 40, 48).astype(np.uint16)


def test_uint16_bands_are_chosen_and_scaled(tmp_path: Path) -> None:
    root = make(tmp_path / "own", [], masked=[])
    save_tif(root / "images" / "a.tif", BANDS)
    save_tif(root / "masks" / "a.tif", np.array(COLOURS, np.uint8)[index_map(0)].transpose(2, 0, 1))
    images = folder(root, bands=[4, 1, 2], scale=[0, 2550])
    assert (images.bands, images.scale) == ((4, 1, 2), (0.0, 2550.0))
    image, mask = images.samples[0].read()
    assert image[2, 4].tolist() == [255, 10, 202]
    np.testing.assert_array_equal(mask, index_map(0))
    with pytest.raises(UserError, match=r"uint16, not uint8: .* data\.scale=\[low,high\]"):
        folder(root).samples[0].read()
    assert folder(root, bands=[2], scale=[0, 1]).bands == (2, 2, 2)


@pytest.mark.parametrize("kind", ["nodata", "alpha"])
def test_where_there_is_no_image_nothing_is_labelled(tmp_path: Path, kind: str) -> None:
    root = make(tmp_path / "own", [], masked=[])
    pixels = picture(index_map(0)).transpose(2, 0, 1)
    if kind == "nodata":
        pixels[:, :8, :8] = 0
        save_tif(root / "images" / "a.tif", pixels, nodata=0)
    else:
        alpha = np.full((40, 48), 255, np.uint8)
        alpha[:8, :8] = 0
        PIL.Image.fromarray(np.dstack([pixels.transpose(1, 2, 0), alpha])).save(root / "images" / "a.png")
    save_mask(root / "masks" / "a.png", index_map(0))
    read = folder(root).samples[0].read
    if kind == "nodata":
        mask = read()[1]
    else:
        with pytest.warns(AlphaWarning, match=r"a\.png: 64 pixels are transparent"):
            mask = read()[1]
    assert (mask[:8, :8] == 255).all()
    assert (mask != 255).sum() == mask.size - 64


def test_windows_keep_points_at_their_pixels(tmp_path: Path) -> None:
    root = make(tmp_path / "own", [], masked=[])
    image = np.zeros((70, 100, 3), np.uint8)
    image[65, 97] = (9, 8, 7)
    PIL.Image.fromarray(image).save(root / "images" / "big.png")
    (root / "points.csv").write_text("image,x,y,class\nbig,97,65,Road\nbig,1,2,Water\nbig,3,3,Water\n")
    images = folder(root, tile=32)
    assert ids(images) == ["big@0,0", "big@64,96"]
    window = images.samples[1]
    pixels, mask = window.read()
    assert (window.scene, window.offset, pixels.shape) == ("big", (64, 96), (32, 32, 3))
    assert window.points is not None
    assert window.points.tolist() == [[1, 1, 2, 0]]
    assert pixels[1, 1].tolist() == [9, 8, 7]
    assert mask[1, 1] == 2
    assert (mask != 255).sum() == 1
    with pytest.warns(UserWarning, match="classes Land, Road have no labelled pixel"):
        data = module(images, tmp_path, val_fraction=0.5, allow_empty_classes=True)
    assert data.scored_on == "points"
    placed = set(map(tuple, np.concatenate([*data.train_points.values()])[:, :2].tolist()))
    assert placed <= {(65, 97), (2, 1), (3, 3)}  # in pixels of the whole image


def test_windows_of_an_image_stay_together_and_share_its_points(tmp_path: Path) -> None:
    images = folder(make(tmp_path / "own", NAMES), tile=32)
    assert len(images.samples) == 20
    train_side, val = split_indices(images.samples, "random", 0.4)
    scenes = [{images.samples[i].scene for i in side} for side in (train_side, val)]
    assert len(scenes[1]) == 2
    assert not scenes[0] & scenes[1]
    data = module(images, tmp_path, points=5)
    assert all((np.bincount(p[:, 2]) == 5).all() for p in data.train_points.values())
    index = {name[0]: index_map(k) for k, name in enumerate(NAMES)}
    for scene, points in data.train_points.items():
        assert (index[scene][points[:, 0], points[:, 1]] == points[:, 2]).all()


def test_windows_mean_the_same_pixels_as_the_whole_mask(tmp_path: Path) -> None:
    root = make(tmp_path / "own", ["a.png", "b.png"])
    save_tif(root / "images" / "c.tif", picture(index_map(7)).transpose(2, 0, 1))
    save_tif(root / "masks" / "c.tif", np.array(COLOURS, np.uint8)[index_map(7)].transpose(2, 0, 1))
    for key, seed in (("a", 0), ("b", 1), ("c", 7)):
        pasted = np.full((64, 64), 255, np.uint8)
        for sample in folder(root, tile=32).samples:
            if sample.scene == key:
                row, col = sample.offset
                pasted[row : row + 32, col : col + 32] = sample.read()[1]
        np.testing.assert_array_equal(pasted[:40, :48], index_map(seed))
        assert (pasted[40:] == 255).all()
        assert (pasted[:, 48:] == 255).all()


def test_images_without_mask_train_and_never_validate(tmp_path: Path) -> None:
    root = make(tmp_path / "own", NAMES, masked=["a.JPG", "c.PNG"], points=3)
    images = folder(root)
    train_side, val = split_indices(images.samples, "random", 0.2)
    assert len(val) == 1
    assert images.samples[val[0]].has_mask
    assert len(train_side) == 4
    lines = (root / "points.csv").read_text().splitlines()
    (root / "points.csv").write_text("\n".join(line for line in lines if not line.startswith("a.")))
    images = folder(root)
    assert [images.samples[i].image_id for i in split_indices(images.samples, "random", 0.2)[1]] == ["a"]


def test_without_masks_a_share_of_each_images_points_validates(tmp_path: Path) -> None:
    images = folder(make(tmp_path / "own", NAMES, masked=[], points=20))
    data = module(images, tmp_path, points="all")
    assert images.scored_on == data.scored_on == "points"
    assert data.train_indices == data.val_indices == [0, 1, 2, 3, 4]
    _, val = data.validation_arrays()
    assert data._train is not None
    given, held = np.stack(data._train.targets[:]) != 255, np.stack(val[:]) != 255
    assert not (given & held).any()
    assert held.any((1, 2)).all()
    assert 0.3 < held.sum() / (given | held).sum() < 0.5
    fewer = module(images, tmp_path, points=2)
    np.testing.assert_array_equal(fewer.validation_arrays()[1], np.stack(val[:]))
    assert all((np.bincount(p[:, 2]) == 2).all() for p in fewer.train_points.values())


def test_points_of_a_folder_are_nested(tmp_path: Path) -> None:
    images = folder(make(tmp_path / "own", NAMES, points=6))
    few, many = (module(images, tmp_path, points=n).train_points for n in (2, 5))
    for key, points in few.items():
        assert set(map(tuple, points.tolist())) < set(map(tuple, many[key].tolist()))


def test_points_of_a_folder_are_the_first_of_the_file(tmp_path: Path) -> None:
    root = make(tmp_path / "own", NAMES, points=6)
    data = module(folder(root), tmp_path, points=2)
    with (root / "points.csv").open(newline="") as f:
        listed = [(r["image"].split(".")[0], r["class"], (int(r["y"]), int(r["x"]))) for r in csv.DictReader(f)]
    for key, points in data.train_points.items():
        for label, name in enumerate(("Water", "Land", "Road")):
            first = [at for image, title, at in listed if (image, title) == (key, name)][:2]
            assert [(r, c) for r, c, k in points.tolist() if k == label] == first


def test_a_tile_of_a_folder_is_a_sub_folder_or_a_single_image(tmp_path: Path) -> None:
    names = ["north/a.png", "north/b.png", "south/c.png", "d.png"]
    root = make(tmp_path / "own", [], masked=[])
    for k, name in enumerate(names):
        for part, pixels in (("images", picture(index_map(k))), ("masks", np.array(COLOURS, np.uint8)[index_map(k)])):
            (root / part / name).parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(pixels).save(root / part / name)
    samples = folder(root).samples
    held = [[samples[i].image_id for i in split_indices(samples, "tile", 0.2, fold=k)[1]] for k in range(3)]
    assert sorted(held) == [["d"], ["north/a", "north/b"], ["south/c"]]


@pytest.mark.parametrize("empty", [False, True])
def test_windows_without_a_point_train_only_if_told_to(tmp_path: Path, empty: bool) -> None:
    root = make(tmp_path / "own", [], masked=[])
    for k in range(4):
        index = index_map(k, (64, 64))
        PIL.Image.fromarray(picture(index)).save(root / "images" / f"{k}.png")
        save_mask(root / "masks" / f"{k}.png", index)
    (root / "points.csv").write_text("image,x,y,class\n" + "".join(f"{k},1,1,Water\n" for k in range(4)))
    with pytest.warns(UserWarning, match="classes Land, Road have no labelled pixel"):
        data = module(folder(root, tile=32, empty_windows=empty), tmp_path, points=1, allow_empty_classes=True)
    trained_on = {data.samples[i].whole for i in data.train_indices}
    assert len(data.train_indices) == len(trained_on) * (4 if empty else 1)
    assert len(data._train) == len(data.train_indices)  # type: ignore[arg-type]


def test_a_change_of_pixels_in_a_file_of_the_same_size_is_another_content(tmp_path: Path) -> None:
    root = make(tmp_path / "own", [], masked=[])
    save_tif(root / "images" / "a.tif", np.zeros((3, 8, 8), np.uint8))
    save_tif(root / "masks" / "a.tif", index_map(0, (8, 8))[None])
    before = (root / "images" / "a.tif").stat().st_size, folder(root).content
    save_tif(root / "images" / "a.tif", np.ones((3, 8, 8), np.uint8))
    after = (root / "images" / "a.tif").stat().st_size, folder(root).content
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_points_on_nodata_are_counted(tmp_path: Path) -> None:
    root = make(tmp_path / "own", [], masked=[])
    pixels = np.full((3, 40, 48), 9, np.uint8)
    pixels[:, :20] = 0
    for name in "abc":
        save_tif(root / "images" / f"{name}.tif", pixels, nodata=0)
    rows = [f"{name},{x},{y},Water" for name in "abc" for x, y in ((1, 1), (1, 30), (10, 30), (20, 30), (30, 30))]
    (root / "points.csv").write_text("\n".join(["image,x,y,class", *rows]))
    with pytest.warns(UserWarning, match="classes Land, Road have no labelled pixel"):
        data = module(folder(root), tmp_path, points="all", allow_empty_classes=True)
    held = sum(len(p) for p in data._held_out().values())
    assert data.points_off_image > 0
    assert sum(data.class_counts) + data.points_off_image == 15 - held


def test_linked_folders_are_searched_and_masks_may_be_left_out(tmp_path: Path) -> None:
    root = make(tmp_path / "own", ["a.png"], points=2)
    elsewhere = make(tmp_path / "else", ["b.png"], masked=[])
    (root / "images" / "linked").symlink_to(elsewhere / "images")
    (elsewhere / "images" / "back").symlink_to(root / "images")
    found = files_of(root, masks=None)
    assert sorted(found.images) == ["a", "linked/b"]
    assert not found.masks
    assert folder(root, masks=None).scored_on == "points"


def test_transparent_colours_of_a_palette_are_unlabelled(tmp_path: Path) -> None:
    root = make(tmp_path / "own", ["a.png"])
    image = PIL.Image.fromarray(index_map(0))
    image.putpalette([v for colour in COLOURS for v in colour])
    image.save(root / "images" / "a.png", transparency=1)
    np.testing.assert_array_equal(folder(root).samples[0].read()[1], np.where(index_map(0) == 1, 255, index_map(0)))


def test_a_change_of_points_or_masks_is_another_content(tmp_path: Path) -> None:
    root = make(tmp_path / "own", NAMES, points=2)
    before = folder(root).content
    with (root / "points.csv").open("a") as f:
        f.write("a,0,0,Water\n")
    after = folder(root).content
    assert before != after
    assert folder(shutil.copytree(root, tmp_path / "elsewhere")).content == after
    save_mask(root / "masks" / "a.png", index_map(7), "P")
    assert folder(root).content not in (before, after)


WORDS = (*SMALL, "trainer.max_epochs=2", "logger=none", "callbacks.panels.images=1", "points=4", "data=folder")


@pytest.mark.parametrize("kind", ["masks", "some masks", "no masks", "windows"])
def test_a_run_from_end_to_end(tmp_path: Path, kind: str) -> None:
    masked = {"masks": None, "windows": None, "some masks": ["a.JPG", "c.PNG"], "no masks": []}[kind]
    make(tmp_path / "own", NAMES, masked=masked, points=0 if masked is None else 8)
    words = (*WORDS, "data.root=own", *(["data.tile=32", "data.bands=[1,2,3]"] if kind == "windows" else []))
    run, result = trained(*words, cwd=tmp_path)
    assert run.name.startswith("loss=focal,points=4,augment=report,split=random,seed=0,data=folder,root=own") or (
        "root=own" in run.name
    )
    assert result["scored_on"] == ("points" if kind == "no masks" else "masks")
    assert (result["share_true"] is None, result["share_predicted"] is None) == (kind == "no masks",) * 2
    assert ("share_" in (run / "history.csv").read_text()) == (kind != "no masks")
    assert result["figures"]["data.content"]
    assert sum(result["labelled_pixels"].values()) > 0
    assert (run / "panels" / "panel.png").exists()
    text = (run / "log.txt").read_text()
    assert ("no mIoU of full masks" in text and "point accuracy" in text) == (kind == "no masks")
    saved = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["model"]
    assert (saved["bands"], saved["scale"]) == ([1, 2, 3] if kind == "windows" else None, None)
    if kind == "masks":
        assert train(*words, cwd=tmp_path).out.startswith("done already")
        PIL.Image.fromarray(np.zeros((40, 48, 3), np.uint8)).save(tmp_path / "own" / "images" / "a.JPG")
        again = train(*words, cwd=tmp_path)
        assert again.code == 1
        assert "it differs in data.content" in again.err


def test_notes_are_lines_of_the_log(tmp_path: Path) -> None:
    root = make(tmp_path / "own", NAMES, masked=["a.JPG"], points=3)
    with (root / "points.csv").open("a") as f:
        f.write("a,999,0,Water\n")
    words = (*WORDS, "trainer.max_epochs=1", "data.root=own", "callbacks.checkpoint=null", "callbacks.panels=null")
    refused = train(*words, cwd=tmp_path)
    assert refused.code == 1
    last = len((root / "points.csv").read_text().splitlines())
    assert f"points.csv, line {last}: x=999, y=0 (column, row) lies outside image 'a'" in refused.err
    run, result = trained(*words, "data.on_bad_point=skip", cwd=tmp_path)
    assert "1 bad points left out: 1 outside of their image" in (run / "log.txt").read_text()
    assert json.dumps(result)


def test_no_warning_comes_of_plain_tiffs(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image, mask = folder(make(tmp_path / "own", NAMES)).samples[4].read()
    assert image.shape[:2] == mask.shape
