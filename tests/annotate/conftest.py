"""A browser, and a folder of images that are not plain."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from affine import Affine
from folders import CLASSES, save_tif, scene

QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs pip install -e '.[test]'")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=[*QUIET, "--disable-sync"])
        yield opened
        opened.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A JPEG that is turned, a GeoTIFF that is rotated, and one with nodata."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    (folder / "classes.yaml").write_text(CLASSES)
    exif = PIL.Image.Exif()
    exif[274] = 6
    PIL.Image.fromarray(scene(300, 400)).save(folder / "images" / "a.jpg", exif=exif)
    save_tif(
        folder / "images" / "b.tif", scene(500, 600).transpose(2, 0, 1), transform=Affine(1.7, 1, 3e5, 1, -1.7, 2e6)
    )
    values = scene(200, 300).transpose(2, 0, 1).copy()
    values[:, :, :100] = 0
    save_tif(folder / "images" / "c.tif", values, nodata=0)
    return folder
