"""Windows of an image are the image, and what is no image is not valid."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparse_seg.errors import UserError
from sparse_seg.raster.readers import open_raster

RNG = np.random.default_rng(0)
RGB = RNG.integers(1, 256, (40, 70, 3)).astype(np.uint8)


def read(path: Path, *window: int, bands=None, scale=None):
    with open_raster(path, bands, scale) as raster:
        return raster.read(*(window or (0, 0, raster.height, raster.width)))


def write_geotiff(path: Path, pixels: np.ndarray, mask: np.ndarray | None = None, **options) -> Path:
    """pixels: (bands, H, W)."""
    rasterio = pytest.importorskip("rasterio")
    colormap, called = options.pop("colormap", None), options.pop("called", None)
    profile = {"driver": "GTiff", "count": len(pixels), "dtype": pixels.dtype.name, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", height=pixels.shape[1], width=pixels.shape[2], **profile) as file:
            file.write(pixels)
            if colormap:
                file.write_colormap(1, colormap)
            if called:
                file.colorinterp = [rasterio.enums.ColorInterp[called]]
            if mask is not None:
                file.write_mask(mask)
    return path


@pytest.mark.parametrize("name", ["a.png", "A.PNG", "a.tif", "A.TIFF"])
def test_a_window_is_the_slice_of_the_whole_image(tmp_path, name):
    path = tmp_path / name
    if path.suffix.lower() == ".png":
        Image.fromarray(RGB).save(path)
    else:
        write_geotiff(path, RGB.transpose(2, 0, 1), tiled=True, blockxsize=16, blockysize=16)
    image, valid = read(path, 7, 13, 20, 31)
    np.testing.assert_array_equal(image, RGB[7:27, 13:44])
    assert image.dtype == np.uint8
    assert valid.dtype == np.bool_
    assert valid.shape == (20, 31)
    assert valid.all()


@pytest.mark.parametrize("window", [(-1, 0, 5, 5), (0, 0, 41, 5), (0, 68, 5, 3), (0, 0, 0, 5)])
def test_a_window_beyond_the_image_is_refused(tmp_path, window):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="not within 40×70"):
        read(tmp_path / "a.png", *window)


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P", "RGBA", "CMYK"])
def test_every_8_bit_mode_is_read_as_pillow_shows_it(tmp_path, mode):
    picture = Image.fromarray(RGB).convert(mode)
    picture.save(tmp_path / ("a.jpg" if mode == "CMYK" else "a.png"))
    (path,) = tmp_path.iterdir()
    with Image.open(path) as file:
        expected = np.array(file.convert("RGB"))
    image, valid = read(path)
    np.testing.assert_array_equal(image, expected)
    assert valid.all()


def test_transparent_pixels_of_a_png_are_not_valid(tmp_path):
    alpha = RNG.integers(0, 2, RGB.shape[:2]).astype(np.uint8) * 200
    Image.fromarray(np.dstack([RGB, alpha])).save(tmp_path / "a.png")
    image, valid = read(tmp_path / "a.png")
    np.testing.assert_array_equal(valid, alpha > 0)
    np.testing.assert_array_equal(image, np.where(valid[..., None], RGB, 0))


def test_bands_are_numbers_from_1_in_any_order(tmp_path):
    pixels = RNG.integers(0, 256, (5, 40, 70)).astype(np.uint8)
    path = write_geotiff(tmp_path / "a.tif", pixels)
    np.testing.assert_array_equal(read(path)[0], pixels[:3].transpose(1, 2, 0))
    for bands in ([4, 3, 2], [5], [1, 5, 5, 2]):
        with open_raster(path, bands) as raster:
            assert raster.count == len(bands)
            expected = pixels[np.array(bands) - 1, 3:9, 2:60].transpose(1, 2, 0)
            np.testing.assert_array_equal(raster.read(3, 2, 6, 58)[0], expected)


def test_a_single_band_is_repeated_and_alpha_does_not_count(tmp_path):
    pixels = RNG.integers(1, 256, (2, 40, 70)).astype(np.uint8)
    pixels[1, 5:10] = 0
    path = write_geotiff(tmp_path / "a.tif", pixels, alpha="yes")
    image, valid = read(path)
    np.testing.assert_array_equal(valid, pixels[1] > 0)
    np.testing.assert_array_equal(image, np.where(valid, pixels[0], 0)[..., None].repeat(3, 2))
    with pytest.raises(UserError, match="no band 3, only 1, 2"):
        read(path, bands=[3])


def test_a_band_marked_as_alpha_is_an_image_where_it_is_named(tmp_path):
    """GDAL marks the fourth of four uint8 bands so, near infrared as well."""
    pixels = RNG.integers(0, 256, (4, 40, 70)).astype(np.uint8)
    path = write_geotiff(tmp_path / "a.tif", pixels)
    image, valid = read(path, bands=[1, 2, 3, 4])
    np.testing.assert_array_equal(image, pixels.transpose(1, 2, 0))
    assert valid.all()
    np.testing.assert_array_equal(read(path)[1], pixels[3] > 0)


def test_a_palette_of_a_geotiff_is_looked_up(tmp_path):
    index = RNG.integers(0, 2, (1, 40, 70)).astype(np.uint8)
    path = write_geotiff(tmp_path / "a.tif", index, colormap={0: (10, 20, 30), 1: (40, 50, 60)})
    np.testing.assert_array_equal(read(path)[0], np.array([[10, 20, 30], [40, 50, 60]], np.uint8)[index[0]])
    np.testing.assert_array_equal(read(path, bands=[3])[0][..., 0], np.array([30, 60], np.uint8)[index[0]])


def test_a_palette_of_16_bits_is_looked_up_and_needs_no_scale(tmp_path):
    index = RNG.choice([7, 300], (1, 40, 70)).astype(np.uint16)
    path = write_geotiff(tmp_path / "a.tif", index, colormap={7: (10, 20, 30), 300: (40, 50, 60)})
    expected = np.where(index[0, ..., None] == 7, (10, 20, 30), (40, 50, 60))
    np.testing.assert_array_equal(read(path)[0], expected)


def test_a_band_that_is_called_a_palette_without_one_is_grey(tmp_path):
    index = RNG.integers(0, 256, (1, 40, 70)).astype(np.uint8)
    path = write_geotiff(tmp_path / "a.tif", index, called="palette")
    np.testing.assert_array_equal(read(path)[0], np.repeat(index[0, ..., None], 3, -1))


def test_nodata_in_all_bands_is_not_valid_in_one_band_it_is(tmp_path):
    pixels = RGB.transpose(2, 0, 1).copy()
    pixels[:, 4:20, 10:30] = 0
    pixels[0, 30:] = 0  # a colour, not a hole
    path = write_geotiff(tmp_path / "a.tif", pixels, nodata=0)
    expected = np.ones((40, 70), bool)
    expected[4:20, 10:30] = False
    np.testing.assert_array_equal(read(path)[1], expected)
    np.testing.assert_array_equal(read(path, 10, 5, 20, 20)[1], expected[10:30, 5:25])


def test_a_mask_of_the_file_and_nan_are_not_valid(tmp_path):
    mask = RNG.integers(0, 2, (40, 70)).astype(bool)
    path = write_geotiff(tmp_path / "a.tif", RGB.transpose(2, 0, 1), mask)
    np.testing.assert_array_equal(read(path)[1], mask)
    pixels = RNG.random((3, 40, 70)).astype(np.float32)
    pixels[1, 3:5, 6:8] = np.nan
    image, valid = read(write_geotiff(tmp_path / "b.tif", pixels), scale=(0, 1))
    np.testing.assert_array_equal(valid, ~np.isnan(pixels[1]))
    np.testing.assert_array_equal(image, np.rint(255 * np.where(valid, pixels, 0)).transpose(1, 2, 0))


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", "float64"])
def test_a_scale_maps_low_to_0_and_high_to_255_and_clips(tmp_path, dtype):
    pixels = np.array([[[0, 100, 600, 1100, 3000]]], dtype)
    image, valid = read(write_geotiff(tmp_path / "a.tif", pixels), scale=(100, 1100))
    assert image[0, :, 0].tolist() == [0, 0, 128, 255, 255]
    assert valid.all()


def test_a_16_bit_png_takes_a_scale_and_8_bit_ignores_it(tmp_path):
    Image.fromarray(np.array([[0, 1000, 2000]], np.uint16)).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png", scale=(0, 2000))[0][0].tolist() == [[0] * 3, [128] * 3, [255] * 3]
    with pytest.raises(UserError, match=r"type uint16, not uint8: .*data.scale=\[low,high\]"):
        read(tmp_path / "a.png")
    Image.fromarray(RGB).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read(tmp_path / "b.png", scale=(0, 10))[0], RGB)


def test_crs_and_transform_are_the_files_and_none_where_there_are_none(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    transform = rasterio.Affine(0.3, 0, 500000, 0, -0.3, 2780000)
    place = write_geotiff(tmp_path / "a.tif", RGB.transpose(2, 0, 1), crs="EPSG:32640", transform=transform)
    with open_raster(place) as raster:
        assert raster.crs.to_epsg() == 32640
        assert raster.transform == transform
        assert (raster.height, raster.width, raster.count) == (40, 70, 3)
    with open_raster(write_geotiff(tmp_path / "b.tif", RGB.transpose(2, 0, 1))) as raster:
        assert raster.crs is None
        assert raster.transform is None


def test_what_cannot_be_read_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (tmp_path / "text.txt").write_text("no image")
    for name, message in (
        ("broken.png", "broken.png is damaged"), ("missing.png", "cannot open .*missing.png"),
        ("text.txt", "must end in .tif, .tiff, .jp2, .vrt, .png, .jpg, .jpeg"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            read(tmp_path / name)
    with pytest.raises(UserError, match=r"data.scale=\[5, 5\] must be two numbers"):
        read(tmp_path / "missing.png", scale=[5, 5])


def test_a_damaged_geotiff_is_an_error_on_opening_or_on_reading(tmp_path):
    pytest.importorskip("rasterio")
    (tmp_path / "a.tif").write_text("no image")
    with pytest.raises(UserError, match=r"a\.tif is damaged or no GeoTIFF"):
        read(tmp_path / "a.tif")
    with pytest.raises(UserError, match=r"cannot open .*missing\.tif"):
        read(tmp_path / "missing.tif")
    path = write_geotiff(tmp_path / "b.tif", RGB.transpose(2, 0, 1), compress="deflate")
    content = path.read_bytes()
    start = len(content) // 2
    path.write_bytes(content[:start] + bytes(len(content) - start))
    with pytest.raises(UserError, match=r"b\.tif is damaged or no GeoTIFF"):
        read(path)


def test_types_and_bands_that_need_a_word_say_which(tmp_path):
    path = write_geotiff(tmp_path / "a.tif", RGB.transpose(2, 0, 1).astype(np.uint16))
    with pytest.raises(UserError, match=r"a.tif has pixels of type uint16, not uint8.*data.scale=\[low,high\]"):
        read(path)
    with pytest.raises(UserError, match=r"a.tif has no band 4, only 1, 2, 3: data.bands=\[4\] names it"):
        read(path, bands=[4], scale=(0, 1))
    two = write_geotiff(tmp_path / "two.tif", RGB.transpose(2, 0, 1)[:2])
    with pytest.raises(UserError, match="has 2 bands without alpha: say which"):
        read(two)


def test_without_rasterio_a_geotiff_names_the_extra_and_a_png_is_read(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rasterio", None)
    (tmp_path / "a.tif").write_bytes(b"")
    with pytest.raises(UserError, match=r"GeoTIFF files need rasterio .*pip install -e '.\[geo\]'"):
        read(tmp_path / "a.tif")
    Image.fromarray(RGB).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png")[0], RGB)
