"""Images lie where GDAL places them: by world files, .prj, .aux.xml and control points; turned ones, too."""

import warnings
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from affine import Affine
from folders import save_tif
from labelled import checkpoint

from sparse_seg.errors import UserError
from sparse_seg.predict import __main__ as predict
from sparse_seg.raster.position import (
    BY_GCPS,
    BY_WORLD_FILE,
    FEW_GCPS,
    OTHER_WORLD_FILE,
    RPCS,
)
from sparse_seg.raster.readers import open_geotiff, open_raster, reader_of
from sparse_seg.raster.turned import TURNS

rasterio = pytest.importorskip("rasterio")
from rasterio.control import GroundControlPoint  # noqa: E402 - where it is installed
from rasterio.crs import CRS  # noqa: E402

RGB = np.random.default_rng(2).integers(1, 256, (40, 64, 3)).astype(np.uint8)
UTM = CRS.from_epsg(32640)
PLACE = Affine(2, 0, 325_000, 0, -2, 2_780_000)
WORLD = "2\n0\n0\n-2\n325001\n2779999\n"
GCPS = [
    GroundControlPoint(row, col, *(PLACE @ (col, row) if hasattr(PLACE, "__matmul__") else PLACE * (col, row)))
    for row, col in ((0, 0), (0, 64), (40, 0), (40, 64))
]


def write(path: Path, orientation: int = 1) -> Path:
    if path.suffix == ".jp2":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(path, "w", driver="JP2OpenJPEG", count=3, height=40, width=64, dtype="uint8") as file:
                file.write(RGB.transpose(2, 0, 1))
        Path(f"{path}.aux.xml").unlink(missing_ok=True)
        return path
    exif = PIL.Image.Exif()
    exif[274] = orientation
    PIL.Image.fromarray(RGB).save(path, exif=exif)
    return path


def header(path: Path):
    return reader_of(path).header(path)


@pytest.mark.parametrize(
    ("name", "world"),
    [
        ("a.png", "pgw"), ("a.png", "pngw"), ("a.png", "wld"), ("a.png", "PGW"), ("a.PNG", "pgw"), ("a.jpg", "jgw"),
        ("a.jpg", "jpgw"), ("a.jpeg", "jgw"), ("a.jpeg", "jpegw"), ("a.jpeg", "wld"), ("a.tif", "tfw"),
        ("a.tif", "tifw"), ("a.tiff", "tfw"), ("a.jp2", "j2w"), ("a.jp2", "wld"), ("a.jp2", "jp2w"),
    ],
)  # fmt: skip
def test_a_world_file_and_a_prj_place_an_image(tmp_path: Path, name: str, world: str) -> None:
    path = write(tmp_path / name)
    assert (header(path).crs, header(path).transform, header(path).notes) == (None, None, ())
    (tmp_path / f"a.{world}").write_text(WORLD)
    assert (header(path).crs, header(path).transform, header(path).notes) == (None, PLACE, (BY_WORLD_FILE,))
    (tmp_path / "a.prj").write_text(UTM.to_wkt(version="WKT1_ESRI"))
    assert header(path).crs == UTM
    with open_raster(path) as raster:
        assert (raster.crs, raster.transform) == (UTM, PLACE)
        np.testing.assert_array_equal(raster.read(0, 0, 40, 64)[0].shape, (40, 64, 3))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.jp2"])
def test_an_aux_xml_says_the_crs_and_may_say_the_transform(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    aux = Path(f"{path}.aux.xml")
    aux.write_text("<PAMDataset><Metadata/></PAMDataset>")
    assert header(path).transform is None
    aux.write_text(f"<PAMDataset><SRS>{UTM.to_wkt()}</SRS></PAMDataset>")
    (tmp_path / "a.wld").write_text(WORLD.replace(".", ",").replace("2\n0", "2,0\n0,0", 1))
    assert (header(path).crs, header(path).transform) == (UTM, PLACE)
    place = ", ".join(map(str, PLACE.to_gdal()))
    aux.write_text(f"<PAMDataset><SRS>{UTM.to_wkt()}</SRS><GeoTransform>{place}</GeoTransform></PAMDataset>")
    (tmp_path / "a.wld").write_text(WORLD.replace("325001", "1"))
    with rasterio.open(path) as file:  # in a PNG, GDAL prefers the world file
        assert (
            header(path).transform == file.transform == (PLACE if name != "a.png" else Affine(2, 0, 0, 0, -2, PLACE.f))
        )
    assert header(path).notes == (OTHER_WORLD_FILE if name != "a.png" else BY_WORLD_FILE,)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.jp2"])
@pytest.mark.parametrize("text", ["", "2\n0\n0\n-2\n1\n", "no numbers\n" * 6, "nan\n" * 6, "0\n0\n0\n0\n1\n2\n"])
def test_a_broken_world_file_is_refused_by_its_name(tmp_path: Path, name: str, text: str) -> None:
    path = write(tmp_path / name)
    world = tmp_path / f"a.{'tfw' if name == 'a.tif' else 'wld'}"
    world.write_text(text)
    with pytest.raises(UserError, match=r"a\.(tfw|wld) is no world file: ") as error:
        header(path)
    assert "\n" not in str(error.value)
    world.write_bytes(b"\xff\xfe2\0\n\0")
    with pytest.raises(UserError, match=r"a\.(tfw|wld) is no world file: "):
        header(path)


def test_a_broken_prj_is_refused_by_its_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png")
    (tmp_path / "a.pgw").write_text(WORLD)
    (tmp_path / "a.prj").write_text("UTM, somewhere")
    with pytest.raises(UserError, match=r"a\.prj holds no CRS"):
        header(path)


def test_a_world_file_that_is_not_needed_is_told(tmp_path: Path) -> None:
    save_tif(tmp_path / "a.tif", RGB.transpose(2, 0, 1), crs=UTM, transform=PLACE)
    for text, note in ((WORLD, BY_WORLD_FILE), ("1\n0\n0\n-1\n0\n0\n", OTHER_WORLD_FILE), ("broken", OTHER_WORLD_FILE)):
        (tmp_path / "a.tfw").write_text(text)
        assert (header(tmp_path / "a.tif").transform, header(tmp_path / "a.tif").notes) == (PLACE, (note,))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_a_world_file_is_of_the_pixels_as_they_are_stored(tmp_path: Path, name: str, orientation: int) -> None:
    path = write(tmp_path / name, orientation)
    (tmp_path / "a.wld").write_text(WORLD)
    turn = TURNS[orientation]
    size = turn.size(40, 64)
    with open_raster(path) as raster:
        assert (raster.height, raster.width) == size
        assert raster.transform == turn.transform(PLACE, size)
    with rasterio.open(path) as stored, open_geotiff(path) as shown:
        assert stored.transform == PLACE
        row, col = turn.place(3.5, 7.5, size)
        one = ((int(row), int(row) + 1), (int(col), int(col) + 1))
        np.testing.assert_array_equal(shown.read(window=one), stored.read(window=((3, 4), (7, 8))))
        assert shown.transform == turn.transform(PLACE, size)


def test_control_points_place_an_image_by_a_plane(tmp_path: Path) -> None:
    save_tif(tmp_path / "a.tif", RGB.transpose(2, 0, 1), crs=UTM, transform=None, gcps=GCPS)
    assert header(tmp_path / "a.tif").notes == (BY_GCPS,)
    with open_raster(tmp_path / "a.tif") as raster:
        assert raster.crs == UTM
        np.testing.assert_allclose(tuple(raster.transform), tuple(PLACE), atol=1e-6)
        assert [(g.row, g.col) for g in raster.gcps] == [(g.row, g.col) for g in GCPS]


@pytest.mark.parametrize(
    "points", [GCPS[:1], GCPS[:2], [GCPS[0], GCPS[3], GroundControlPoint(20, 32, 325_064, 2_779_960)]]
)
def test_control_points_that_span_no_plane_place_nothing(tmp_path: Path, points: list[GroundControlPoint]) -> None:
    save_tif(tmp_path / "a.tif", RGB.transpose(2, 0, 1), crs=UTM, transform=None, gcps=points)
    assert (header(tmp_path / "a.tif").transform, header(tmp_path / "a.tif").notes) == (None, (FEW_GCPS,))


def test_rpcs_alone_place_nothing_and_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif")
    keys = ["LINE_OFF", "SAMP_OFF", "LAT_OFF", "LONG_OFF", "HEIGHT_OFF", "LINE_SCALE", "SAMP_SCALE", "LAT_SCALE"]
    lines = [f"{key}: 1" for key in [*keys, "LONG_SCALE", "HEIGHT_SCALE"]]
    for name in ("LINE_NUM", "LINE_DEN", "SAMP_NUM", "SAMP_DEN"):
        lines += [f"{name}_COEFF_{k}: 1" for k in range(1, 21)]
    (tmp_path / "a_RPC.TXT").write_text("\n".join(lines))
    assert (header(path).transform, header(path).notes) == (None, (RPCS,))


def test_without_rasterio_a_world_file_is_told_and_the_image_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.png")
    (tmp_path / "a.pgw").write_text(WORLD)
    monkeypatch.setitem(__import__("sys").modules, "rasterio", None)
    (note,) = header(path).notes
    assert "needs rasterio, pip install" in note
    with open_raster(path) as raster:
        assert raster.transform is None


def test_an_aux_xml_beside_another_format_is_told(tmp_path: Path) -> None:
    PIL.Image.fromarray(RGB).save(tmp_path / "a.png", format="JPEG")
    (tmp_path / "a.png.aux.xml").write_text("<PAMDataset/>")
    assert "another format" in header(tmp_path / "a.png").notes[0]
    (tmp_path / "a.pgw").write_text(WORLD)
    assert header(tmp_path / "a.png").transform == PLACE


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("network") / "best.ckpt")


def label(network: Path, image: Path, out: Path) -> None:
    words = ("--device", "cpu", "--precision", "32", "--window", "32", "--overlap", "8", "--confidence")
    assert predict.main([str(network), str(image), "--out", str(out), *words]) == 0


def test_the_map_of_control_points_keeps_them(tmp_path: Path, network: Path) -> None:
    save_tif(tmp_path / "a.tif", RGB.transpose(2, 0, 1), crs=UTM, transform=None, gcps=GCPS)
    label(network, tmp_path / "a.tif", tmp_path / "out")
    for name in ("a.tif", "a.confidence.tif"):
        with rasterio.open(tmp_path / "out" / name) as written:
            points, crs = written.gcps
            assert crs == UTM
            assert [(g.row, g.col, g.x, g.y) for g in points] == [(g.row, g.col, g.x, g.y) for g in GCPS]
            assert written.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert written.transform.is_identity
    assert "nan" not in (tmp_path / "out" / "areas.csv").read_text()


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_map_of_a_placed_png_is_placed(tmp_path: Path, network: Path, orientation: int) -> None:
    image = write(tmp_path / "a.png", orientation)
    (tmp_path / "a.pgw").write_text(WORLD)
    (tmp_path / "a.prj").write_text(UTM.to_wkt(version="WKT1_ESRI"))
    label(network, image, tmp_path / "out")
    size = TURNS[orientation].size(40, 64)
    for name in ("a.png", "a.confidence.png"):
        with rasterio.open(tmp_path / "out" / name) as written:  # as QGIS reads it
            assert (written.height, written.width) == size
            assert (written.crs, written.transform) == (UTM, TURNS[orientation].transform(PLACE, size))
        assert header(tmp_path / "out" / name).crs == UTM
    assert (tmp_path / "out" / "a.prj").is_file()
    (tmp_path / "out" / "a.png.aux.xml").unlink()
    assert header(tmp_path / "out" / "a.png").crs == UTM
    m2 = (tmp_path / "out" / "areas.csv").read_text().splitlines()[1].split(",")
    assert float(m2[4]) == 4 * int(m2[2])
