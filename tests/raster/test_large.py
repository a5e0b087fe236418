"""Large honest files are read; what would take a gigabyte, or claims what it cannot hold, is refused by its header."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import rasterio
from fuzz.crafted import PLACE, SPARSE, tiff

from sparse_seg.classes import Classes
from sparse_seg.errors import UserError
from sparse_seg.raster import held, images
from sparse_seg.raster.masks import count_mask, probe
from sparse_seg.raster.readers import open_raster

CLASSES = Classes(("Water", "Land"), ((0, 0, 0), (255, 255, 255)), (), (0, 1), ())


def sparse(path: Path, side: int, **options: object) -> Path:
    with rasterio.open(path, "w", width=side, height=side, **({"count": 1, "transform": PLACE} | SPARSE | options)):
        pass
    return path


def test_a_large_mask_of_one_class_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    PIL.Image.fromarray(np.ones((6000, 6000), np.uint8)).save(path)
    assert count_mask(path, CLASSES, probe(path)).pixels.tolist() == [0, 6000**2]


def test_a_large_image_that_is_mostly_empty_is_read(tmp_path: Path) -> None:
    path = sparse(tmp_path / "a.tif", 20_000, blockxsize=512, blockysize=512, compress="deflate", count=3)
    with open_raster(path) as raster:
        image, _ = raster.read(19_000, 19_000, 1000, 1000)
    assert not image.any()


@pytest.mark.parametrize("claim", [{"tile": 60_000}, {"width": 60_000}, {"width": 10**9}])
def test_a_tiff_that_claims_more_than_it_can_hold_is_refused(tmp_path: Path, claim: dict[str, int]) -> None:
    width = claim.get("width", 10_000)
    path = tiff(tmp_path / "a.tif", width, width, tile=claim.get("tile"))
    with pytest.raises(UserError, match=r"a\.tif (has blocks of|claims) ") as error:
        probe(path)
    assert len(str(error.value).splitlines()) <= 2


def test_a_small_file_that_is_a_mask_of_billions_is_refused(tmp_path: Path) -> None:
    path = sparse(tmp_path / "a.tif", 60_000, blockxsize=512, blockysize=512)
    with pytest.raises(UserError, match=r"a\.tif claims 60000×60000 pixels in"):
        count_mask(path, CLASSES, probe(path))


def test_what_would_take_a_gigabyte_is_told_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "MOST_COLOURED", 99)
    monkeypatch.setattr(images, "PROGRESSIVE", 99)
    monkeypatch.setattr(images, "DEEP", 99)
    colours = PIL.Image.new("RGB", (10, 10))
    colours.save(tmp_path / "a.png")
    colours.save(tmp_path / "b.jpg", progressive=True)
    PIL.Image.fromarray(np.ones((10, 10), np.uint16)).save(tmp_path / "c.png")
    way = r"10×10 pixels, more than 99, and is decoded as a whole: cut it into tiles, or save it as GeoTIFF"
    with pytest.raises(UserError, match=rf"a\.png has {way}"):
        count_mask(tmp_path / "a.png", CLASSES, probe(tmp_path / "a.png"))
    with pytest.raises(UserError, match=rf"b\.jpg has {way}"):
        probe(tmp_path / "b.jpg")
    with pytest.raises(UserError, match=rf"c\.png has {way}"), open_raster(tmp_path / "c.png", scale=(0, 9)):
        pass
