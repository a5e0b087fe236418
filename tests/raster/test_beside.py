"""What lies beside a picture and changes how it is read is part of its content; what does not is none."""

from pathlib import Path

import pytest

from sparse_seg.errors import UserError
from sparse_seg.files import digest
from sparse_seg.raster.beside import content


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("a.tif", "a.tif.msk"),
        ("a.tif", "a.tif.aux.xml"),
        ("a.TIF", "a.tfw"),
        ("a.tif", "a.TFW"),
        ("a.tiff", "a.tiffw"),
        ("a.tif", "a.wld"),
        ("a.tif", "a.prj"),
        ("a.jpg", "a.jgw"),
        ("a.jpeg", "a.jgw"),
        ("a.png", "a.pgw"),
    ],
)
def test_a_file_beside_an_image_counts(tmp_path: Path, name: str, beside: str) -> None:
    (tmp_path / name).write_bytes(b"pixels")
    seen = [content(tmp_path / name)]
    assert seen[0] == digest(tmp_path / name)
    for said in ("1", "10"):
        (tmp_path / beside).write_text(said)
        seen.append(content(tmp_path / name))
    assert len(set(seen)) == 3


@pytest.mark.parametrize("beside", ["a.tif.ovr", "b.tfw", "a.txt", "a.tif.lock"])
def test_any_other_file_does_not(tmp_path: Path, beside: str) -> None:
    (tmp_path / "a.tif").write_bytes(b"pixels")
    before = content(tmp_path / "a.tif")
    (tmp_path / beside).write_text("1")
    assert content(tmp_path / "a.tif") == before


def test_the_same_words_in_another_file_are_another_content(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"pixels")
    (tmp_path / "a.tfw").write_text("1")
    before = content(tmp_path / "a.tif")
    (tmp_path / "a.tfw").rename(tmp_path / "a.prj")
    assert content(tmp_path / "a.tif") != before


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot open"):
        content(tmp_path / "a.tif")
