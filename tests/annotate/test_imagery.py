"""What a page sees of an image, at any zoom, is what training reads."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import rasterio
from affine import Affine
from folders import save_tif

from sparse_seg.annotate import imagery as module
from sparse_seg.annotate.imagery import Imagery, reduction
from sparse_seg.errors import UserError
from sparse_seg.raster.readers import open_raster

DRAW = np.random.default_rng(0)


def smooth(height: int, width: int, bands: int = 3) -> np.ndarray:
    rows, cols = np.mgrid[:height, :width]
    return np.stack([(rows * (k + 1) // 2 + cols) % 200 + 20 for k in range(bands)]).astype(np.uint8)


def imagery_of(path: Path, **options: object) -> Imagery:
    return Imagery({"a": path}, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_smaller_window_is_the_large_one_reduced(tmp_path: Path, suffix: str, factor: int) -> None:
    values, path = smooth(101, 90), tmp_path / f"a{suffix}"
    if suffix == ".tif":
        save_tif(path, values)
    else:
        PIL.Image.fromarray(values.transpose(1, 2, 0)).save(path)
    seen = imagery_of(path)
    for height, width in ((80, 80), (85, 82)):
        image, valid = seen.read("a", 16, 8, height, width, factor)
        whole = seen.read("a", 16, 8, height, width)[0].astype(int)
        assert image.shape == (-(-height // factor), -(-width // factor), 3)
        assert valid.all()
        away = factor * bool(height % factor or width % factor)
        for row, col in ((0, 0), (5, 3), (image.shape[0] - 1, image.shape[1] - 1)):
            top, left = max(0, row * factor - away), max(0, col * factor - away)
            part = whole[top : (row + 1) * factor + away, left : (col + 1) * factor + away]
            low, high = part.min((0, 1)), part.max((0, 1))
            assert ((image[row, col] >= low) & (image[row, col] <= high)).all()


def test_nodata_is_seen_small_too(tmp_path: Path) -> None:
    values = smooth(64, 64)
    values[:, :32] = 0
    save_tif(tmp_path / "a.tif", values, nodata=0)
    seen = imagery_of(tmp_path / "a.tif")
    assert not seen.valid("a", 31, 0)
    assert seen.valid("a", 32, 0)
    image, valid = seen.read("a", 0, 0, 64, 64, 4)
    assert not valid[:8].any()
    assert valid[8:].all()
    assert not image[:8].any()


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_turned_jpeg_is_seen_upright(tmp_path: Path, orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[274] = orientation
    PIL.Image.fromarray(smooth(48, 80).transpose(1, 2, 0)).save(tmp_path / "a.jpg", exif=exif, quality=95)
    seen = imagery_of(tmp_path / "a.jpg")
    height, width = seen.size("a")
    assert (height, width) == ((48, 80) if orientation == 3 else (80, 48))
    with open_raster(tmp_path / "a.jpg") as raster:
        assert (seen.read("a", 0, 0, height, width)[0] == raster.read(0, 0, height, width)[0]).all()


def test_a_rotated_geotiff_is_read_small_where_it_lies(tmp_path: Path) -> None:
    rotated = Affine(1.7, 1.0, 325_000, 1.0, -1.7, 2_780_000)
    save_tif(tmp_path / "a.tif", smooth(64, 96), transform=rotated)
    seen = imagery_of(tmp_path / "a.tif")
    image, _ = seen.read("a", 32, 64, 32, 32, 2)
    whole, _ = seen.read("a", 32, 64, 32, 32)
    assert (image == whole[1::2, 1::2]).all()


def test_overviews_are_used_where_there_are_some(tmp_path: Path) -> None:
    save_tif(tmp_path / "a.tif", smooth(512, 512), tiled=True, blockxsize=256, blockysize=256)
    seen = imagery_of(tmp_path / "a.tif")
    assert not seen.needs_reduction("a")
    seen.close()
    with rasterio.open(tmp_path / "a.tif", "r+") as file:
        file.build_overviews([2, 4], rasterio.enums.Resampling.average)
    with open_raster(tmp_path / "a.tif") as raster:
        assert raster.has_overviews


def test_a_large_image_without_overviews_is_reduced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SMALL", 100)
    values = smooth(333, 250)
    values[:, 300:] = 0
    save_tif(tmp_path / "a.tif", values, nodata=0)
    seen = imagery_of(tmp_path / "a.tif")
    assert reduction((333, 250)) == 4
    assert seen.needs_reduction("a")
    stop = threading.Event()
    stop.set()
    seen.reduce("a", stop)
    assert seen.needs_reduction("a")
    before = {f: seen.read("a", 64, 32, 128, 96, f) for f in (4, 8)}
    seen.reduce("a")
    assert not seen.needs_reduction("a")
    for factor, (image, valid) in before.items():
        now = seen.read("a", 64, 32, 128, 96, factor)
        assert now[0].shape == image.shape
        assert (now[1] == valid).all()
    assert not seen.read("a", 296, 0, 37, 250, 4)[1][1:].any()


def test_of_large_images_without_overviews_the_last_are_held_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparse_seg.annotate.imagery.SMALL", 64)
    for name in "abc":
        save_tif(tmp_path / f"{name}.tif", np.zeros((3, 200, 200), np.uint8))
    seen = Imagery({name: tmp_path / f"{name}.tif" for name in "abc"})
    for name in "abc":
        seen.reduce(name)
    assert [seen.needs_reduction(name) for name in "abc"] == [True, False, False]
    seen.close()


@pytest.mark.parametrize("kind", ["uint16", "float32"])
def test_more_than_eight_bits_are_stretched_over_what_is_there(tmp_path: Path, kind: str) -> None:
    values = (smooth(200, 200, 4).astype(kind) * 10) + 500
    save_tif(tmp_path / "a.tif", values)
    seen = imagery_of(tmp_path / "a.tif", bands=(4, 2, 1))
    assert seen.scale is not None
    low, high = seen.scale
    assert 650 < low < 900
    assert 2300 < high < 2750
    image = seen.read("a", 0, 0, 200, 200)[0]
    assert image.min() == 0
    assert image.max() == 255


def test_images_are_closed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPEN", 2)
    paths = {}
    for k in range(4):
        paths[str(k)] = tmp_path / f"{k}.tif"
        save_tif(paths[str(k)], np.full((3, 8, 8), 50 + k, np.uint8))
    seen = Imagery(paths)
    for key in (*paths, *paths):
        assert seen.read(key, 1, 1, 2, 2)[0][0, 0, 0] == 50 + int(key)
    with pytest.raises(UserError, match="no image"):
        seen.read("9", 0, 0, 1, 1)
    seen.close()


def test_other_bands_and_another_scale_are_read_from_then_on(tmp_path: Path) -> None:
    values = smooth(40, 40, 5).astype(np.uint16) * 10
    save_tif(tmp_path / "a.tif", values)
    seen = imagery_of(tmp_path / "a.tif")
    before, version = seen.read("a", 0, 0, 40, 40)[0], seen.version
    seen.look([5, 3, 1], (0, 2550))
    assert seen.version != version
    image = seen.read("a", 0, 0, 40, 40)[0]
    np.testing.assert_allclose(image, values[[4, 2, 0]].transpose(1, 2, 0) / 10, atol=1)
    assert not np.array_equal(image, before)
    seen.look([1, 2, 3])
    assert seen.version == version
    np.testing.assert_array_equal(seen.read("a", 0, 0, 40, 40)[0], before)


@pytest.mark.parametrize(
    ("bands", "scale", "why"),
    [
        ([1, 2], None, "the map is made of 3"),
        ([1, 2, 2], None, "the map is made of 3"),
        ([1, 2, 6], None, "a has 5, counted from 1"),
        ([0, 1, 2], None, "a has 5, counted from 1"),
        ([1, 2, 3], (5.0, 5.0), "must be above black"),
    ],
)
def test_bands_that_cannot_be_read_are_refused(tmp_path: Path, bands: list[int], scale: Any, why: str) -> None:
    save_tif(tmp_path / "a.tif", smooth(40, 40, 5).astype(np.uint16))
    seen = imagery_of(tmp_path / "a.tif")
    version = seen.version
    with pytest.raises(UserError, match=why):
        seen.look(bands, scale)
    assert seen.version == version
