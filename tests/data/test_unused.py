"""What lies in a folder and is not used is said by inspect and in the notes of a run, once for each kind."""

from pathlib import Path

import pytest
from folders import CLASSES, index_map, make, save_mask

from sparse_seg.data.folder import files_of, folder
from sparse_seg.data.survey import inspect
from sparse_seg.errors import UserError


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def said(root: Path, **names: str) -> list[str]:
    """The same sentences in the notes of a run and from inspect."""
    notes = list(folder(root, **names).notes)
    lines = [line.removeprefix("not used  ") for line in inspect(root, **names) if line.startswith("not used")]
    assert [note for note in notes if note in lines] == lines
    return lines


def test_a_folder_of_which_all_is_used_says_nothing(tmp_path: Path) -> None:
    root = make(tmp_path / "own", ["a.png", "sub.tif"], points=2)
    systems = [
        "Thumbs.db",
        ".DS_Store",
        "._a.png",
        "desktop.ini",
        "README.md",
        "a.png.aux.xml",
        "sub.rpb",
        "sub.tif.ovr",
    ]
    touch(root / "images", *systems, "sub.tif.msk.ovr", "a.prj", "a.xml", "sub.qml")
    touch(root / "masks", "Thumbs.db", "a.png.ovr", "a.qml")
    touch(root, "README.md", "notes.txt", ".hidden.csv")
    assert said(root) == []


def test_other_suffixes_are_counted_with_their_first_names(tmp_path: Path) -> None:
    root = make(tmp_path / "own", ["a.png"])
    touch(root / "images", "b.bmp", "c.BMP", "sub/d.webp", "e.gif", "f.xyz", "g")
    touch(root / "masks", "b.bmp", "a.txt")
    first, second = said(root)
    assert first.startswith(f"{root / 'images'}: not read, since the suffix is none of .tif, ")
    assert first.endswith(
        "2 .bmp (b.bmp), 1 .gif (e.gif), 1 .webp (d.webp), 1 .xyz (f.xyz), 1 files without a suffix (g)"
    )
    assert second.startswith(f"{root / 'masks'}: not read")
    assert second.endswith("1 .bmp (b.bmp), 1 .txt (a.txt)")


def test_hidden_files_and_folders_are_counted(tmp_path: Path) -> None:
    root = make(tmp_path / "own", ["a.png"])
    touch(root / "images", ".b.png", ".trash/c.png", "sub/.d.tif")
    assert said(root) == [f"{root / 'images'}: 3 files are left out, hidden: .b.png, c.png, .d.tif"]


def test_side_files_without_an_image_are_named(tmp_path: Path) -> None:
    root = make(tmp_path / "own", ["a.png"])
    touch(root / "images", "b.tfw", "c.jpg.aux.xml", "a.prj")
    (line,) = said(root)
    assert (
        line == f"{root / 'images'}: 2 files are left out, without the image that they belong to: b.tfw, c.jpg.aux.xml"
    )


def test_files_beside_a_pattern_and_below_it_are_named(tmp_path: Path) -> None:
    root = make(tmp_path / "own", ["a_rgb.png"], masked=[])
    touch(root / "images", "a_nir.png", "b_nir.png", "deeper/c_rgb.png")
    save_mask(root / "masks" / "a_mask.png", index_map(0))
    save_mask(root / "masks" / "a_depth.png", index_map(0))
    lines = said(root, images="images/*_rgb.png", masks="masks/*_mask.png")
    assert "images/*_rgb.png: folders below are not searched: deeper" in lines
    assert f"{root / 'images'}: 2 files are left out, not named by the pattern: a_nir.png, b_nir.png" in lines
    assert f"{root / 'masks'}: 1 files are left out, not named by the pattern: a_depth.png" in lines


def test_files_that_may_be_points_or_classes_are_named(tmp_path: Path) -> None:
    root = make(tmp_path / "own", ["a.png"], points=2)
    touch(root, "classes.yml", "clicks.gpkg", "points_old.csv", "Points.GeoJSON")
    assert said(root) == [f"{root}: 4 files are not used: Points.GeoJSON, classes.yml, clicks.gpkg …"]
    (root / "mine.yaml").write_text(CLASSES)
    assert "5 files are not used" in said(root, classes="mine.yaml")[-1]


def test_folders_that_may_be_masks_are_named_where_there_are_none(tmp_path: Path) -> None:
    root = make(tmp_path / "own", ["a.png"], masked=[], points=2)
    save_mask(root / "labels" / "a.png", index_map(0))
    touch(root / "conf", "a.yaml")
    assert said(root) == [f"{root}: folders with images or masks that are not looked into: labels"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["images/a.bmp", "images/b.bmp", "images/c.webp"], "2 .bmp (a.bmp), 1 .webp (c.webp)"),
        (["images/.a.png"], "1 files are left out, hidden: .a.png"),
        (["Images/a.png", "tiles/b.tif"], "there is no such folder; images lie in Images, tiles"),
        (["a.png", "b.png"], "there is no such folder; 2 images lie in"),
        (["notes.txt"], "there is no such folder\n"),
    ],
)
def test_where_no_image_is_found_it_is_said_what_there_is(tmp_path: Path, names: list[str], message: str) -> None:
    touch(tmp_path, *names)
    with pytest.raises(UserError) as error:
        files_of(tmp_path)
    assert f"in {tmp_path / 'images'}: " in str(error.value)
    assert message in str(error.value)
    assert str(error.value).count("\n") == 1


def test_without_points_and_masks_it_is_said_what_there_is(tmp_path: Path) -> None:
    root = make(tmp_path / "own", ["a.png"], masked=[])
    touch(root, "points.gpkg")
    with pytest.raises(UserError, match=r"has neither masks .*\n.*1 files are not used: points\.gpkg"):
        folder(root)
