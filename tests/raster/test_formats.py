"""A format of images that is registered is read in folders, looked at by inspect and labelled by predict."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from folders import index_map, make, picture

from sparse_seg.data.folder import folder
from sparse_seg.data.survey import inspect
from sparse_seg.errors import UserError
from sparse_seg.raster import formats
from sparse_seg.raster.formats import Raster, Window, open_raster, register
from sparse_seg.raster.readers import MASK_SUFFIXES, SUFFIXES

IMAGE = picture(index_map(0))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with one image of a toy format, an array as NumPy writes it, and its points."""

    @register(".npy")
    class Array(Raster):
        def __init__(
            self,
            path: Path,
            bands: Sequence[int] | None,
            scale: Sequence[float] | None,
            stack: ExitStack,
            alpha: bool = True,
        ) -> None:
            self.values = np.load(path, mmap_mode="r")
            self.bands = [b - 1 for b in bands or (1, 2, 3)]
            self.height, self.width, self.count = *self.values.shape[:2], len(self.bands)  # type: ignore[misc]

        def _read(self, row: int, col: int, height: int, width: int) -> Window:
            part = self.values[row : row + height, col : col + width, self.bands]
            return np.array(part), np.ones((height, width), np.bool_)

    root = make(tmp_path / "own", [], masked=[])
    np.save(root / "images" / "a.npy", IMAGE)
    (root / "points.csv").write_text("image,x,y,class\na,1,2,Water\na,40,30,Land\n")
    return root


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    formats._READERS.pop(".npy", None)


def test_a_folder_reads_a_registered_format_whole_and_in_windows(root: Path) -> None:
    image, mask = folder(root).samples[0].read()
    np.testing.assert_array_equal(image, IMAGE)
    assert mask[2, 1] == 0
    assert mask[30, 40] == 1
    assert (mask != 255).sum() == 2
    windows = folder(root, tile=32, bands=[3, 1]).samples
    assert [s.offset for s in windows] == [(0, 0), (0, 32)]
    np.testing.assert_array_equal(windows[0].read()[0], IMAGE[:32, :32, [2, 0]])


def test_inspect_looks_at_a_registered_format(root: Path) -> None:
    lines = list(inspect(root))
    assert "          1 × .npy uint8 × 3" in lines
    assert "sizes     48×40 (1) (width × height)" in lines
    assert not [line for line in lines if line.startswith("damaged")]


def test_predict_finds_and_opens_a_registered_format(root: Path) -> None:
    there = "sparse_seg.predict.inputs"
    inputs = import_module(there if find_spec(there) else "sparse_seg.predict.predictor")
    assert list(inputs.find_images([root / "images"])) == [root / "images" / "a.npy"]
    with open_raster(root / "images" / "a.npy") as raster:
        np.testing.assert_array_equal(raster.read(0, 0, 40, 48)[0], IMAGE)


def test_lists_of_suffixes_are_what_is_registered(root: Path) -> None:
    assert list(SUFFIXES) == [".tif", ".tiff", ".jp2", ".vrt", ".png", ".jpg", ".jpeg", ".npy"]
    assert list(MASK_SUFFIXES) == [".tif", ".tiff", ".jp2", ".vrt", ".png", ".jpg", ".jpeg"]
    with pytest.raises(UserError, match=r"a\.gif is no image .* \.jpeg, \.npy$"), open_raster(root / "a.gif"):
        pass
