"""What a mask's file holds, whatever its container: numbers or colours, and where there is nothing."""

import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from folders import save_tif
from PIL import Image

from sparse_seg.classes import Classes
from sparse_seg.errors import UserError
from sparse_seg.raster.masks import Labels, probe, read_mask, read_sample
from sparse_seg.raster.warned import BlurredWarning, HiddenClassWarning, OffPaletteWarning

SHAPE = (40, 56)
RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, SHAPE).astype(np.uint8)
HOLE = RNG.random(SHAPE) < 0.2
EXPECTED = np.where(HOLE, 255, LABELS)
COLOURS = np.array([(0, 0, 255), (255, 0, 0), (0, 255, 0)], np.uint8)
NAMES = ("Ground", "Roof", "Tree")


def classes(indices: tuple[int, ...] | None = (0, 1, 2), blank: tuple[int, ...] = (), **options: Any) -> Classes:
    count = len(indices or COLOURS)
    colours = options.pop("colours", tuple(tuple(c) for c in COLOURS[:count].tolist()))
    return Classes(NAMES[:count], colours, indices=indices, blank=blank, **options)


def read(path: Path, known: Classes) -> Labels:
    return read_mask(path, known, (0, 0, *SHAPE), probe(path))


def holds(path: Path, known: Classes, expected: np.ndarray) -> None:
    labels = read(path, known)
    np.testing.assert_array_equal(labels.mask, expected)
    assert labels.off == 0


def palette(index: np.ndarray, colours: np.ndarray = COLOURS) -> Image.Image:
    image = Image.fromarray(index.astype(np.uint8))
    image.putpalette(colours.astype(np.uint8).tobytes())
    return image


def opacity(levels: int = 255) -> np.ndarray:
    return np.where(HOLE, 0, levels).astype(np.uint8)


def rgba(path: Path) -> Classes:
    Image.fromarray(np.dstack([COLOURS[LABELS], opacity(1)])).save(path)
    return classes(None)


def la(path: Path) -> Classes:
    Image.fromarray(np.dstack([LABELS, opacity(7)])).save(path)
    return classes()


def palette_alphas(path: Path) -> Classes:
    """The hole has the colour of class 1 and an alpha of 0, as GDAL and QGIS write palettes with no data."""
    palette(np.where(HOLE, 3, LABELS), COLOURS[[0, 1, 2, 1]]).save(path, transparency=bytes([255, 255, 255, 0]))
    return classes(None)


def palette_index(path: Path) -> Classes:
    palette(np.where(HOLE, 3, LABELS), COLOURS[[0, 1, 2, 1]]).save(path, transparency=3)
    return classes((0, 1, 2))


def grey_key(path: Path) -> Classes:
    Image.fromarray(np.where(HOLE, 9, LABELS).astype(np.uint8)).save(path, transparency=9)
    return classes()


def colour_key(path: Path) -> Classes:
    rgb = np.where(HOLE[..., None], np.array([1, 2, 3], np.uint8), COLOURS[LABELS])
    Image.fromarray(rgb).save(path, transparency=(1, 2, 3))
    return classes(None)


def deep_key(path: Path) -> Classes:
    Image.fromarray(np.where(HOLE, 900, LABELS.astype(int) * 100).astype(np.uint16)).save(path, transparency=900)
    return classes((0, 100, 200))


def tif_alpha(path: Path) -> Classes:
    save_tif(path, np.dstack([COLOURS[LABELS], opacity()]).transpose(2, 0, 1))
    return classes(None)


def tif_value_alpha(path: Path) -> Classes:
    save_tif(path, np.stack([LABELS, opacity()]), alpha="yes")
    return classes()


def tif_nodata_and_alpha(path: Path) -> Classes:
    values = np.where(HOLE & (LABELS == 0), 77, LABELS).astype(np.uint8)
    save_tif(path, np.stack([values, opacity()]), alpha="yes", nodata=77)
    return classes()


def tif_nan(path: Path) -> Classes:
    save_tif(path, np.where(HOLE, np.nan, LABELS).astype(np.float32)[None])
    return classes()


def tif_inf(path: Path) -> Classes:
    save_tif(path, np.where(HOLE, -np.inf, LABELS)[None])
    return classes()


def tif_float_lowest(path: Path) -> Classes:
    lowest = float(np.finfo(np.float32).min)
    save_tif(path, np.where(HOLE, lowest, LABELS).astype(np.float32)[None], nodata=lowest)
    return classes()


def tif_fraction_as_nodata(path: Path) -> Classes:
    save_tif(path, np.where(HOLE, -9999.9, LABELS)[None], nodata=-9999.9)
    return classes()


def tif_msk(path: Path) -> Classes:
    save_tif(path, LABELS[None])
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
        file.write_mask(opacity())
    return classes()


def tif_colours_nodata(path: Path) -> Classes:
    rgb = np.where(HOLE[..., None], np.uint8(255), COLOURS[LABELS])  # one band of each class is 255, too
    save_tif(path, rgb.transpose(2, 0, 1), nodata=255)
    return classes(None)


def tif_palette_nodata(path: Path) -> Classes:
    save_tif(path, np.where(HOLE, 1, LABELS * 2).astype(np.uint8)[None], nodata=1)
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {0: (0, 0, 255, 255), 1: (255, 0, 0, 255), 2: (255, 0, 0, 255), 4: (0, 255, 0, 255)})
    return classes(None)


PNGS = [rgba, la, palette_alphas, palette_index, grey_key, colour_key, deep_key]
TIFS = [
    tif_alpha, tif_value_alpha, tif_nodata_and_alpha, tif_nan, tif_inf, tif_float_lowest, tif_fraction_as_nodata,
    tif_msk, tif_colours_nodata, tif_palette_nodata,
]  # fmt: skip


@pytest.mark.parametrize("make", [*PNGS, *TIFS], ids=lambda make: make.__name__)
def test_transparency_and_no_data_are_unlabelled(tmp_path: Path, make: Callable[[Path], Classes]) -> None:
    path = tmp_path / ("a.tif" if make in TIFS else "a.png")
    known = make(path)
    holds(path, known, EXPECTED)
    part = read_mask(path, known, (8, 16, 100, 20), probe(path)).mask
    np.testing.assert_array_equal(part[:32], EXPECTED[8:, 16:36])
    assert (part[32:] == 255).all()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "float32", "float64"])
def test_whole_numbers_of_any_type_are_numbers(tmp_path: Path, dtype: str) -> None:
    save_tif(tmp_path / "a.tif", LABELS[None].astype(dtype))
    holds(tmp_path / "a.tif", classes(), LABELS)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_pngs_of_any_depth_hold_numbers(tmp_path: Path, bits: int) -> None:
    labels = LABELS % 2 if bits == 1 else LABELS
    if bits == 1:
        Image.fromarray(labels.astype(bool)).save(tmp_path / "a.png")
    elif bits < 8:
        write_png(tmp_path / "a.png", labels, bits, 0)
    else:
        Image.fromarray(labels.astype(f"uint{bits}")).save(tmp_path / "a.png")
    holds(tmp_path / "a.png", classes((0, 1) if bits == 1 else (0, 1, 2)), labels)


def write_png(path: Path, values: np.ndarray, bits: int, kind: int) -> None:
    """By hand, since Pillow writes neither 2 or 4 bits of grey nor 16 in several bands. kind: PNG's colour type."""
    if bits == 16:
        lines = values.astype(">u2").reshape(len(values), -1).view(np.uint8)
    else:
        lines = np.zeros((values.shape[0], values.shape[1] * bits // 8), np.uint8)
        for k in range(8 // bits):
            lines |= values[:, k :: 8 // bits] << np.uint8(8 - bits * (k + 1))
    rows = b"".join(b"\0" + row.tobytes() for row in lines)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, kind, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    content = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_white_of_one_bit_is_255_where_a_class_has_that_index(tmp_path: Path, kind: str) -> None:
    labels, path = LABELS % 2, tmp_path / f"a.{kind}"
    if kind == "png":
        Image.fromarray(labels.astype(bool)).save(path)
    else:
        save_tif(path, labels[None], nbits=1)
    holds(path, classes((0, 255), blank=(7,)), labels)
    holds(path, classes((0, 1)), labels)
    holds(path, classes((0, 1), blank=(255,)), labels)
    holds(path, classes(None, colours=((0, 0, 0), (255, 255, 255), (1, 2, 3))), labels)


def test_black_and_white_of_eight_bits(tmp_path: Path) -> None:
    path, labels = tmp_path / "a.png", LABELS % 2
    Image.fromarray(labels * np.uint8(255)).save(path)
    holds(path, classes((0, 255), blank=(254,)), labels)
    holds(path, classes(None, colours=((0, 0, 0), (255, 255, 255), (1, 2, 3))), labels)
    holds(path, classes((0, 1)), np.where(labels == 1, 255, 0))  # 255 means unlabelled unless told otherwise


def test_what_is_neither_numbers_nor_colours_is_refused_with_the_file(tmp_path: Path) -> None:
    save_tif(tmp_path / "a.tif", LABELS[None] + np.float32(0.5))
    with pytest.raises(UserError, match=r"a\.tif holds the fraction \d\.5: a mask holds whole numbers or colours"):
        read(tmp_path / "a.tif", classes())
    save_tif(tmp_path / "b.tif", COLOURS[LABELS].transpose(2, 0, 1).astype(np.uint16) * 20)
    with pytest.raises(UserError, match=r"b\.tif holds 5100 in a colour: a mask has colours of 0 to 255"):
        read(tmp_path / "b.tif", classes(None))


@pytest.mark.parametrize("kind", ["grey and alpha", "colours", "colours and alpha", "tif"])
def test_sixteen_bits_are_all_read(tmp_path: Path, kind: str) -> None:
    """Pillow keeps the upper eight of them: the numbers 0, 1, 2 would all be 0."""
    path, alpha = tmp_path / "a.png", np.where(HOLE, 0, 1).astype(np.uint16)
    rgb = COLOURS[LABELS].astype(np.uint16) * 257
    if kind == "tif":
        save_tif(tmp_path / "a.tif", rgb.transpose(2, 0, 1))
        holds(tmp_path / "a.tif", classes(None), LABELS)
    elif kind == "grey and alpha":
        write_png(path, np.dstack([LABELS.astype(np.uint16), alpha]), 16, 4)
        holds(path, classes(), EXPECTED)
    elif kind == "colours":
        write_png(path, rgb, 16, 2)
        holds(path, classes(None), LABELS)
    else:
        write_png(path, np.dstack([rgb, alpha]), 16, 6)
        holds(path, classes(None), EXPECTED)


def test_two_bands_without_alpha_are_no_mask(tmp_path: Path) -> None:
    save_tif(tmp_path / "a.tif", np.stack([LABELS, LABELS]))
    with pytest.raises(UserError, match=r"a\.tif has 2 bands without alpha: a mask has one of numbers, or three"):
        read(tmp_path / "a.tif", classes())


def test_declared_nodata_is_a_class_only_where_another_number_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    save_tif(path, np.where(HOLE, 255, LABELS).astype(np.uint8)[None], nodata=0)
    holds(path, classes(blank=(255,)), EXPECTED)
    hidden = np.where(HOLE | (LABELS == 0), 255, LABELS)
    holds(path, classes(), hidden)
    picture = probe(path, path)
    with pytest.warns(HiddenClassWarning) as caught:
        read_sample(picture, classes(), None, None, (0, 0, *SHAPE), None)
    (said,) = (w.message for w in caught)
    assert isinstance(said, HiddenClassWarning)
    assert (said.count, said.value) == (int(((LABELS == 0) & ~HOLE).sum()), 0)
    save_tif(path, np.where(HOLE, 9, LABELS).astype(np.uint8)[None], nodata=9)
    holds(path, classes(blank=(255,)), EXPECTED)


def test_an_index_of_255_beside_another_number_to_ignore(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    save_tif(path, np.array([0, 255, 17, 3], np.uint8)[np.where(HOLE, 3, LABELS)][None], nodata=255)
    holds(path, classes((0, 255, 17), blank=(3,)), EXPECTED)


def test_foreign_values_are_counted_by_value(tmp_path: Path) -> None:
    labels = LABELS.copy()
    labels[0, :5], labels[1, :3] = 9, 11
    save_tif(tmp_path / "a.tif", labels[None])
    Image.fromarray(np.vstack([COLOURS, np.full((9, 3), (1, 2, 3), np.uint8)])[labels]).save(tmp_path / "b.png")
    for name, known, values in (
        ("a.tif", classes(), {9: 5, 11: 3}),
        ("b.png", classes(None), {(1, 2, 3): 8}),
    ):
        with pytest.warns(OffPaletteWarning) as caught:
            read_sample(probe(tmp_path / name, tmp_path / name), known, None, None, (0, 0, *SHAPE), None)
        (said,) = (w.message for w in caught)
        assert isinstance(said, OffPaletteWarning)
        assert (said.count, dict(said.values)) == (8, values)


VOC = np.zeros((256, 3), np.uint8)
VOC[:3], VOC[255] = [(0, 0, 0), (128, 0, 0), (0, 128, 0)], (224, 224, 192)
VOC_COLOURS = tuple(tuple(c) for c in VOC[:3].tolist())


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("known", ["numbers", "colours", "both"])
def test_a_palette_has_numbers_and_colours(tmp_path: Path, suffix: str, known: str) -> None:
    path, index = tmp_path / f"a{suffix}", np.where(HOLE, 255, LABELS)
    if suffix == ".png":
        palette(index, VOC).save(path)
    else:
        save_tif(path, index.astype(np.uint8)[None])
        with rasterio.open(path, "r+") as file:
            file.write_colormap(1, {k: (*c, 255) for k, c in enumerate(VOC.tolist())})
    holds(
        path,
        {
            "numbers": classes(colours=((1, 1, 1), (2, 2, 2), (3, 3, 3))),
            "colours": Classes(NAMES, VOC_COLOURS),
            "both": classes(colours=VOC_COLOURS),
        }[known],
        EXPECTED,
    )


def test_a_palette_whose_readings_differ_is_refused_with_both(tmp_path: Path) -> None:
    palette(LABELS, VOC).save(tmp_path / "a.png")
    known = classes((0, 2, 1), colours=VOC_COLOURS)
    with pytest.raises(UserError, match="means two things: by the classes' indices its values are") as error:
        read(tmp_path / "a.png", known)
    first, second = str(error.value).split("\n")
    assert first.endswith("0 Ground, 1 Tree, 2 Roof,")
    assert second.startswith("by their colours 0 Ground, 1 Roof, 2 Tree: correct")


def test_of_two_readings_the_complete_one_counts(tmp_path: Path) -> None:
    """Another order of the palette; what its numbers say beside is of no class."""
    order = np.array([5, 7, 1])
    table = np.zeros((256, 3), np.uint8)
    table[order] = VOC[:3]
    palette(order[LABELS], table).save(tmp_path / "a.png")
    holds(tmp_path / "a.png", classes(colours=VOC_COLOURS), LABELS)
    holds(tmp_path / "a.png", classes((5, 7, 1), colours=((9, 9, 9), (8, 8, 8), VOC_COLOURS[0])), LABELS)


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("quality", [50, 75, 90, 95])
@pytest.mark.parametrize("colours", [COLOURS, VOC[:3]], ids=["bright", "voc"])
def test_a_jpeg_is_the_nearest_colour(tmp_path: Path, quality: int, subsampling: int, colours: np.ndarray) -> None:
    labels = np.zeros((96, 96), np.uint8)
    labels[20:60, 10:60], labels[60:90, 50:90] = 1, 2
    Image.fromarray(colours[labels]).save(tmp_path / "a.jpg", quality=quality, subsampling=subsampling)
    known = Classes(NAMES, tuple(tuple(c) for c in colours.tolist()))
    found = read_mask(tmp_path / "a.jpg", known, (0, 0, 96, 96), probe(tmp_path / "a.jpg"))
    assert found.blurred
    assert found.off <= 0.05 * labels.size
    said = found.mask != 255
    assert np.count_nonzero(found.mask[said] != labels[said]) <= 0.002 * labels.size


def test_pixels_between_the_colours_of_a_jpeg_are_counted_and_too_many_refused(tmp_path: Path) -> None:
    rgb = COLOURS[np.zeros((64, 64), int)]
    rgb[:, :3] = (128, 128, 128)
    Image.fromarray(rgb).save(tmp_path / "a.jpg", quality=95, subsampling=0)
    picture = probe(tmp_path / "a.jpg", tmp_path / "a.jpg")
    with pytest.warns(BlurredWarning, match=r"a\.jpg: \d+ pixels lie between") as caught:
        mask = read_sample(picture, classes(None), None, None, (0, 0, 64, 64), None)[1]
    assert [getattr(w.message, "count", 0) for w in caught] == [(mask == 255).sum()]
    rgb[:, :5] = (128, 128, 128)
    Image.fromarray(rgb).save(tmp_path / "b.jpg", quality=95, subsampling=0)
    for window in ((0, 0, 64, 64), (0, 32, 32, 32)):
        with pytest.raises(
            UserError, match=r"b\.jpg is compressed with loss, and [78]% of its pixels differ by"
        ) as error:
            read_mask(tmp_path / "b.jpg", classes(None), window, probe(tmp_path / "b.jpg"))
        assert "\n" not in str(error.value)


def test_numbers_in_a_jpeg_must_lie_apart(tmp_path: Path) -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[8:32, 8:32] = 1
    Image.fromarray(labels * np.uint8(255)).save(tmp_path / "a.jpg", quality=90)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read(tmp_path / "a.jpg", classes((0, 255), blank=(128,)))
    said = found.mask != 255
    np.testing.assert_array_equal(found.mask[said], labels[said])
    Image.fromarray(labels).save(tmp_path / "b.jpg")
    with pytest.raises(UserError, match=r"b\.jpg is compressed with loss, .*: 0 and 1 of classes.yaml are too much"):
        read(tmp_path / "b.jpg", classes((0, 1)))
    Image.fromarray(COLOURS[LABELS]).save(tmp_path / "c.jpg")
    with pytest.raises(UserError, match=r"#000000 and #0A0000 of classes.yaml are too much alike"):
        read(tmp_path / "c.jpg", Classes(NAMES[:2], ((0, 0, 0), (10, 0, 0))))


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_a_geotiff_is_lossy_where_its_compression_is(tmp_path: Path, kind: str, lossless: bool) -> None:
    labels = np.kron(RNG.integers(0, 3, (4, 4)), np.ones((16, 16), int)).astype(np.uint8)
    options: dict[str, Any] = {"compress": "deflate" if kind == "jpeg" and lossless else kind}
    options |= {"webp_lossless": lossless} if kind == "webp" else {}
    save_tif(tmp_path / "a.tif", COLOURS[labels].transpose(2, 0, 1), **options)
    found = read_mask(tmp_path / "a.tif", classes(None), (0, 0, 64, 64), probe(tmp_path / "a.tif"))
    assert found.blurred != lossless
    said = found.mask != 255
    np.testing.assert_array_equal(found.mask[said], labels[said])
    assert said.mean() > 0.8
