"""Each reader by itself on random and mutated bytes: a result, or one or two lines that name the file; no warning."""

import io
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import rasterio
from folders import index_map, picture
from fuzz.placing import POINTS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparse_seg.data.classfile import read_classes
from sparse_seg.errors import UserError
from sparse_seg.points.formats import read_own_points
from sparse_seg.points.records import Bad, Place
from sparse_seg.raster.readers import open_raster, reader_of

SHAPE = (40, 48)
VRT = """<VRTDataset rasterXSize="48" rasterYSize="40"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>
<SourceFilename relativeToVRT="1">good.tif</SourceFilename><SourceBand>1</SourceBand><SrcRect xOff="0" yOff="0"
xSize="48" ySize="40"/><DstRect xOff="0" yOff="0" xSize="48" ySize="40"/></SimpleSource></VRTRasterBand></VRTDataset>"""
GEOJSON = (
    '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"image": "a", "class": "Water"},'
    ' "geometry": {"type": "Point", "coordinates": [3.5, 4.5]}}]}'
)
CLASSES = 'classes:\n  - {name: Water, colour: "#E2A929", index: 0}\n  - {name: Land, colour: [1, 2, 3], index: 1}\n'
PRJ = rasterio.CRS.from_epsg(32640).to_wkt()
WORLD = "2.0\n0.0\n0.0\n-2.0\n325001.0\n2779999.0\n"


@cache
def image(suffix: str) -> bytes:
    rgb = picture(index_map(0, SHAPE))
    if suffix == ".tif":
        with rasterio.MemoryFile() as memory:
            with memory.open(driver="GTiff", width=48, height=40, count=3, dtype="uint8", compress="deflate",
                             crs="EPSG:32640", transform=rasterio.Affine(2, 0, 0, 0, -2, 0)) as file:  # fmt: skip
                file.write(rgb.transpose(2, 0, 1))
            return bytes(memory.read())
    out = io.BytesIO()
    PIL.Image.fromarray(rgb).save(out, {".png": "PNG", ".jpg": "JPEG"}[suffix])
    return out.getvalue()


def good(suffix: str) -> bytes:
    texts = {".csv": POINTS, ".geojson": GEOJSON, ".yaml": CLASSES, ".vrt": VRT, ".pgw": WORLD, ".prj": PRJ}
    return texts[suffix].encode() if suffix in texts else image(suffix)


@st.composite
def mutated(draw: st.DrawFn, suffix: str) -> bytes:
    """Random bytes, or the good file with parts replaced, put in, left out or repeated."""
    if draw(st.integers(0, 4)) == 0:
        return draw(st.binary(max_size=300))
    data = good(suffix)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 1, 1, 2, 4, 16, 10**6])))
        piece = draw(st.one_of(st.binary(max_size=8), st.just(data[start:end] * 2), st.sampled_from(PIECES)))
        data = data[:start] + piece + data[end:]
    return data


PIECES = (b"\0", b"\xff\xff\xff\xff", b"-1", b"nan", b"1e999", b"9" * 400, b'"', b",", b"\n", b"\r", b"{", b"[[",
          b"&a ", b"*a", b"!!int ", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"..", b"\x80\x00\x00\x00", b"")  # fmt: skip


def points(path: Path) -> Any:
    return read_own_points(path, {"a": "a"}, {"a": Place(*SHAPE)}, {"Water": 0, "Land": 1}, Bad(skip=True))


def pixels(path: Path) -> Any:
    header = reader_of(path).header(path)
    with open_raster(path, scale=(0, 255)) as raster:
        read, valid = raster.read(0, 0, min(raster.height, 64), min(raster.width, 64))
    assert read.dtype == np.uint8
    assert read.shape[:2] == valid.shape
    return header


def placed(path: Path) -> Any:
    return pixels(path.with_name("good.png"))


READERS: dict[str, Callable[[Path], Any]] = {
    ".csv": points, ".geojson": points, ".yaml": read_classes, ".png": pixels, ".jpg": pixels, ".tif": pixels,
    ".vrt": pixels, ".pgw": placed, ".prj": placed,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("readers")
    (root / "good.tif").write_bytes(image(".tif"))
    for suffix in (".pgw", ".prj"):
        (root / suffix[1:]).mkdir()
        (root / suffix[1:] / "good.png").write_bytes(image(".png"))
        (root / suffix[1:] / "good.pgw").write_text(WORLD)
    return root


@pytest.mark.parametrize("suffix", READERS)
def test_a_reader_gives_a_result_or_words(folder: Path, suffix: str) -> None:
    beside = suffix in (".pgw", ".prj")
    path = folder / suffix[1:] / f"good{suffix}" if beside else folder / f"bad{suffix}"

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(data=mutated(suffix))
    def check(data: bytes) -> None:
        path.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                READERS[suffix](path)
            except UserError as error:
                said = str(error)
                assert 1 <= len(said.splitlines()) <= 2
                assert len(said) < 2000
                assert path.stem in said
                assert str(path.parent) in said

    check()


EXAMPLES = 250
