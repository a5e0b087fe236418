"""Reading of images and masks, of made-up files and (if SPARSE_SEG_DATA is set) of the real ones."""

import hashlib
import os
import pickle
import shutil
import warnings
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from folders import decode_mask

from sparse_seg.classes import LAND_COVER, Classes
from sparse_seg.data.dubai import dubai_samples, find_root, read_registry
from sparse_seg.data.pairs import pair_sample
from sparse_seg.errors import UserError
from sparse_seg.raster.images import open_image, rgb_of_image
from sparse_seg.raster.readers import open_geotiff
from sparse_seg.raster.warned import OffPaletteWarning

COLOURS = LAND_COVER.colours + LAND_COVER.unlabelled
MASK = np.random.default_rng(0).integers(0, 6, (37, 53)).astype(np.uint8)
"""Indices into COLOURS; 5 is the unlabelled colour."""


def rgb(index: np.ndarray, colours: tuple[tuple[int, int, int], ...] = COLOURS) -> PIL.Image.Image:
    return PIL.Image.fromarray(np.array(colours, np.uint8)[index])


def save(image: PIL.Image.Image, path: Path, encoding: str) -> Path:
    """Write as "RGB", "RGBA", or with a palette of 2, 4 or 8 bits."""
    if encoding == "RGBA":
        image.putalpha(128)
    if encoding.startswith("RGB"):
        image.save(path)
    else:
        image.quantize(2 ** int(encoding) if encoding != "8" else 256).save(path, bits=int(encoding))
    return path


@pytest.mark.parametrize("encoding", ["RGB", "RGBA", "2", "4", "8"])
def test_every_encoding_decodes_to_the_same_mask(tmp_path: Path, encoding: str) -> None:
    index = MASK % 4 if encoding == "2" else MASK
    path = save(rgb(index), tmp_path / "mask.png", encoding)
    with PIL.Image.open(path) as file:
        assert file.mode == (encoding if encoding.startswith("RGB") else "P")
    mask, off = decode_mask(path, LAND_COVER)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, np.where(index == 5, 255, index))
    assert off == 0


@pytest.mark.parametrize("encoding", ["RGB", "RGBA", "4", "8"])
def test_off_palette_pixels_are_unlabelled_and_counted(tmp_path: Path, encoding: str) -> None:
    index = MASK.copy()
    index[:3, :7] = 6
    path = save(rgb(index, (*COLOURS, (0, 0, 0))), tmp_path / "mask.png", encoding)
    mask, off = decode_mask(path, LAND_COVER)
    np.testing.assert_array_equal(mask, np.where(index >= 5, 255, index))
    assert off == 21


def test_palette_index_without_a_colour_is_unlabelled(tmp_path: Path) -> None:
    image = PIL.Image.fromarray(np.array([[0, 1, 2, 200]], np.uint8))
    image.putpalette([value for colour in COLOURS[:3] for value in colour])
    image.save(tmp_path / "mask.tif")
    with open_geotiff(tmp_path / "mask.tif") as written:
        if written.colormap(1)[0][:3] != COLOURS[0]:
            pytest.skip("this version of GDAL reads other colours from a TIFF's palette than Pillow writes")
    mask, off = decode_mask(tmp_path / "mask.tif", LAND_COVER)
    assert (mask.tolist(), off) == ([[0, 1, 2, 255]], 1)


@pytest.mark.parametrize("encoding", ["RGB", "2", "8"])
def test_unknown_palette_is_refused_with_its_colours(tmp_path: Path, encoding: str) -> None:
    index = np.array([[0, 1, 1, 2]] * 10, np.uint8)
    path = save(rgb(index, (COLOURS[0], (0x50, 0xE3, 0xC2), (1, 2, 3))), tmp_path / "mask.png", encoding)
    with pytest.raises(UserError) as error:
        decode_mask(path, LAND_COVER)
    first, second = str(error.value).split("\n")
    assert first == f"{path}: 75% of the pixels hold the value of no class, mostly #50E3C2 (50%), #010203 (25%)"
    assert "Water #E2A929" in second


def test_half_of_the_pixels_off_palette_is_accepted(tmp_path: Path) -> None:
    rgb(np.array([[0, 1]]), (COLOURS[0], (0, 0, 0))).save(tmp_path / "mask.png")
    assert decode_mask(tmp_path / "mask.png", LAND_COVER)[1] == 1


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "1", "CMYK"])
def test_image_of_any_mode_is_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    PIL.Image.new("RGB", (5, 3), "white").convert(mode).save(path)
    image = rgb_of_image(open_image(path))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, np.full((3, 5, 3), 255))


def test_image_of_16_bits_is_refused_rather_than_clipped(tmp_path: Path) -> None:
    PIL.Image.fromarray(np.full((3, 5), 40_000, np.uint16)).save(tmp_path / "image.png")
    with pytest.raises(UserError, match="convert it to 8-bit RGB"):
        rgb_of_image(open_image(tmp_path / "image.png"))


def pair(folder: Path, index: np.ndarray = MASK) -> tuple[Path, Path]:
    """An image with noise, as JPEG, and the mask of `index`."""
    noise = np.random.default_rng(1).integers(0, 256, (*MASK.shape, 3)).astype(np.uint8)
    PIL.Image.fromarray(noise).save(folder / "image.jpg")
    rgb(index).save(folder / "mask.png")
    return folder / "image.jpg", folder / "mask.png"


def test_sample_reads_image_and_mask(tmp_path: Path) -> None:
    sample = pickle.loads(pickle.dumps(pair_sample(*pair(tmp_path), "a", "1", LAND_COVER)))
    image, mask = sample.read()
    assert (sample.image_id, sample.group, image.shape, mask.shape) == ("a", "1", (37, 53, 3), (37, 53))


def test_content_changes_with_image_mask_and_classes(tmp_path: Path) -> None:
    image, mask = pair(tmp_path)
    seen = [pair_sample(image, mask, "a", "1", LAND_COVER).content]
    assert pair_sample(image, mask, "b", "2", LAND_COVER).content == seen[0]
    seen.append(pair_sample(image, mask, "a", "1", Classes(("Water",), COLOURS[:1])).content)
    rgb(MASK[::-1]).save(mask)
    seen.append(pair_sample(image, mask, "a", "1", LAND_COVER).content)
    PIL.Image.new("RGB", (53, 37)).save(image)
    seen.append(pair_sample(image, mask, "a", "1", LAND_COVER).content)
    assert len(set(seen)) == 4


def test_sample_warns_of_off_palette_pixels_each_time(tmp_path: Path) -> None:
    image, mask = pair(tmp_path)
    rgb(np.where(MASK == 5, 6, MASK), (*COLOURS, (0, 0, 0))).save(mask)
    sample = pair_sample(image, mask, "a", "1", LAND_COVER)
    for _ in range(2):
        with pytest.warns(OffPaletteWarning, match=r"mask\.png: \d+ pixels") as record:
            sample.read()
        assert [getattr(w.message, "path", None) for w in record] == [mask]
        assert [getattr(w.message, "count", None) for w in record] == [np.count_nonzero(MASK == 5)]


@pytest.mark.parametrize("name", ["image.jpg", "mask.png"])
@pytest.mark.parametrize("kept", [0, 3, 40, 0.5, 0.9])
def test_truncated_file_is_named(tmp_path: Path, name: str, kept: float) -> None:
    sample = pair_sample(*pair(tmp_path), "a", "1", LAND_COVER)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(UserError) as error:
        sample.read()
    assert str(error.value).startswith(f"{tmp_path / name} is damaged or no image: ")
    assert "make data" in str(error.value)


def test_sizes_that_differ_are_named(tmp_path: Path) -> None:
    image, mask = pair(tmp_path, MASK[1:])
    with pytest.raises(UserError) as error:
        pair_sample(image, mask, "a", "1", LAND_COVER).read()
    assert f"image {image} is 53×37 but its mask {mask} is 53×36 (width × height)" in str(error.value)


def test_file_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot open .*x\.jpg: No such file"):
        pair_sample(tmp_path / "x.jpg", tmp_path / "x.png", "a", "1", LAND_COVER)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The published layout, with empty files."""
    for path in read_registry():
        (tmp_path / "data" / "dubai" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / "dubai" / path).touch()
    return tmp_path / "data" / "dubai"


def test_samples_are_sorted_and_grouped_by_tile(published: Path) -> None:
    samples = dubai_samples(published)
    assert [s.image_id for s in samples] == [f"Tile {t}/image_part_{n:03}" for t in range(1, 9) for n in range(1, 10)]
    assert [s.group for s in samples] == [str(t) for t in range(1, 9) for _ in range(9)]


def test_root_is_found_up_to_two_levels_below(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (published.parent / ".dubai-download-x" / "Tile 1").mkdir(parents=True)
    (published.parent / "__MACOSX" / "Tile 1").mkdir(parents=True)
    for above in (published, published.parent, published.parent.parent):
        assert find_root(above) == published
        assert find_root(str(above)) == published
    monkeypatch.setenv("SPARSE_SEG_DATA", str(published))
    assert find_root(None) == published
    monkeypatch.delenv("SPARSE_SEG_DATA")
    monkeypatch.chdir(published.parent.parent)
    assert find_root(None).resolve() == published.resolve()


@pytest.mark.parametrize("exists", [True, False])
def test_no_data_says_where_it_looked_and_the_ways_out(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path if exists else tmp_path / "nowhere"
    with pytest.raises(UserError) as error:
        find_root(folder)
    for word in (str(folder), "Tile 1", "make data", "data.root=", "SPARSE_SEG_DATA"):
        assert word in str(error.value)
    assert ("no such folder" in str(error.value)) is not exists


def test_image_without_mask_is_named(published: Path) -> None:
    (published / "Tile 3/masks/image_part_004.png").unlink()
    with pytest.raises(UserError, match=r"images without mask \(1\): Tile 3/masks/image_part_004\.png\n"):
        dubai_samples(published)


def test_missing_files_are_counted(published: Path) -> None:
    for tile in range(6, 9):
        shutil.rmtree(published / f"Tile {tile}")
    with pytest.raises(UserError) as error:
        dubai_samples(published)
    assert "54 of 144 files are missing: Tile 6/images/image_part_001.jpg, " in str(error.value)
    assert f"python -m sparse_seg.data download --root {published}" in str(error.value)


real = pytest.mark.skipif(not os.environ.get("SPARSE_SEG_DATA"), reason="SPARSE_SEG_DATA is not set: no Dubai data")


@real
def test_dubai_files_are_the_published_ones() -> None:
    root = find_root(None)
    registry = read_registry()
    assert {path: hashlib.sha256((root / path).read_bytes()).hexdigest() for path in registry} == registry
    assert len(registry) == 145


@real
def test_dubai_masks_have_the_known_shares() -> None:
    count = np.zeros(256, np.int64)
    holding = np.zeros(256, np.int64)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        samples = dubai_samples(find_root(None))
        for sample in samples:
            in_mask = np.bincount(sample.read()[1].ravel(), minlength=256)
            count += in_mask
            holding += in_mask > 0
    off = {str(w.message.path): w.message.count for w in caught if isinstance(w.message, OffPaletteWarning)}
    black = sum(off.values())
    shares = [*count[:5], count[255] - black, black] / count.sum()
    assert len(samples) == 72
    assert round(count.sum() / 1e6, 1) == 99.0
    assert dict(zip(LAND_COVER.names, holding[:5].tolist(), strict=True)) == {
        "Water": 68,
        "Land": 72,
        "Road": 64,
        "Building": 58,
        "Vegetation": 59,
    }
    assert shares.round(3).tolist() == [0.136, 0.524, 0.094, 0.133, 0.103, 0.005, 0.006]
    assert len(off) == 9
    assert {n for path, n in off.items() if path.endswith("Tile 8/masks/image_part_003.png")} == {545_723}
