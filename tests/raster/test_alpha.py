"""What an alpha band hides is said, and data.alpha=false hides nothing, whatever the container."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from folders import save_tif
from labelled import checkpoint
from PIL import Image
from pngs import write_png

from sparse_seg.classes import Classes
from sparse_seg.errors import UserError
from sparse_seg.predict import __main__ as predict
from sparse_seg.raster.masks import probe, read_sample
from sparse_seg.raster.readers import open_raster
from sparse_seg.raster.warned import AlphaWarning
from sparse_seg.suggest import __main__ as suggest

RNG = np.random.default_rng(1)
RGB = RNG.integers(1, 256, (40, 48, 3)).astype(np.uint8)
NIR = np.where(np.arange(48) < 20, 0, RNG.integers(100, 200, (40, 48))).astype(np.uint8)
CUT = np.where(np.arange(48) < 20, 0, 255).astype(np.uint8) + np.zeros((40, 1), np.uint8)
CLASSES = Classes(("Water", "Land"), ((0, 0, 255), (0, 255, 0)))
KINDS = ["a.tif", "deep.tif", "five.tif", "a.png", "deep.png"]


def write(path: Path, alpha: np.ndarray) -> Path:
    """RGB and a band that is marked as alpha."""
    pixels = np.dstack([RGB, alpha])
    if path.name == "a.png":
        Image.fromarray(pixels).save(path)
    elif path.name == "deep.png":
        write_png(path, pixels.astype(np.uint16) * 257)
    elif path.name == "five.tif":  # of which GDAL's own mask does not know
        bands = np.dstack([RGB, RGB[..., 0], RGB[..., 1], alpha])
        save_marked(path, bands)
    else:
        wide = pixels.astype(np.uint16) * 257 if path.name == "deep.tif" else pixels
        save_marked(path, wide)
    return path


def save_marked(path: Path, bands: np.ndarray, **options) -> None:
    """A GeoTIFF (H, W, bands) whose last band is marked as alpha."""
    rasterio = pytest.importorskip("rasterio")
    save_tif(path, bands.transpose(2, 0, 1), photometric="MINISBLACK", **options)
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [*file.colorinterp[:-1], rasterio.enums.ColorInterp.alpha]


def read(path: Path, **options):
    with open_raster(path, scale=(0, 65535), **options) as raster:
        return raster.read(0, 0, raster.height, raster.width)


def said(path: Path, bands: tuple[int, ...] | None = None, alpha: bool = True) -> list[AlphaWarning]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_sample(probe(path), CLASSES, bands, (0.0, 65535.0), (8, 8, 40, 40), None, alpha)
    return [w.message for w in caught if isinstance(w.message, AlphaWarning)]


@pytest.mark.parametrize("kind", KINDS)
def test_alpha_hides_unless_it_is_off_or_named(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / kind, NIR)
    number = 6 if kind == "five.tif" else 4
    for bands in (None, [1, 2, 3]):
        np.testing.assert_array_equal(read(path, bands=bands)[1], NIR > 0)
        image, valid = read(path, bands=bands, alpha=False)
        np.testing.assert_array_equal(image, RGB)
        assert valid.all()
    for alpha in (True, False):
        image, valid = read(path, bands=[1, number], alpha=alpha)
        np.testing.assert_array_equal(image, np.dstack([RGB[..., 0], NIR]))
        assert valid.all()


@pytest.mark.parametrize("kind", KINDS)
def test_what_alpha_hides_is_counted_in_the_window_that_is_read(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / kind, NIR)
    (warning,) = said(path)
    assert (warning.path, warning.count, warning.levels) == (path, 32 * 12, True)
    assert "data.alpha=false" in str(warning)
    assert len(said(path, (1, 2, 3))) == 1
    assert not said(path, (1, 2, 3), alpha=False)
    assert not said(path, (1, 2, 3, 6 if kind == "five.tif" else 4))
    (warning,) = said(write(tmp_path / kind, CUT))
    assert (warning.count, warning.levels) == (32 * 12, False)
    assert "data.alpha" not in str(warning)
    assert not said(write(tmp_path / kind, np.full_like(CUT, 255)))


def test_grey_with_alpha_off_has_two_bands(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([RGB[..., 0], NIR])).save(tmp_path / "a.png")
    write_png(tmp_path / "b.png", np.dstack([RGB[..., 0], NIR]).astype(np.uint16) * 257)
    save_marked(tmp_path / "c.tif", np.dstack([RGB[..., 0], NIR]))
    for name in ("a.png", "b.png", "c.tif"):
        np.testing.assert_array_equal(read(tmp_path / name)[1], NIR > 0)
        with pytest.raises(UserError, match="2 bands without alpha: say which"):
            read(tmp_path / name, alpha=False)
        np.testing.assert_array_equal(read(tmp_path / name, bands=[2], alpha=False)[0][..., 0], NIR)


def test_nodata_masks_and_transparent_colours_stay_with_alpha_off(tmp_path: Path) -> None:
    hole = np.zeros((40, 48), bool)
    hole[:5] = True
    pixels = np.where(hole[..., None], 7, np.dstack([RGB, NIR]))
    save_marked(tmp_path / "a.tif", pixels.astype(np.uint8), nodata=7)
    assert not read(tmp_path / "a.tif", alpha=False)[1][hole].any()
    assert not read(tmp_path / "a.tif")[1][(NIR == 0) | hole].any()
    save_marked(tmp_path / "b.tif", np.dstack([RGB, NIR]))
    rasterio = pytest.importorskip("rasterio")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(tmp_path / "b.tif", "r+") as file:
        file.write_mask(~hole)
    np.testing.assert_array_equal(read(tmp_path / "b.tif", alpha=False)[1], ~hole)
    write_png(tmp_path / "c.png", np.where(hole[..., None], 7, RGB), 8, clear=(7, 7, 7))
    assert not read(tmp_path / "c.png", alpha=False)[1][hole].any()


def test_predict_and_suggest_say_it_once_per_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = checkpoint(tmp_path / "best.ckpt")
    (tmp_path / "in").mkdir()
    images = [write(tmp_path / "in" / "a.tif", NIR), write(tmp_path / "in" / "a.png", CUT)]
    how = ("--device", "cpu", "--precision", "32", "--window", "32", "--overlap", "8")
    for command, words in ((predict, ("--overlay",)), (suggest, ("--n", "2"))):
        for image in images:
            out = tmp_path / command.__name__ / image.suffix[1:]
            capsys.readouterr()
            assert command.main([str(network), str(image), "--out", str(out), *words, *how]) == 0
            assert capsys.readouterr().err.count(f"{image}: 800 pixels are transparent by its alpha band") == 1
