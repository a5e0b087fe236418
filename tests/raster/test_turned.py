"""An image is read as viewers show it, whichever of eight ways it is stored, in every container and in windows."""

import struct
import warnings
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
from affine import Affine
from pngs import write_png

from sparse_seg.raster.images import open_image, rgb_of_image
from sparse_seg.raster.readers import open_geotiff, open_raster, reader_of
from sparse_seg.raster.turned import TURNS

SEEN = np.zeros((40, 64, 3), np.uint8)
SEEN[:16] = 250
SEEN[:, :24, 1] = 120
SEEN[30:, 50:] = (90, 10, 200)
STORE = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}
"""What is stored, of what is seen, by orientation."""


def exif_of(orientation: int) -> PIL.Image.Exif:
    exif = PIL.Image.Exif()
    exif[274] = orientation
    return exif


def write(path: Path, orientation: int, kind: str) -> Path:
    stored = np.ascontiguousarray(STORE[orientation](SEEN))
    if kind == "deep.png":
        return write_png(path, stored.astype(np.uint16) * 257, 16, exif=exif_of(orientation).tobytes()[6:])
    if kind == "late.png":
        return write_png(path, stored, 8, exif=exif_of(orientation).tobytes()[6:], late=True)
    options = {"tiled.tif": {"compression": "tiff_lzw"}, "a.jpg": {"quality": 97, "subsampling": 0}}.get(kind, {})
    PIL.Image.fromarray(stored).save(path, exif=exif_of(orientation), **options)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["a.jpg", "a.png", "late.png", "deep.png", "tiled.tif"])
def test_an_image_is_read_as_it_is_shown(tmp_path: Path, kind: str, orientation: int) -> None:
    path = write(tmp_path / kind, orientation, kind)
    seen = SEEN
    if kind == "a.jpg":
        with PIL.Image.open(path) as file:
            seen = np.asarray(PIL.ImageOps.exif_transpose(file))
        assert np.abs(seen.astype(int) - SEEN).mean() < 3
    header = reader_of(path).header(path)
    assert (header.height, header.width) == (40, 64)
    assert bool(header.notes) == (orientation != 1)
    with open_raster(path, scale=(0, 65535)) as raster:
        np.testing.assert_array_equal(raster.read(0, 0, 40, 64)[0], seen)
        np.testing.assert_array_equal(raster.read(3, 20, 25, 41)[0], seen[3:28, 20:61])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_decodes_whole_agrees_with_windows(tmp_path: Path, orientation: int) -> None:
    path = write(tmp_path / "a.png", orientation, "a.png")
    np.testing.assert_array_equal(rgb_of_image(open_image(path)), SEEN)
    index = PIL.Image.fromarray(np.ascontiguousarray(STORE[orientation](SEEN)[..., 2] // 100))
    index.putpalette([0, 0, 0, 9, 9, 9, 200, 100, 50])
    index.save(tmp_path / "p.png", exif=exif_of(orientation))
    turned = open_image(tmp_path / "p.png")
    np.testing.assert_array_equal(np.asarray(turned), SEEN[..., 2] // 100)
    assert turned.getpalette("RGB")[6:9] == [200, 100, 50]


def big_tiff(path: Path, values: np.ndarray, orientation: int, order: str) -> Path:
    """A BigTIFF of one strip, (H, W) uint8, in the byte order < or >."""
    height, width = values.shape
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 16, 274: orientation, 277: 1, 278: height}
    tags[279] = values.size
    pixels = values.tobytes() + bytes(-values.size % 8)
    entries = b"".join(
        struct.pack(f"{order}HHQ", tag, 3, 1) + struct.pack(f"{order}H", value) + bytes(6)
        for tag, value in tags.items()
    )
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HHHQ", 43, 8, 0, 16 + len(pixels))
    path.write_bytes(head + pixels + struct.pack(f"{order}Q", len(tags)) + entries + bytes(8))
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_tag_of_a_bigtiff_is_found_in_both_byte_orders(tmp_path: Path, orientation: int, order: str) -> None:
    stored = np.ascontiguousarray(STORE[orientation](SEEN)[..., 0])
    with open_raster(big_tiff(tmp_path / "a.tif", stored, orientation, order)) as raster:
        np.testing.assert_array_equal(raster.read(5, 6, 30, 40)[0][..., 0], SEEN[5:35, 6:46, 0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_pixel_keeps_its_position_on_the_map(orientation: int) -> None:
    turn, stored = TURNS[orientation], Affine(2, 0.25, 500_000, 0.125, -3, 2_700_000)
    size = turn.size(5, 7)
    shown = turn.transform(stored, size)
    for row, col in ((0.5, 0.5), (4.5, 2.5), (1.0, 7.0)):
        y, x = turn.place(row, col, size)
        np.testing.assert_allclose(_at(shown, x, y), _at(stored, col, row), rtol=0, atol=1e-9)


def _at(t: Affine, x: float, y: float) -> tuple[float, float]:
    return t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f


def test_masks_of_geotiffs_are_turned_with_them(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", 6, "tiled.tif")
    rasterio = pytest.importorskip("rasterio")
    hole = np.ones((64, 40), bool)
    hole[:10] = False  # stored rows are shown columns, from the right
    warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
        file.write_mask(hole)
    assert (tmp_path / "a.tif.msk").is_file()
    with open_raster(path) as raster:
        assert raster.read(0, 0, 40, 64)[1].all(0).tolist() == [True] * 54 + [False] * 10
    with open_geotiff(path) as file:
        assert file.read_masks(1, window=((0, 1), (60, 64))).tolist() == [[0] * 4]
        assert file.read([1, 2], window=((0, 2), (0, 3))).shape == (2, 2, 3)


@pytest.mark.parametrize("value", [0, 9, 300])
def test_an_orientation_that_means_nothing_is_upright(tmp_path: Path, value: int) -> None:
    for name in ("a.jpg", "a.png", "a.tif"):
        PIL.Image.fromarray(SEEN).save(tmp_path / name, exif=exif_of(value))
        assert reader_of(tmp_path / name).header(tmp_path / name).notes == ()
        with open_raster(tmp_path / name) as raster:
            assert (raster.height, raster.width) == (40, 64)


def test_damaged_exif_data_is_told_and_the_image_is_read(tmp_path: Path) -> None:
    PIL.Image.fromarray(SEEN).save(tmp_path / "a.png", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 9)
    write_png(tmp_path / "b.png", SEEN, 8, exif=b"no exif data at all")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("a.png", "b.png"):
            header = reader_of(tmp_path / name).header(tmp_path / name)
            np.testing.assert_array_equal(rgb_of_image(open_image(tmp_path / name)), SEEN)
    assert header.notes == ("its EXIF data is damaged, so that it may lie turned",)
