"""PNG of all depths and kinds of transparency, as GeoTIFFs of the same values."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from pngs import write_png

from sparse_seg.errors import UserError
from sparse_seg.raster.images import open_image, rgb_of_image
from sparse_seg.raster.readers import open_raster, reader_of

RNG = np.random.default_rng(3)


def read(path: Path, **options):
    with open_raster(path, **options) as raster:
        return raster.read(0, 0, raster.height, raster.width)


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_16_bits_of_any_bands_take_a_scale(tmp_path: Path, bands: int) -> None:
    values = RNG.integers(0, 4096, (9, 7, bands)).astype(np.uint16)
    if bands in (2, 4):
        values[..., -1] = RNG.choice([0, 1, 200, 65535], (9, 7))  # of which Pillow keeps 0, 0, 0 and 255
    path = write_png(tmp_path / "a.png", values)
    image, valid = read(path, scale=(0, 4095))
    colours = values[..., [0, 0, 0]] if bands < 3 else values[..., :3]
    np.testing.assert_array_equal(valid, values[..., -1] > 0 if bands in (2, 4) else np.ones((9, 7), bool))
    expected = np.rint(colours.astype(np.float32) * (255 / 4095))
    np.testing.assert_array_equal(image, np.where(valid[..., None], expected, 0))
    assert reader_of(path).header(path).kind == f"uint16 × {bands}"
    assert reader_of(path).header(path).bands == bands
    with open_raster(path, scale=(0, 4095)) as raster:
        np.testing.assert_array_equal(raster.read(2, 3, 5, 4)[0], image[2:7, 3:7])


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_16_bits_without_a_scale_are_refused_by_every_reader(tmp_path: Path, bands: int) -> None:
    path = write_png(tmp_path / "a.png", np.full((9, 7, bands), 40_000))
    with pytest.raises(UserError, match=r"a.png has pixels of type uint16, not uint8.*data.scale=\[low,high\]"):
        read(path)
    with pytest.raises(UserError, match=r"a.png has more than 8 bits .*data.scale=\[low,high\]"):
        rgb_of_image(open_image(path))


def test_the_transparent_colour_of_16_bits_is_compared_in_16_bits(tmp_path: Path) -> None:
    colours = np.array([[[1000, 2000, 3000], [1001, 2000, 3000], [1000, 2000, 3001]]])
    write_png(tmp_path / "rgb.png", colours, clear=(1000, 2000, 3000))
    write_png(tmp_path / "grey.png", colours[..., :1], clear=(1000,))
    assert read(tmp_path / "rgb.png", scale=(0, 4000))[1].tolist() == [[False, True, True]]
    assert read(tmp_path / "grey.png", scale=(0, 4000))[1].tolist() == [[False, True, False]]
    assert reader_of(tmp_path / "rgb.png").header(tmp_path / "rgb.png").has_alpha


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_greys_of_few_bits_are_spread_and_their_transparent_one_is_found(tmp_path: Path, depth: int) -> None:
    top = 2**depth - 1
    values = RNG.integers(0, 2**depth, (9, 7, 1))
    for clear in (0, top, max(1, top // 3)):
        image, valid = read(write_png(tmp_path / "a.png", values, depth, clear=(clear,)))
        np.testing.assert_array_equal(valid, values[..., 0] != clear)
        np.testing.assert_array_equal(image, np.where(valid[..., None], values * (255 // top), 0).repeat(3, -1))
    write_png(tmp_path / "b.png", values, depth)
    np.testing.assert_array_equal(rgb_of_image(open_image(tmp_path / "b.png"))[..., :1], values * (255 // top))


def test_the_transparent_colour_of_8_bits_and_of_a_palette(tmp_path: Path) -> None:
    colours = np.array([[[10, 20, 30], [10, 20, 31]]])
    assert read(write_png(tmp_path / "a.png", colours, 8, clear=(10, 20, 30)))[1].tolist() == [[False, True]]
    index = PIL.Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    index.putpalette([1, 2, 3, 4, 5, 6, 7, 8, 9])
    for clear, seen in ((1, [True, False, True]), (bytes([0, 90, 255]), [False, True, True])):
        index.save(tmp_path / "p.png", transparency=clear)
        image, valid = read(tmp_path / "p.png")
        assert valid.tolist() == [seen]
        np.testing.assert_array_equal(image, np.where(valid[..., None], [[[1, 2, 3], [4, 5, 6], [7, 8, 9]]], 0))


def test_a_band_of_a_16_bit_png_can_be_chosen(tmp_path: Path) -> None:
    values = RNG.integers(0, 256, (9, 7, 4)).astype(np.uint16)
    path = write_png(tmp_path / "a.png", values)
    image, valid = read(path, bands=[4, 2], scale=(0, 255))
    np.testing.assert_array_equal(image, values[..., [3, 1]])
    assert valid.all()


def test_what_hides_behind_another_suffix_is_read_or_named(tmp_path: Path) -> None:
    picture = PIL.Image.fromarray(RNG.integers(0, 256, (9, 7, 3)).astype(np.uint8))
    for form in ("JPEG", "BMP", "WEBP"):
        picture.save(tmp_path / "a.png", format=form)
        assert read(tmp_path / "a.png")[0].shape == (9, 7, 3)
    picture.save(tmp_path / "a.png", format="TIFF")
    with pytest.raises(UserError, match=r"a\.png .*it is a TIFF, whose name must end in \.tif"):
        read(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(UserError, match=r"b\.png is damaged or no image"):
        read(tmp_path / "b.png")
