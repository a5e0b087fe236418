"""Where image and mask both say where they lie, the mask is read at the image's positions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from folders import UTM, save_tif
from PIL import Image
from rasterio.warp import transform as moved

from sparse_seg.classes import Classes
from sparse_seg.errors import UserError
from sparse_seg.raster.masks import ALIGNED, NO_CRS, NO_CRS_OF_ITS_OWN, probe, read_mask, read_sample


def then(*transforms: Affine) -> Affine:
    """Their product; not by `*`, which newer versions of affine warn of, nor by `@`, which older ones lack."""
    product = np.eye(3)
    for t in transforms:
        product = product @ np.array(t).reshape(3, 3)
    return Affine(*product[:2].ravel().tolist())


SHAPE = (40, 56)
NORTH = Affine(0.5, 0, 500_000, 0, -0.5, 2_785_000)
SOUTH = Affine(0.5, 0, 500_000, 0, 0.5, 2_785_000 - 0.5 * SHAPE[0])
CLASSES = Classes(tuple("abcdefg"), tuple((k, 0, 0) for k in range(7)), indices=tuple(range(7)))
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 7, SHAPE).astype(np.uint8)


def image(folder: Path, transform: Any = NORTH, crs: Any = UTM) -> Path:
    save_tif(folder / "image.tif", np.zeros((3, *SHAPE), np.uint8) + 9, transform=transform, crs=crs)
    return folder / "image.tif"


def mask(folder: Path, labels: np.ndarray, transform: Any = NORTH, crs: Any = UTM, **options: Any) -> Path:
    values = labels[None] if labels.ndim == 2 else labels
    save_tif(folder / "mask.tif", values, transform=transform, crs=crs, **options)
    return folder / "mask.tif"


def read(image_path: Path, mask_path: Path, classes: Classes = CLASSES) -> np.ndarray:
    picture = probe(image_path, mask_path)
    return read_sample(picture, classes, None, None, (0, 0, *SHAPE), None)[1]


def by_position(image_path: Path, mask_path: Path) -> np.ndarray:
    """What rasterio's own lookup says of each pixel's centre."""
    with rasterio.open(image_path) as file, rasterio.open(mask_path) as other:
        rows, cols = np.meshgrid(np.arange(file.height), np.arange(file.width), indexing="ij")
        xs, ys = file.xy(rows.ravel(), cols.ravel())
        if file.crs and other.crs and file.crs != other.crs:
            xs, ys = moved(file.crs, other.crs, xs, ys)
        found = np.full(rows.size, 255, np.uint8)
        labels = other.read(1)
        for k, (x, y) in enumerate(zip(xs, ys, strict=True)):
            row, col = other.index(x, y)
            if 0 <= row < other.height and 0 <= col < other.width:
                found[k] = labels[int(row), int(col)]
    return found.reshape(rows.shape)


@pytest.mark.parametrize("of_image", [NORTH, SOUTH], ids=["north", "south"])
@pytest.mark.parametrize("of_mask", [NORTH, SOUTH], ids=["north", "south"])
def test_rows_may_run_from_north_or_from_south(tmp_path: Path, of_image: Affine, of_mask: Affine) -> None:
    labels = LABELS if of_image == of_mask else LABELS[::-1]
    np.testing.assert_array_equal(read(image(tmp_path, of_image), mask(tmp_path, labels, of_mask)), LABELS)
    assert probe(tmp_path / "image.tif", tmp_path / "mask.tif").aligned == (of_image != of_mask)


@pytest.mark.parametrize(
    ("transform", "shape"),
    [
        (then(NORTH, Affine.translation(12, 12)), SHAPE),
        (then(NORTH, Affine.translation(-12, 5)), SHAPE),
        (then(NORTH, Affine.translation(3.3, -2.4)), (70, 30)),
        (then(NORTH, Affine.scale(1 / 3)), (90, 200)),
        (then(NORTH, Affine.translation(0.1, 0.1), Affine.scale(3)), (10, 10)),
        (then(NORTH, Affine.translation(56, 0), Affine.scale(-1, 1)), SHAPE),
        (then(NORTH, Affine.rotation(30)), SHAPE),
        (then(NORTH, Affine.translation(20, 60), Affine.rotation(-77), Affine.scale(0.7, 1.3)), (80, 50)),
        (then(NORTH, Affine.translation(0, 56), Affine.rotation(-90)), SHAPE[::-1]),
    ],
)
def test_any_grid_is_read_at_the_images_positions(tmp_path: Path, transform: Affine, shape: tuple[int, int]) -> None:
    own = RNG.integers(0, 7, shape).astype(np.uint8)
    paths = image(tmp_path), mask(tmp_path, own, transform)
    found = read(*paths)
    np.testing.assert_array_equal(found, by_position(*paths))
    assert (found != 255).any()
    assert probe(*paths).notes == (ALIGNED,)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:32639"])
def test_another_crs_is_read_at_the_images_positions(tmp_path: Path, crs: str) -> None:
    west, south, east, north = rasterio.warp.transform_bounds(UTM, crs, 499_990.03, 2_784_970.01, 500_020, 2_784_995)
    transform = Affine((east - west) / 160, 0, west, 0, (south - north) / 140, north)
    own = RNG.integers(0, 7, (140, 160)).astype(np.uint8)
    paths = image(tmp_path), mask(tmp_path, own, transform, crs)
    found = read(*paths)
    np.testing.assert_array_equal(found, by_position(*paths))
    assert 0.1 < (found == 255).mean() < 0.9


def test_windows_are_those_of_the_whole(tmp_path: Path) -> None:
    transform = then(NORTH, Affine.translation(5, -9), Affine.rotation(20), Affine.scale(0.4))
    own = RNG.integers(0, 7, (150, 160)).astype(np.uint8)
    paths = image(tmp_path), mask(tmp_path, own, transform, tiled=True, blockxsize=16, blockysize=16)
    picture, whole = probe(*paths), read(*paths)
    for row in range(0, SHAPE[0], 16):
        for col in range(0, SHAPE[1], 16):
            part = read_sample(picture, CLASSES, None, None, (row, col, 16, 16), None)[1]
            inner = whole[row : row + 16, col : col + 16]
            np.testing.assert_array_equal(part[: inner.shape[0], : inner.shape[1]], inner)
            assert (part[inner.shape[0] :] == 255).all()


def test_a_much_finer_mask_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = RNG.integers(0, 7, (400, 560)).astype(np.uint8)
    paths = image(tmp_path), mask(tmp_path, own, then(NORTH, Affine.scale(0.1)))
    whole = read(*paths)
    monkeypatch.setattr("sparse_seg.raster.aligned.MOST", 500)
    np.testing.assert_array_equal(read(*paths), whole)
    np.testing.assert_array_equal(whole, by_position(*paths))


@pytest.mark.parametrize("shift", [0.0, 0.3, 0.5, -0.49])
def test_within_half_a_pixel_the_grids_are_the_same(tmp_path: Path, shift: float) -> None:
    paths = image(tmp_path), mask(tmp_path, LABELS, then(NORTH, Affine.translation(shift, -shift)))
    np.testing.assert_array_equal(read(*paths), LABELS)
    assert probe(*paths).notes == ()


def test_what_is_no_data_stays_unlabelled_and_outside_too(tmp_path: Path) -> None:
    half = then(NORTH, Affine.translation(28, 0))
    expected = np.full(SHAPE, 255, np.uint8)
    expected[:, 28:] = np.where(LABELS[:, :28] == 3, 255, LABELS[:, :28])
    own = np.where(LABELS == 3, 9, LABELS).astype(np.uint8)
    hidden = (LABELS != 3).astype(np.uint8) * 255
    np.testing.assert_array_equal(read(image(tmp_path), mask(tmp_path, own, half, nodata=9)), expected)
    np.testing.assert_array_equal(
        read(image(tmp_path), mask(tmp_path, np.where(LABELS == 3, np.nan, LABELS).astype(np.float32), half)), expected
    )
    np.testing.assert_array_equal(
        read(image(tmp_path), mask(tmp_path, np.stack([LABELS, hidden]), half, alpha="yes")), expected
    )
    path = mask(tmp_path, LABELS, half)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
        file.write_mask(hidden)
    assert (tmp_path / "mask.tif.msk").is_file()
    np.testing.assert_array_equal(read(image(tmp_path), path), expected)


def test_colours_and_palettes_are_moved_not_mixed(tmp_path: Path) -> None:
    colours = np.array(CLASSES.colours, np.uint8)
    rgb = colours[LABELS[::-1]].transpose(2, 0, 1)
    plain = Classes(CLASSES.names, CLASSES.colours)
    np.testing.assert_array_equal(read(image(tmp_path), mask(tmp_path, rgb, SOUTH), plain), LABELS)
    path = mask(tmp_path, LABELS[::-1], SOUTH)
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {k: (*c, 255) for k, c in enumerate(CLASSES.colours)})
    np.testing.assert_array_equal(read(image(tmp_path), path, plain), LABELS)


@pytest.mark.parametrize(
    "transform", [then(NORTH, Affine.translation(56, 0)), then(NORTH, Affine.translation(0, 5000))]
)
def test_a_mask_of_another_place_is_refused_with_both(tmp_path: Path, transform: Affine) -> None:
    paths = image(tmp_path), mask(tmp_path, LABELS, transform)
    with pytest.raises(
        UserError, match=r"image .*image\.tif covers x 500000 to 500028, y .*EPSG:32640.*, but its"
    ) as e:
        probe(*paths)
    assert "\n" not in str(e.value)
    assert f"mask {paths[1]} lies elsewhere: x 5000" in str(e.value)


def test_a_mask_whose_box_meets_the_image_but_not_itself_is_refused(tmp_path: Path) -> None:
    """Turned by 45 degrees beside the corner, boxes overlap where the rasters do not."""
    transform = then(NORTH, Affine.translation(75, 30), Affine.rotation(45))
    with pytest.raises(UserError, match="lies elsewhere"):
        probe(image(tmp_path), mask(tmp_path, LABELS, transform))


def test_one_without_a_crs_is_in_that_of_the_other(tmp_path: Path) -> None:
    paths = image(tmp_path), mask(tmp_path, LABELS[::-1], SOUTH, None)
    np.testing.assert_array_equal(read(*paths), LABELS)
    assert probe(*paths).notes == (NO_CRS, ALIGNED)
    paths = image(tmp_path, NORTH, None), mask(tmp_path, LABELS, NORTH)
    np.testing.assert_array_equal(read(*paths), LABELS)
    assert probe(*paths).notes == (NO_CRS_OF_ITS_OWN,)
    nowhere = rasterio.crs.CRS.from_wkt('LOCAL_CS["a plane of its own",UNIT["metre",1]]')
    paths = image(tmp_path), mask(tmp_path, LABELS[::-1], SOUTH, nowhere)
    np.testing.assert_array_equal(read(*paths), LABELS)
    assert probe(*paths).notes == (NO_CRS, ALIGNED)
    paths = image(tmp_path, NORTH, None), mask(tmp_path, LABELS[::-1], SOUTH, None)
    np.testing.assert_array_equal(read(*paths), LABELS)
    assert probe(*paths).notes == (ALIGNED,)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("placed", ["image", "mask", "neither"])
def test_where_one_has_no_position_sizes_must_agree(tmp_path: Path, placed: str) -> None:
    nowhere = {"transform": None, "crs": None}
    first = image(tmp_path, **({} if placed == "image" else nowhere))
    second = mask(tmp_path, LABELS[::-1], **({} if placed == "mask" else nowhere))
    np.testing.assert_array_equal(read(first, second), LABELS[::-1])
    with pytest.raises(UserError, match=r"image .* is 56×40 but its mask .* is 56×39 \(width"):
        probe(first, mask(tmp_path, LABELS[1:], **({} if placed == "mask" else nowhere)))


def test_a_file_that_changes_is_read_anew(tmp_path: Path) -> None:
    path = mask(tmp_path, LABELS, SOUTH)
    first = read(image(tmp_path), path)
    np.testing.assert_array_equal(read_mask(path, CLASSES, (0, 0, *SHAPE), probe(path)).mask, LABELS)
    with rasterio.open(path, "r+") as file:
        file.transform = NORTH
    np.testing.assert_array_equal(read(image(tmp_path), path), LABELS)
    np.testing.assert_array_equal(first, LABELS[::-1])


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_with_a_world_file_is_placed_too(tmp_path: Path, suffix: str) -> None:
    """Both ways: its rows run from the south, beside an image that is a GeoTIFF, and the reverse."""
    labels = np.kron(RNG.integers(0, 2, (5, 7)), np.ones((8, 8), int)).astype(np.uint8)
    grey = Classes(("a", "b"), ((0, 0, 0), (255, 255, 255)))
    path = tmp_path / f"mask{suffix}"
    Image.fromarray(labels[::-1] * np.uint8(255)).save(path)
    world = path.with_suffix(".wld")
    world.write_text(f"{SOUTH.a}\n0\n0\n{SOUTH.e}\n{SOUTH.c + SOUTH.a / 2}\n{SOUTH.f + SOUTH.e / 2}\n")
    picture = probe(image(tmp_path), path)
    assert ALIGNED in picture.notes
    assert NO_CRS in picture.notes
    np.testing.assert_array_equal(read(image(tmp_path), path, grey), labels)
    world.unlink()
    np.testing.assert_array_equal(read(image(tmp_path), path, grey), labels[::-1])
