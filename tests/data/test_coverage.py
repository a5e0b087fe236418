"""A class that comes out empty, and masks that hold what no class is, stop a run before it starts, with the cause."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from folders import index_map, make, picture, save_mask, save_tif

from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.data.folder import folder
from sparse_seg.errors import UserError

CLASSES = "classes: [{{name: Ground, index: {0}}}, {{name: Roof, index: {1}}}, {{name: Tree, index: {2}}}]\n"


def data_of(root: Path, allow: bool = False, points: int | str = 5) -> SparsePointsDataModule:
    cache = str(root.parent / "cache")
    return SparsePointsDataModule(
        folder(root), points=points, size=32, cache_dir=cache, allow_empty_classes=allow, batch_size=2
    )


def numbered(root: Path, values: list[int], nodata: float | None = None, count: int = 4) -> Path:
    """Images whose GeoTIFF masks hold `values` for the three classes of `index_map`."""
    make(root, [], masked=[])
    for k in range(count):
        index = index_map(k)
        PIL.Image.fromarray(picture(index)).save(root / "images" / f"{k}.png")
        save_tif(root / "masks" / f"{k}.tif", np.array(values, np.uint8)[index][None], nodata=nodata)
    return root


def refusal(root: Path, **options: bool) -> str:
    with pytest.raises(UserError) as error:
        data_of(root, **options).setup()
    message = str(error.value)
    assert message.count("\n") < 2
    assert "data.allow_empty_classes=true" in message
    return message


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_black_and_white_masks_of_classes_0_and_1_are_refused_with_index_255(tmp_path: Path, suffix: str) -> None:
    root = make(tmp_path / "own", [], masked=[])
    for k in range(4):
        index = index_map(k) > 0
        PIL.Image.fromarray(picture(index.astype(np.uint8))).save(root / "images" / f"{k}.png")
        values = np.where(index, 255, 0).astype(np.uint8)
        if suffix == ".tif":
            save_tif(root / "masks" / f"{k}.tif", values[None])
        else:
            save_mask(root / "masks" / f"{k}.png", values, "L")
    (root / "classes.yaml").write_text("classes: [{name: Rest, index: 0}, {name: Building, index: 1}]\n")
    message = refusal(root)
    assert "class Building has no labelled pixel" in message
    assert "`index: 255` and `ignore: 254`" in message


def test_a_class_that_only_validation_has_is_empty_too(tmp_path: Path) -> None:
    root = make(tmp_path / "own", ["a.png", "b.png", "c.png", "d.png", "e.png"], masked=["e.png"])
    flat = np.zeros((40, 48), np.uint8)
    flat[:20] = 1
    for name in "abcd":
        save_mask(root / "masks" / f"{name}.png", flat)
    images = folder(root)
    data = SparsePointsDataModule(images, points=5, size=32, split="tile", fold=4, cache_dir=str(tmp_path / "cache"))
    with pytest.raises(UserError, match="class Road has no labelled pixel in any of the 4 training images"):
        data.setup()


def test_a_class_that_the_training_size_loses_is_not_empty(tmp_path: Path) -> None:
    root = make(tmp_path / "own", ["a.png", "b.png", "c.png", "d.png"])
    for name in "abcd":
        index = np.repeat([0, 1], 20)[:, None].repeat(48, 1).astype(np.uint8)
        index[1, 1] = 2
        save_mask(root / "masks" / f"{name}.{'PNG' if name in 'bd' else 'png'}", index)
    data = data_of(root, points="all")
    data.setup()
    assert data.class_counts[2] == 0


def test_points_alone_say_which_class_lacks_one(tmp_path: Path) -> None:
    root = make(tmp_path / "own", ["a.png", "b.png"], masked=[], points=8)
    lines = (root / "points.csv").read_text().splitlines()
    (root / "points.csv").write_text("\n".join(line for line in lines if not line.endswith("Road")))
    message = refusal(root)
    assert message.startswith("class Road has no labelled pixel in any of the 2 training images (points=5)\n")
    assert "label it, or leave it out of classes.yaml" in message
