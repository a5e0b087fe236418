"""A TIFF with several pages of one size is an image with as many bands."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from sparse_seg.errors import UserError
from sparse_seg.raster.readers import open_raster, reader_of

RNG = np.random.default_rng(5)


def save_pages(path: Path, *pages: np.ndarray, **options) -> Path:
    first, *rest = map(PIL.Image.fromarray, pages)
    first.save(path, save_all=True, append_images=rest, **options)
    return path


def greys(n: int, shape: tuple[int, int] = (20, 30)) -> list[np.ndarray]:
    return list(RNG.integers(1, 256, (n, *shape)).astype(np.uint8))


def test_pages_of_one_size_are_bands(tmp_path: Path) -> None:
    pages = greys(5)
    path = save_pages(tmp_path / "a.tif", *pages)
    header = reader_of(path).header(path)
    assert (header.bands, header.kind) == (5, "uint8 × 5")
    assert header.notes == ("its pages are read as bands, one after the other",)
    with open_raster(path) as raster:
        np.testing.assert_array_equal(raster.read(0, 0, 20, 30)[0], np.dstack(pages[:3]))
    with open_raster(path, bands=[5, 1, 5]) as raster:
        np.testing.assert_array_equal(raster.read(3, 4, 9, 11)[0], np.dstack([pages[i] for i in (4, 0, 4)])[3:12, 4:15])
    with pytest.raises(UserError, match="no band 6"), open_raster(path, bands=[6]):
        pass


def test_two_pages_want_a_word_as_two_bands_do(tmp_path: Path) -> None:
    path = save_pages(tmp_path / "a.tif", *greys(2))
    with pytest.raises(UserError, match="2 bands without alpha: say which"), open_raster(path):
        pass


def test_pages_of_another_size_are_left_out_and_told(tmp_path: Path) -> None:
    pages = greys(3)
    path = save_pages(tmp_path / "a.tif", pages[0], *greys(1, (5, 8)), pages[1], pages[2])
    assert reader_of(path).header(path).notes[1] == "its pages of another size than the first are not used"
    with open_raster(path) as raster:
        np.testing.assert_array_equal(raster.read(0, 0, 20, 30)[0], np.dstack(pages))
    alone = save_pages(tmp_path / "b.tif", RNG.integers(0, 256, (20, 30, 3)).astype(np.uint8), *greys(1, (5, 8)))
    assert reader_of(alone).header(alone).kind == "uint8 × 3"
    assert reader_of(alone).header(alone).notes == ("its pages of another size than the first are not used",)


def test_pages_of_16_bits_take_a_scale_and_pages_of_colours_are_three_bands_each(tmp_path: Path) -> None:
    deep = [page.astype(np.uint16) * 10 for page in greys(3)]
    with open_raster(save_pages(tmp_path / "a.tif", *deep), scale=(0, 2550)) as raster:
        np.testing.assert_array_equal(raster.read(0, 0, 20, 30)[0], np.dstack(deep) // 10)
    colours = RNG.integers(0, 256, (2, 20, 30, 3)).astype(np.uint8)
    with open_raster(save_pages(tmp_path / "b.tif", *colours), bands=[4, 5, 6]) as raster:
        np.testing.assert_array_equal(raster.read(0, 0, 20, 30)[0], colours[1])


def test_turned_pages_are_turned_together(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[274] = 6
    pages = greys(3)
    with open_raster(save_pages(tmp_path / "a.tif", *pages, exif=exif)) as raster:
        np.testing.assert_array_equal(raster.read(0, 0, 30, 20)[0], np.rot90(np.dstack(pages), -1))


def test_overviews_and_masks_within_the_file_are_no_pages(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    pixels = RNG.integers(1, 256, (1, 64, 64)).astype(np.uint8)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", count=1, width=64, height=64, dtype="uint8", crs="EPSG:32640",
        transform=rasterio.Affine(1, 0, 5e5, 0, -1, 2e6),
    ) as file:  # fmt: skip
        file.write(pixels)
        file.write_mask(pixels[0] > 100)
    with rasterio.open(tmp_path / "a.tif", "r+") as file:
        file.build_overviews([2, 4])
    header = reader_of(tmp_path / "a.tif").header(tmp_path / "a.tif")
    assert (header.bands, header.notes) == (1, ())
    with open_raster(tmp_path / "a.tif") as raster:
        np.testing.assert_array_equal(raster.read(0, 0, 64, 64)[1], pixels[0] > 100)


def test_pages_with_palettes_are_refused(tmp_path: Path) -> None:
    pages = [PIL.Image.fromarray(page) for page in greys(2)]
    for page in pages:
        page.putpalette(list(range(256)) * 3)
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(UserError, match="pages whose colours are those of a palette"):
        reader_of(tmp_path / "a.tif").header(tmp_path / "a.tif")
