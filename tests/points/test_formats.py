"""A format of points that is registered is read by every data set, found in folders and looked at by inspect."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from folders import make

from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.data.folder import folder
from sparse_seg.data.sample import ImageSet
from sparse_seg.data.survey import inspect
from sparse_seg.errors import UserError
from sparse_seg.points import formats
from sparse_seg.points.records import Bad, Images, Point


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of IMAGE COLUMN ROW CLASS below the word TOY."""
    for name in ("_READERS", "_SNIFFED", "_NAMES"):
        monkeypatch.setattr(formats, name, getattr(formats, name).copy())

    @formats.register(".toy", sniff=lambda head: head.startswith(b"TOY"))
    def read_toy(path: Path, images: Images, bad: Bad) -> Iterator[Point]:
        for number, line in enumerate(path.read_text().splitlines()[1:], 2):
            image, x, y, label = line.split()
            yield Point(f"{path}, line {number}", image, float(x), float(y), label)


LINES = "TOY\na 1 2 Water\na 9 9 Land\nb 3 4 Land\n"


def points_of(images: ImageSet) -> list[list[list[int]] | None]:
    return [None if s.points is None else s.points.tolist() for s in images.samples]


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("name", ["points.toy", "clicks.TOY", "clicks.txt", "clicks"])
def test_recipe_of_a_points_format_that_a_folder_reads_by_suffix_or_content(tmp_path: Path, name: str) -> None:
    root = make(tmp_path / "own", ["a.png", "b.png"], masked=[])
    (root / name).write_text(LINES)
    images = folder(root, points_file=None if name == "points.toy" else name)
    assert points_of(images) == [[[2, 1, 0, 0], [9, 9, 1, 0]], [[4, 3, 1, 0]]]
    (root / name).write_text(LINES + "c 1 1 Land\n")
    with pytest.raises(UserError, match=rf"{name}, line 5: no image 'c'"):
        folder(root, points_file=name)


@pytest.mark.usefixtures("toy")
def test_inspect_looks_at_a_registered_format_and_finds_its_classes(tmp_path: Path) -> None:
    root = make(tmp_path / "own", ["a.png", "b.png"], masked=[])
    (root / "classes.yaml").unlink()
    (root / "points.toy").write_text(LINES)
    lines = list(inspect(root))
    assert f"points    3 on 2 images in {root / 'points.toy'}: Water 1, Land 2" in lines
    assert (root / "classes.yaml").exists()


@pytest.mark.usefixtures("toy")
def test_a_run_on_any_data_set_reads_a_registered_format(tmp_path: Path, make_images: Callable[..., ImageSet]) -> None:
    images = make_images()
    name = images.samples[0].image_id.replace(" ", "_")
    (tmp_path / "p.toy").write_text(f"TOY\n{name} 1 2 Land\n")
    with pytest.raises(UserError, match=f"line 2: no image '{name}'"):
        SparsePointsDataModule(images, points=1, points_file=str(tmp_path / "p.toy")).setup()


def test_no_format_that_is_left_registered_and_files_of_none_are_refused_with_what_is(tmp_path: Path) -> None:
    assert formats.default_names() == ("points.csv", "points.geojson")
    (tmp_path / "p.shp").write_bytes(b"\0\0'\n")
    with pytest.raises(UserError, match=r"p\.shp is no file of points that can be read: .*\.csv, \.geojson, \.json"):
        formats.reader_of(tmp_path / "p.shp")


def test_content_decides_where_the_suffix_does_not(tmp_path: Path) -> None:
    for text, suffix in ((' {"type": 1}', ".json"), ("image,x,y,class\n", ".csv")):
        (tmp_path / "points").write_text(text)
        assert formats.reader_of(tmp_path / "points") is formats.reader_of(_touched(tmp_path / f"a{suffix}"))


def _touched(path: Path) -> Path:
    path.touch()
    return path


def test_points_are_arrays_of_whole_numbers(tmp_path: Path) -> None:
    samples = folder(make(tmp_path / "own", ["a.png"], points=2)).samples
    assert samples[0].points is not None
    assert samples[0].points.dtype == np.int64
