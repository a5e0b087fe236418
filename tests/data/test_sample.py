"""What a data set says it is: every change of it is another content, and its order is none."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from folders import index_map, make, picture, save_tif

from sparse_seg.classes import Classes
from sparse_seg.data.folder import folder
from sparse_seg.data.sample import ImageSet

Make = Callable[..., ImageSet]


def test_content_does_not_depend_on_the_order_of_samples(make_images: Make) -> None:
    images = make_images()
    assert len(images.content) == 16
    assert dataclasses.replace(images, samples=images.samples[::-1]).content == images.content


@pytest.mark.parametrize(
    "change",
    [
        {"image_id": "b"},
        {"group": "b"},
        {"content": "b"},
        {"points": np.zeros((0, 4), np.int64)},
        {"points": np.array([[1, 2, 0, 0]])},
        {"has_mask": False},
        {"scene": "b"},
        {"offset": (0, 1)},
    ],
)
def test_content_changes_with_each_value_of_a_sample(make_images: Make, change: dict[str, object]) -> None:
    images = make_images()
    changed = [dataclasses.replace(images.samples[0], **change), *images.samples[1:]]  # type: ignore[arg-type]
    assert dataclasses.replace(images, samples=changed).content != images.content


def test_content_changes_with_the_classes_and_the_number_of_samples(make_images: Make) -> None:
    images, classes = make_images(), make_images().classes
    renamed = Classes(("Water", "Land", "Street"), classes.colours)
    others = [dataclasses.replace(images, classes=renamed), ImageSet(classes, images.samples[1:])]
    assert len({images.content, *(o.content for o in others)}) == 3


@pytest.mark.parametrize(
    "change",
    ["images/a.tif", "masks/a.png", "points.csv", "classes.yaml", "images/a.tfw", "images/a.tif.aux.xml"],
)
def test_content_of_a_folder_changes_with_each_of_its_files(tmp_path: Path, change: str) -> None:
    root = make(tmp_path / "own", ["a.png"], points=2)
    (root / "images" / "a.png").unlink()
    (root / "points.csv").write_text((root / "points.csv").read_text().replace("a.png", "a"))
    save_tif(root / "images" / "a.tif", picture(index_map(0)).transpose(2, 0, 1))
    before = folder(root).content
    assert folder(root).content == before
    if change == "images/a.tif":
        save_tif(root / change, picture(index_map(1)).transpose(2, 0, 1))
    elif change == "masks/a.png":
        (root / change).write_bytes((root / change).read_bytes() + b"\0")
    elif change == "points.csv":
        with (root / change).open("a") as f:
            f.write("a,0,0,Water\n")
    elif change == "classes.yaml":
        (root / change).write_text((root / change).read_text().replace("Road", "Street"))
        (root / "points.csv").write_text((root / "points.csv").read_text().replace("Road", "Street"))
    else:
        (root / change).write_text("<PAMDataset/>" if change.endswith("xml") else "1\n0\n0\n-1\n0\n0\n")
    assert folder(root).content != before


def test_content_of_a_folder_does_not_depend_on_where_it_lies(tmp_path: Path) -> None:
    there, here = (make(tmp_path / name, ["a.png", "b.png"], points=2) for name in ("there", "here"))
    assert folder(there).content == folder(here).content
