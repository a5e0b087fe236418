"""A class that comes out empty, and masks that hold what no class is, stop a run before it starts, with the cause."""

import warnings
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from folders import COLOURS, index_map, make, picture, save_mask, save_tif

from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.data.folder import folder
from sparse_seg.errors import UserError
from sparse_seg.raster.warned import AbsentWarning

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


def test_a_wrong_colour_is_named_with_the_colour_that_is_there(tmp_path: Path) -> None:
    root = make(tmp_path / "own", [], masked=[])
    for k in range(4):
        index = index_map(k)
        index[:32][index[:32] == 2] = 1  # of classes that cover most of a mask, the mask itself says so
        PIL.Image.fromarray(picture(index)).save(root / "images" / f"{k}.png")
        save_mask(root / "masks" / f"{k}.png", index)
    text = (root / "classes.yaml").read_text()
    (root / "classes.yaml").write_text(text.replace("[110, 193, 228]", "[110, 193, 220]"))
    message = refusal(root)
    pixels = sum(int((index_map(k)[32:] == 2).sum()) for k in range(4))
    assert f"of 4 masks, such as {root / 'masks'}" in message
    assert f"hold no class: #6EC1E4 ({pixels:,} pixels)" in message
    data = data_of(root, allow=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data.setup()
    assert data.class_counts[2] == 0
    said = [str(w.message) for w in caught]
    assert said[0] == message.split("; data.allow")[0]
    assert "hold no class and count as unlabelled, mostly #6EC1E4" in said[1]


def test_one_in_a_hundred_may_hold_no_class_and_it_is_said(tmp_path: Path) -> None:
    root = make(tmp_path / "own", [], masked=[])
    for k in range(4):
        index = index_map(k)
        PIL.Image.fromarray(picture(index)).save(root / "images" / f"{k}.png")
        colours = np.array(COLOURS, np.uint8)[index]
        colours[0, :19] = 0  # of 1920 pixels
        (root / "masks").mkdir(exist_ok=True)
        PIL.Image.fromarray(colours).save(root / "masks" / f"{k}.png")
    for _ in range(2):  # the second time from the cache
        with pytest.warns(UserWarning, match=r"76 pixels of 4 masks .* mostly #000000 \(76\)"):
            data_of(root).setup()
    colours[0, :25] = 0
    for k in range(4):
        PIL.Image.fromarray(colours).save(root / "masks" / f"{k}.png")
    assert "1.3% of the labelled pixels" in refusal(root)


def test_a_class_whose_number_is_nodata_is_refused_with_the_reason(tmp_path: Path) -> None:
    root = numbered(tmp_path / "own", [0, 1, 2], nodata=0)
    (root / "classes.yaml").write_text(CLASSES.format(0, 1, 2))
    message = refusal(root)
    pixels = sum(int((index_map(k) == 0).sum()) for k in range(4))
    assert message.startswith("class Ground has no labelled pixel in any of the")
    assert f"its index 0 is the nodata value that masks such as {root / 'masks'}" in message
    assert f"hides {pixels:,} pixels" in message
    (root / "classes.yaml").write_text(CLASSES.format(0, 1, 2) + "ignore: 255\n")
    data = data_of(root, points="all")
    data.setup()
    assert data.class_counts[0] > 0


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
    (root / "classes.yaml").write_text("classes: [{name: Rest, index: 0}, {name: Building, index: 255}]\nignore: 254\n")
    data = data_of(root, points="all")
    data.setup()
    assert all(data.class_counts)


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


def test_where_nodata_hides_all_that_is_said(tmp_path: Path) -> None:
    root = numbered(tmp_path / "own", [1, 1, 1], nodata=1)
    (root / "classes.yaml").write_text(CLASSES.format(0, 1, 2))
    with pytest.raises(
        UserError, match=r"^no training image has a labelled pixel .*\n7,680 pixels .* hold 1, the nodata"
    ):
        data_of(root).setup()


def test_a_class_that_an_alpha_band_hides_is_told_the_way_out(tmp_path: Path) -> None:
    """GDAL marks the fourth of four uint8 bands as alpha, near infrared as well, which is 0 on water."""
    root = make(tmp_path / "own", [], masked=[])
    (root / "classes.yaml").write_text("classes: [{name: Water}, {name: Land}]\n")
    lines = ["image,row,col,class"]
    for k in range(3):
        index = index_map(k) % 2
        save_tif(root / "images" / f"{k}.tif", np.dstack([picture(index), index * 200]).transpose(2, 0, 1))
        for name, number in (("Water", 0), ("Land", 1)):
            lines += [f"{k},{row},{col},{name}" for row, col in np.argwhere(index == number)[::60]]
    (root / "points.csv").write_text("\n".join(lines) + "\n")
    message = refusal(root)
    assert "class Water" in message
    assert "are hidden by an alpha band: if it is none, data.alpha=false" in message
    cache = str(tmp_path / "cache")
    data = SparsePointsDataModule(folder(root, alpha=False), points=5, size=32, cache_dir=cache, batch_size=2)
    data.setup()
    assert data.class_counts[0] > 0


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_an_unstated_9999_is_no_image_and_that_is_said(tmp_path: Path, dtype: str) -> None:
    root = make(tmp_path / "own", [], masked=[])
    for k in range(4):
        pixels = picture(index_map(k)).transpose(2, 0, 1).astype(dtype)
        pixels[:, :10] = -9999
        pixels[0, 20] = -9999  # in one band alone it is a value
        save_tif(root / "images" / f"{k}.tif", pixels)
        save_mask(root / "masks" / f"{k}.png", index_map(k))
    images = folder(root, scale=[0, 255])
    with pytest.warns(AbsentWarning, match="480 pixels hold -9999"):
        image, mask = images.samples[0].read()
    assert (mask[:10] == 255).all()
    assert (mask[10:] != 255).all()
    assert not image[:10].any()
    data = SparsePointsDataModule(images, points=5, size=32, cache_dir=str(tmp_path / "cache"))
    with pytest.warns(UserWarning, match=r"1,920 pixels of 4 images .* hold -9999 or its like in all bands"):
        data.setup()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folder(root, scale=[-10_000, 255]).samples[0].read()  # a scale that begins below says that it is a value
