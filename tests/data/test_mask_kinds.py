"""Folders whose masks were wrong in silence: `inspect` and training read them alike, and right."""

import warnings
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from affine import Affine
from folders import PIXEL, UTM, save_tif

from sparse_seg.data.__main__ import main
from sparse_seg.data.classfile import read_classes
from sparse_seg.data.folder import folder
from sparse_seg.errors import UserError
from sparse_seg.raster.warned import BlurredWarning

SHAPE = (40, 48)
LABELS = np.zeros(SHAPE, np.uint8)
LABELS[:14], LABELS[30:, 20:40] = 1, 2
NORTH = Affine(PIXEL, 0, 500_000, 0, -PIXEL, 2_785_000)
SOUTH = Affine(PIXEL, 0, 500_000, 0, PIXEL, 2_785_000 - PIXEL * SHAPE[0])
VOC = np.zeros((256, 3), np.uint8)
VOC[:3], VOC[255] = [(0, 0, 0), (128, 0, 0), (0, 128, 0)], (224, 224, 192)
BRIGHT = ("0000FF", "FF0000", "00FF00")


def looked(root: Path, capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    assert main(["inspect", str(root)]) == code
    said = capsys.readouterr()
    return said.err if code else said.out


def pixels(out: str) -> dict[str, int]:
    """Name → pixels in the report of `inspect`."""
    rows = [line.split() for line in out.splitlines() if " pixels " in line and line.startswith("          ")]
    return {row[0]: int(row[row.index("pixels") - 1].replace(",", "")) for row in rows}


def trained(root: Path) -> dict[str, int]:
    """The same of what training reads."""
    images = folder(root)
    masks = np.concatenate([s.read()[1].ravel() for s in images.samples])
    counts = {name: int((masks == k).sum()) for k, name in enumerate(images.classes.names)}
    return counts | {"unlabelled": int((masks == 255).sum())}


def images(root: Path, suffix: str = ".tif", count: int = 2) -> None:
    for k in range(count):
        seen = np.repeat(LABELS[None] * np.uint8(80) + 20, 3, 0)
        if suffix == ".tif":
            save_tif(root / "images" / f"{k}.tif", seen, transform=NORTH, crs=UTM)
        else:
            (root / "images").mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(seen.transpose(1, 2, 0)).save(root / "images" / f"{k}{suffix}")
    (root / "masks").mkdir()


def test_masks_written_from_the_south_are_turned_and_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images(tmp_path)
    for k in range(2):
        save_tif(tmp_path / "masks" / f"{k}.tif", LABELS[None, ::-1], transform=SOUTH, crs=UTM)
    out = looked(tmp_path, capsys)
    note = f"2 images, such as {tmp_path / 'images' / '0.tif'}: its mask lies on another grid and is read at the"
    assert out.count(f"note      {note}") == 1
    assert [n for n in folder(tmp_path).notes if n.startswith(note)] == [
        n for n in folder(tmp_path).notes if "grid" in n
    ]
    for sample in folder(tmp_path).samples:
        image, mask = sample.read()
        np.testing.assert_array_equal(mask, LABELS)
        np.testing.assert_array_equal(mask == 1, image[..., 0] == 100)
    assert pixels(out) == trained(tmp_path)


def test_a_mask_that_is_put_elsewhere_is_other_content(tmp_path: Path) -> None:
    images(tmp_path)
    path = tmp_path / "masks" / "0.png"
    PIL.Image.fromarray(LABELS).save(path)
    (tmp_path / "classes.yaml").write_text("classes: [{name: A, index: 0}, {name: B, index: 1}, {name: C, index: 2}]")
    seen = {folder(tmp_path).samples[0].content}
    world = path.with_suffix(".pgw")
    for transform in (NORTH, SOUTH):
        c, f = transform.c + transform.a / 2, transform.f + transform.e / 2
        world.write_text(f"{transform.a}\n0\n0\n{transform.e}\n{c}\n{f}\n")
        seen.add(folder(tmp_path).samples[0].content)
    assert len(seen) == 3


def test_masks_of_another_place_are_refused_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images(tmp_path)
    save_tif(tmp_path / "masks" / "0.tif", LABELS[None], transform=NORTH, crs=UTM)
    save_tif(tmp_path / "masks" / "1.tif", LABELS[None], crs=UTM)
    out = looked(tmp_path, capsys)
    with pytest.raises(UserError, match=r"1\.tif covers x .* but its mask .*1\.tif lies elsewhere") as error:
        folder(tmp_path)
    assert f"refused   {error.value}" in out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("nodata", [None, 0])
def test_floats_of_whole_numbers_are_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dtype: str, nodata: float | None
) -> None:
    images(tmp_path)
    for k in range(2):
        save_tif(tmp_path / "masks" / f"{k}.tif", (LABELS[None] + 1).astype(dtype), transform=NORTH, nodata=nodata)
    assert pixels(looked(tmp_path, capsys)) == trained(tmp_path)
    assert read_classes(tmp_path / "classes.yaml").indices == (1, 2, 3)
    assert trained(tmp_path)["class_2"] == 2 * (LABELS == 1).sum()


def test_fractions_are_refused_alike_with_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images(tmp_path)
    save_tif(tmp_path / "masks" / "0.tif", LABELS[None], transform=NORTH)
    save_tif(tmp_path / "masks" / "1.tif", LABELS[None] / np.float32(2), transform=NORTH)
    out = looked(tmp_path, capsys)
    with pytest.raises(UserError, match=r"1\.tif holds the fraction 0\.5") as error:
        folder(tmp_path).samples[1].read()
    assert f"refused   {str(error.value).splitlines()[0]}\n" in out


def test_a_value_with_alpha_is_a_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images(tmp_path)
    alpha = np.where(np.arange(SHAPE[1]) < 10, 0, 255).astype(np.uint8)[None].repeat(SHAPE[0], 0)
    for k in range(2):
        save_tif(tmp_path / "masks" / f"{k}.tif", np.stack([LABELS, alpha]), transform=NORTH, alpha="yes")
    assert pixels(looked(tmp_path, capsys)) == trained(tmp_path)
    assert trained(tmp_path)["unlabelled"] == 2 * 10 * SHAPE[0]


def test_masks_of_one_bit_have_two_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images(tmp_path, ".png")
    for k in range(2):
        PIL.Image.fromarray(LABELS == 1).save(tmp_path / "masks" / f"{k}.png")
    assert pixels(looked(tmp_path, capsys)) == trained(tmp_path)
    assert trained(tmp_path)["class_255"] == 2 * (LABELS == 1).sum()
    (tmp_path / "classes.yaml").write_text("classes: [{name: A, index: 0}, {name: B, index: 1}]")
    assert pixels(looked(tmp_path, capsys)) == trained(tmp_path)
    assert trained(tmp_path)["B"] == 2 * (LABELS == 1).sum()


def voc(root: Path, labels: np.ndarray = LABELS, table: np.ndarray = VOC) -> None:
    for k in range(2):
        image = PIL.Image.fromarray(labels)
        image.putpalette(table.tobytes())
        image.save(root / "masks" / f"{k}.png")


def points(root: Path, labels: list[str]) -> None:
    """A point of each class on image 2, which has no mask."""
    places = [np.argwhere(k == LABELS)[0] for k in range(3)]
    rows = [f"2,{row},{col},{label}" for (row, col), label in zip(places, labels, strict=True)]
    (root / "points.csv").write_text("\n".join(["image,row,col,class", *rows]))


@pytest.mark.parametrize("labels", [["0", "1", "2"], ["0.0", "1.0", "2.0"]])
def test_numbers_of_points_are_those_of_the_palette(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: list[str]
) -> None:
    images(tmp_path, ".png", 3)
    with_void = LABELS.copy()
    with_void[20] = 255
    voc(tmp_path, with_void)
    points(tmp_path, labels)
    out = looked(tmp_path, capsys)
    known = read_classes(tmp_path / "classes.yaml")
    assert known.indices == (0, 1, 2)
    assert known.colours == ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    assert known.unlabelled == ((224, 224, 192),)
    assert pixels(out)["unlabelled"] == 2 * SHAPE[1]
    samples = folder(tmp_path).samples
    np.testing.assert_array_equal(samples[0].read()[1], with_void)
    said = samples[2].points
    assert said is not None
    assert all(LABELS[row, col] == label for row, col, label, _ in said.tolist())


def test_a_palette_alone_gives_indices_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images(tmp_path, ".png")
    voc(tmp_path)
    looked(tmp_path, capsys)
    known = read_classes(tmp_path / "classes.yaml")
    assert known.colours == ((0, 0, 0), (0, 128, 0), (128, 0, 0))
    assert known.indices == (0, 2, 1)
    assert known.names == ("class_0", "class_2", "class_1")
    np.testing.assert_array_equal(folder(tmp_path).samples[0].read()[1], np.array([0, 2, 1])[LABELS])


def test_palettes_that_differ_give_colours_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images(tmp_path, ".png", 3)
    voc(tmp_path)
    image = PIL.Image.fromarray(np.array([1, 0, 2], np.uint8)[LABELS])
    image.putpalette(VOC[[1, 0, 2]].tobytes())
    image.save(tmp_path / "masks" / "1.png")
    looked(tmp_path, capsys)
    assert read_classes(tmp_path / "classes.yaml").indices is None
    one, other = (sample.read()[1] for sample in folder(tmp_path).samples[:2])
    np.testing.assert_array_equal(one, other)
    (tmp_path / "classes.yaml").unlink()
    points(tmp_path, ["0", "1", "2"])
    assert "cannot tell which is which" in looked(tmp_path, capsys, code=2)


def test_a_palette_without_colours_is_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images(tmp_path, ".png")
    voc(tmp_path, table=np.zeros((256, 3), np.uint8))
    assert pixels(looked(tmp_path, capsys)) == trained(tmp_path)
    assert read_classes(tmp_path / "classes.yaml").indices == (0, 1, 2)


def test_numbers_of_points_that_order_and_palette_read_otherwise_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images(tmp_path, ".png", 3)
    voc(tmp_path)
    points(tmp_path, ["0", "1", "2"])
    entries = [("Ground", "#000000"), ("Tree", "#008000"), ("Roof", "#800000")]
    lines = [f'  - {{name: {name}, colour: "{colour}"}}' for name, colour in entries]
    (tmp_path / "classes.yaml").write_text("\n".join(["classes:", *lines]))
    with pytest.raises(UserError, match="names classes by numbers, which mean two things") as error:
        folder(tmp_path)
    first, second = str(error.value).splitlines()
    assert first.endswith("in the order of classes.yaml 0 Ground, 1 Tree, 2 Roof,")
    assert "0 Ground, 1 Roof, 2 Tree: give each class its `index`" in second
    assert str(error.value) in looked(tmp_path, capsys, code=2)
    points(tmp_path, ["Ground", "Roof", "Tree"])
    assert len(folder(tmp_path).samples) == 3
    (tmp_path / "classes.yaml").write_text("\n".join(["classes:", lines[0], lines[2], lines[1]]))
    points(tmp_path, ["0", "1", "2"])
    assert len(folder(tmp_path).samples) == 3


@pytest.mark.parametrize("quality", [60, 90])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_jpeg_masks_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], quality: int, subsampling: int
) -> None:
    images(tmp_path, ".png")
    colours = np.array([(0, 0, 255), (255, 0, 0), (0, 255, 0)], np.uint8)
    for k, suffix in enumerate((".jpg", ".JPEG")):
        image = PIL.Image.fromarray(colours[LABELS])
        image.save(tmp_path / "masks" / f"{k}{suffix}", quality=quality, subsampling=subsampling)
    said = looked(tmp_path, capsys, code=2)
    assert "cannot tell the classes: masks that are compressed with loss" in said
    assert all(word in said for word in ("#0000F", "like", "list the true ones"))
    entries = (
        f'  - {{name: {n}, colour: "{c}"}}' for n, c in zip("ABC", ("#0000FF", "#FF0000", "#00FF00"), strict=True)
    )
    (tmp_path / "classes.yaml").write_text("\n".join(["classes:", *entries]))
    out = looked(tmp_path, capsys)
    assert "masks     2, of which 2 belong to an image by name" in out
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlurredWarning)
        counts = trained(tmp_path)
        masks = np.stack([sample.read()[1] for sample in folder(tmp_path).samples])
    assert pixels(out) == counts | {"unlabelled": counts["unlabelled"] - off(out)}
    assert counts["unlabelled"] <= 0.05 * masks.size
    assert "refused" not in out
    assert (np.stack([LABELS, LABELS])[masks != 255] == masks[masks != 255]).mean() > 0.998


def off(out: str) -> int:
    """The pixels of no class in the report of `inspect`."""
    return sum(int(line.split()[1].replace(",", "")) for line in out.splitlines() if line.startswith("off "))


def test_too_many_foreign_values_are_refused_as_in_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images(tmp_path, ".png")
    labels = LABELS.copy()
    labels[20:22] = 7
    for k in range(2):
        PIL.Image.fromarray(labels).save(tmp_path / "masks" / f"{k}.png")
    (tmp_path / "classes.yaml").write_text("classes: [{name: A, index: 0}, {name: B, index: 1}, {name: C, index: 2}]")
    out = looked(tmp_path, capsys)
    assert "refused   5.0% of the labelled pixels of 2 masks" in out
    assert "7 (192 pixels)" in out
