"""VRT and JPEG 2000 are read as GeoTIFFs are; a VRT reaches nothing but images in its own folder."""

import socket
import warnings
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import pytest
from folders import PIXEL, UTM, save_tif

from sparse_seg.errors import UserError
from sparse_seg.raster.beside import content
from sparse_seg.raster.masks import probe
from sparse_seg.raster.readers import gdal_env, open_geotiff, open_raster, reader_of

rasterio = pytest.importorskip("rasterio")

RGB = np.random.default_rng(4).integers(1, 256, (3, 40, 48)).astype(np.uint8)
SOURCE = """<SimpleSource><SourceFilename relativeToVRT="{relative}">{name}</SourceFilename>
<SourceBand>{band}</SourceBand><SrcRect xOff="0" yOff="0" xSize="48" ySize="40"/>
<DstRect xOff="{at}" yOff="0" xSize="48" ySize="40"/></SimpleSource>"""


def vrt(path: Path, *names: str, relative: int = 1, more: str = "", band_more: str = "", head: str = "") -> Path:
    """Images of three bands, side by side."""
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{k}">{band_more}'
        + "".join(SOURCE.format(name=escape(n), band=k, at=48 * i, relative=relative) for i, n in enumerate(names))
        + "</VRTRasterBand>"
        for k in (1, 2, 3)
    )
    size = f'rasterXSize="{48 * len(names)}" rasterYSize="40"'
    path.write_text(
        f"{head}<VRTDataset {size}><SRS>{UTM}</SRS><GeoTransform>1000, {PIXEL}, 0, 2000, 0, -{PIXEL}</GeoTransform>"
        f"<Metadata><MDI key='a'>b</MDI></Metadata>{more}{bands}</VRTDataset>"
    )
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with two images, and one outside of it."""
    root = tmp_path / "in"
    save_tif(root / "a.tif", RGB)
    save_tif(root / "below" / "b.tif", 255 - RGB)
    save_tif(tmp_path / "outside.tif", RGB)
    return root


def read(path: Path, **options):
    with open_raster(path, **options) as raster:
        return raster.read(0, 0, raster.height, raster.width)


def refused(path: Path, message: str) -> None:
    for opened in (open_raster, open_geotiff):
        with pytest.raises(UserError, match=message) as error, opened(path):
            pass
        assert str(path) in str(error.value)
        assert len(str(error.value).splitlines()) <= 2


def test_a_vrt_is_read_by_windows_at_its_position(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = vrt(root / "m.vrt", "a.tif", "below/b.tif")
    expected = np.concatenate([RGB, 255 - RGB], 2).transpose(1, 2, 0)
    np.testing.assert_array_equal(read(path)[0], expected)
    with open_raster(path, bands=[3]) as raster:
        assert (raster.crs, raster.transform.c) == (rasterio.crs.CRS.from_string(UTM), 1000)
        np.testing.assert_array_equal(raster.read(5, 40, 20, 30)[0], expected[5:25, 40:70, 2:])
    header = reader_of(path).header(path)
    assert (header.height, header.width, header.kind, header.notes) == (40, 96, "uint8 × 3", ())
    monkeypatch.chdir(root)
    np.testing.assert_array_equal(read(Path("m.vrt"))[0], expected)
    assert probe(path, vrt(root / "mask.vrt", "a.tif", "below/b.tif")).mask == root / "mask.vrt"


def test_a_vrt_of_gdals_own_making_is_read(root: Path) -> None:
    from rasterio.shutil import copy

    save_tif(root / "n.tif", RGB.astype(np.uint16) * 9, nodata=9, compress="deflate")
    copy(root / "n.tif", root / "n.vrt", driver="VRT")
    image, valid = read(root / "n.vrt", scale=(0, 2295))
    np.testing.assert_array_equal(valid, (RGB != 1).any(0))
    np.testing.assert_array_equal(image, np.where(valid[..., None], RGB.transpose(1, 2, 0), 0))


def test_nodata_masks_palettes_and_alpha_of_a_vrt_are_as_elsewhere(root: Path) -> None:
    nodata = vrt(root / "m.vrt", "a.tif", band_more="<NoDataValue>7</NoDataValue>")
    np.testing.assert_array_equal(read(nodata)[1], (RGB != 7).any(0))
    mask = SOURCE.format(name="below/b.tif", band=1, at=0, relative=1)
    band = f'<MaskBand><VRTRasterBand dataType="Byte">{mask}</VRTRasterBand></MaskBand>'
    np.testing.assert_array_equal(read(vrt(root / "n.vrt", "a.tif", more=band))[1], RGB[0] != 255)
    entries = '<Entry c1="9" c2="8" c3="7" c4="0"/>' + '<Entry c1="4" c2="5" c3="6" c4="255"/>' * 255
    (root / "p.vrt").write_text(
        '<VRTDataset rasterXSize="48" rasterYSize="40"><VRTRasterBand dataType="Byte" band="1"><ColorInterp>Palette'
        f"</ColorInterp><ColorTable>{entries}</ColorTable>{SOURCE.format(name='z.tif', band=1, at=0, relative=1)}"
        "</VRTRasterBand></VRTDataset>"
    )
    save_tif(root / "z.tif", RGB[:1] % 2)
    image, valid = read(root / "p.vrt")
    np.testing.assert_array_equal(valid, RGB[0] % 2 == 1)
    np.testing.assert_array_equal(image[valid], np.broadcast_to([4, 5, 6], (valid.sum(), 3)))


@pytest.mark.parametrize(
    "name",
    [
        "../outside.tif", "below/../../outside.tif", "/vsicurl/http://127.0.0.1/a.tif", "http://127.0.0.1/a.tif",
        "/vsizip/a.zip/a.tif", "vrt://a.tif?bands=1", "GTIFF_DIR:1:a.tif", "link.tif", "linked/b.tif", "loop.tif", "",
        "C:\\a.tif", "<VRTDataset/>.tif", "x" * 300 + ".tif",
    ],
)  # fmt: skip
def test_a_source_outside_of_the_folder_is_refused(root: Path, name: str) -> None:
    (root / "link.tif").symlink_to(root.parent / "outside.tif")
    (root / "linked").symlink_to(root / "below")
    (root / "loop.tif").symlink_to(root / "loop.tif")
    refused(vrt(root / "m.vrt", name), "a VRT may only name files in its own folder")


def test_a_whole_path_and_one_relative_to_elsewhere_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(vrt(root / "m.vrt", str(root / "a.tif")), "its own folder")
    refused(vrt(root / "m.vrt", str(root / "a.tif"), relative=0), "its own folder")
    monkeypatch.chdir(root)
    refused(vrt(root / "m.vrt", "a.tif", relative=0), "its own folder")


def test_a_source_must_be_an_image_of_its_suffix(root: Path) -> None:
    vrt(root / "inner.vrt", "a.tif")
    refused(vrt(root / "m.vrt", "inner.vrt"), "a VRT is read of .tif")
    (root / "c.tif").write_text((root / "inner.vrt").read_text())
    path = vrt(root / "m.vrt", "c.tif")
    with pytest.raises(UserError, match=r"c\.tif is damaged or no GeoTIFF"), open_raster(path):
        pass
    refused(vrt(root / "m.vrt", "missing.tif"), "missing.tif', which is not there")
    (root / "d.tif").mkdir()
    refused(vrt(root / "m.vrt", "d.tif"), "which is not there")
    (root / "e.tif").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(UserError, match=r"e\.tif is damaged or no GeoTIFF"), open_raster(vrt(root / "m.vrt", "e.tif")):
        pass


def test_a_geotiff_that_holds_a_vrt_is_none(root: Path) -> None:
    vrt(root / "m.vrt", "a.tif").rename(root / "m.tif")
    refused(root / "m.tif", "is damaged or no GeoTIFF")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<VRTDataset", '<!DOCTYPE a [<!ENTITY b "c">]><VRTDataset', "DOCTYPE"),
        ("<Metadata>", "<![CDATA[ ]]><Metadata>", "CDATA"),
        ("<Metadata>", "<?a b?><Metadata>", r"<\?"),
        ("<VRTDataset", '<VRTDataset subClass="VRTWarpedDataset"', "VRTWarpedDataset"),
        ('band="1"', 'band="1" subClass="VRTDerivedRasterBand"', "VRTDerivedRasterBand"),
        ('band="1"', 'band="1" subClass="VRTRawRasterBand"', "VRTRawRasterBand"),
        ("<Metadata>", "<PixelFunctionType>min</PixelFunctionType><Metadata>", "PixelFunctionType"),
        ("<Metadata>", "<GDALWarpOptions/><Metadata>", "GDALWarpOptions"),
        ("<SourceBand>", "<OpenOptions><OOI key='A'>B</OOI></OpenOptions><SourceBand>", "OpenOptions"),
        ("<SourceBand>", "<sourcefilename>/etc/passwd</sourcefilename><SourceBand>", "sourcefilename"),
        (UTM, "http://127.0.0.1/crs.xml", "the CRS 'http"),
        ("</VRTDataset>", "", "is damaged or no VRT"),
        ("<VRTDataset", "<GDAL_WMS><VRTDataset", "is damaged or no VRT"),
        ("VRTDataset", "GDAL_WMS", "begins with <GDAL_WMS>"),
    ],
)  # fmt: skip
def test_what_is_more_than_images_side_by_side_is_refused(root: Path, old: str, new: str, message: str) -> None:
    path = vrt(root / "m.vrt", "a.tif")
    path.write_text(path.read_text().replace(old, new))
    refused(path, message)


def test_other_encodings_and_endless_texts_are_refused(root: Path) -> None:
    path = vrt(root / "m.vrt", "a.tif")
    text = path.read_text()
    path.write_bytes(text.encode("utf-16"))
    refused(path, "is damaged or no VRT")
    path.write_text(text.replace("<Metadata>", "<a>" * 100_000))
    refused(path, "is damaged or no VRT")
    path.write_text(text + " " * 2**23)
    refused(path, "more than 8 MB of text")
    path.write_text(text)
    (root / "m.vrt.msk").write_bytes((root / "a.tif").read_bytes())
    refused(path, r"m\.vrt\.msk would not be read")


def test_the_content_of_a_vrt_is_that_of_its_images(root: Path) -> None:
    path = vrt(root / "m.vrt", "a.tif", "below/b.tif")
    seen = [content(path)]
    save_tif(root / "below" / "b.tif", RGB)
    seen.append(content(path))
    np.testing.assert_array_equal(read(path)[0][:, 48:], RGB.transpose(1, 2, 0))
    (root / "a.tfw").write_text("1")
    seen.append(content(path))
    vrt(path, "a.tif", "a.tif")
    seen.append(content(path))
    assert len(set(seen)) == 4
    (root / "a.tif").unlink()
    with pytest.raises(UserError, match="which is not there"):
        content(path)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_jpeg_2000_is_read_as_it_was_written(tmp_path: Path, dtype: str) -> None:
    pixels = RGB.astype(dtype) * (1 if dtype == "uint8" else 16)
    options = {"driver": "JP2OpenJPEG", "count": 3, "height": 40, "width": 48, "dtype": dtype, "crs": UTM}
    transform = rasterio.Affine(2, 0, 325_000, 0, -2, 2_780_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(tmp_path / "a.jp2", "w", **options, transform=transform, QUALITY=100, REVERSIBLE="YES") as f:
            f.write(pixels)
    with open_raster(tmp_path / "a.jp2", scale=(0, 4080)) as raster:
        assert (raster.crs, raster.transform) == (rasterio.crs.CRS.from_string(UTM), transform)
        np.testing.assert_array_equal(raster.read(3, 5, 20, 30)[0], RGB.transpose(1, 2, 0)[3:23, 5:35])
    (tmp_path / "b.jp2").write_bytes((tmp_path / "a.jp2").read_bytes()[:200])
    refused(tmp_path / "b.jp2", "is damaged or no JPEG 2000")


def test_gdal_asks_no_network_whatever_it_is_made_to_open(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, gdal_env(), rasterio.Env(GDAL_HTTP_TIMEOUT=2):
        server.settimeout(0.2)
        there = f"http://127.0.0.1:{server.getsockname()[1]}"
        wms = f"<GDAL_WMS><Service name='TMS'><ServerUrl>{there}/${{z}}</ServerUrl></Service></GDAL_WMS>"
        for name in (f"/vsicurl/{there}/o.tif", f"{there}/o.tif", wms):
            with pytest.raises(rasterio.errors.RasterioError):
                rasterio.open(name).read()
            # Only a file beside an image gets as far as that.
            overviews = f'<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{escape(name)}</MDI></Metadata>'
            (root / "a.tif.aux.xml").write_text(f"<PAMDataset>{overviews}</PAMDataset>")
            with open_geotiff(root / "a.tif") as file:
                file.overviews(1)
            np.testing.assert_array_equal(read(root / "a.tif")[0], RGB.transpose(1, 2, 0))
        with pytest.raises(TimeoutError):
            server.accept()
