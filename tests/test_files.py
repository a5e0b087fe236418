"""Files as other programs write them, a folder each, mean what their makers meant."""

import csv
import json
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from folders import ORIGIN, PIXEL, UTM, save_tif
from labelled import NAMES, checkpoint, geotiff
from numpy.typing import NDArray
from PIL import Image
from pngs import write_png
from rasterio.warp import Resampling, reproject, transform

from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.data.folder import folder
from sparse_seg.data.sample import ImageSet
from sparse_seg.data.survey import inspect
from sparse_seg.errors import UserError
from sparse_seg.suggest import __main__ as suggest

SHAPE = (48, 64)
TRUTH = np.zeros(SHAPE, np.uint8)
TRUTH[:16], TRUTH[16:, 40:] = 1, 2
"""What each image shows, as grey: class 0, 1 or 2, no two sides alike."""
GREYS = np.array([20, 120, 220], np.uint8)
SHOWN = np.repeat(GREYS[TRUTH][..., None], 3, -1)
YAML = 'classes:\n  - {name: Ground, index: 0, colour: "#203040"}\n  - {name: Roof, index: 1, colour: "#C02020"}\n'
YAML += '  - {name: Tree, index: 2, colour: "#20C020"}\n'
COLOURS = np.array([(0x20, 0x30, 0x40), (0xC0, 0x20, 0x20), (0x20, 0xC0, 0x20)], np.uint8)
WORDS = np.array(["Ground", "Roof", "Tree"])


def pngs(root: Path, *names: str) -> list[Path]:
    paths = [root / "images" / f"{name}.png" for name in names or ("a", "b", "c")]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(SHOWN).save(path)
    (root / "masks").mkdir()
    return paths


def picks(count: int = 24) -> list[tuple[int, int]]:
    """Pixels (row, column) of all classes."""
    chosen = np.random.default_rng(0).permutation(TRUTH.size)[:count]
    return [(int(k) // SHAPE[1], int(k) % SHAPE[1]) for k in chosen]


def void_of_a_palette_beside_points(root: Path) -> ImageSet:
    for path in pngs(root)[:2]:
        index = TRUTH.copy()
        index[20:24] = 255
        mask = Image.fromarray(index)
        mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, *[0] * 3 * 252, 224, 224, 192])
        mask.save(root / "masks" / path.name)
    lines = [f"c,{row},{col},{TRUTH[row, col]}" for row, col in picks()]
    (root / "points.csv").write_text("\n".join(["image,row,col,class", *lines]))
    list(inspect(root))
    return folder(root)


def image_from_the_south_and_mask_in_another_crs(root: Path) -> ImageSet:
    south = Affine(PIXEL, 0, ORIGIN[0], 0, PIXEL, ORIGIN[1] - PIXEL * SHAPE[0])
    save_tif(root / "images" / "a.tif", SHOWN[::-1].transpose(2, 0, 1), transform=south)
    (west,), (north,) = transform(UTM, "EPSG:32639", [ORIGIN[0] - 10], [ORIGIN[1] + 40])
    fine = Affine(PIXEL / 4, 0, west - 40, 0, -PIXEL / 4, north + 40)
    mask = np.full((800, 1000), 255, np.uint8)
    there = {"src_transform": Affine(PIXEL, 0, ORIGIN[0], 0, -PIXEL, ORIGIN[1]), "src_crs": UTM, "src_nodata": 255}
    reproject(TRUTH, mask, dst_transform=fine, dst_crs="EPSG:32639", resampling=Resampling.nearest, **there)
    save_tif(root / "masks" / "a.tif", mask[None], crs="EPSG:32639", transform=fine)
    (root / "classes.yaml").write_text(YAML)
    return folder(root)


def pixels_of_a_centimetre(root: Path) -> ImageSet:
    place = Affine(0.01, 0, ORIGIN[0], 0, -0.01, ORIGIN[1])
    save_tif(root / "images" / "a.tif", SHOWN.transpose(2, 0, 1), transform=place)
    features = []
    for row, col in picks():
        (lon,), (lat,) = transform(UTM, "EPSG:4326", *([v] for v in place @ (col + 0.5, row + 0.5)))
        geometry = {"type": "Point", "coordinates": [lon, lat]}
        features.append({"type": "Feature", "properties": {"class": WORDS[TRUTH[row, col]]}, "geometry": geometry})
    (root / "points.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    (root / "classes.yaml").write_text(YAML)
    return folder(root)


def geojson_of_pixels_on_a_turned_jpeg(root: Path) -> ImageSet:
    (root / "images").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 8
    stored = Image.fromarray(SHOWN).transpose(Image.Transpose.ROTATE_270)
    stored.save(root / "images" / "a.jpg", exif=exif, quality=95)
    features = [
        {
            "type": "Feature",
            "properties": {"image": "a.jpg", "class": WORDS[TRUTH[row, col]]},
            "geometry": {"type": "Point", "coordinates": [col + 0.25, row + 0.75]},
        }
        for row, col in picks()
    ]
    (root / "points.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    (root / "classes.yaml").write_text(YAML)
    return folder(root, points_crs="pixel")


def table_with_empty_rows_and_columns(root: Path) -> ImageSet:
    """As a spreadsheet exports a whole sheet."""
    pngs(root)
    lines = [f"a.png,{col}.5,{row}.5,{WORDS[TRUTH[row, col]]},,," for row, col in picks()]
    (root / "points.csv").write_text("\r\n".join(["image,x,y,class,,,", *lines, *[",,,,,,"] * 5, ""]))
    (root / "classes.yaml").write_text(YAML)
    return folder(root)


def numbers_of_16_bits(root: Path) -> ImageSet:
    for path in pngs(root):
        index = TRUTH.astype(np.uint16)[..., None]
        index[0, 0] = 300  # not 44, its lower 8 bits, nor 1, its upper
        write_png(root / "masks" / path.name, index)
    (root / "classes.yaml").write_text(YAML)
    return folder(root)


def numbers_with_alpha(root: Path) -> ImageSet:
    for path in pngs(root):
        clear = np.full(SHAPE, 255, np.uint8)
        clear[:, :8] = 0
        Image.fromarray(np.stack([TRUTH, clear], -1), "LA").save(root / "masks" / path.name)
    list(inspect(root))
    return folder(root)


def masks_half_jpeg_half_png(root: Path) -> ImageSet:
    for path, suffix in zip(pngs(root), (".png", ".jpg", ".png"), strict=True):
        Image.fromarray(COLOURS[TRUTH]).save(root / "masks" / f"{path.stem}{suffix}", quality=92)
    (root / "classes.yaml").write_text(YAML)
    return folder(root)


def indices_as_floats(root: Path) -> ImageSet:
    for path in pngs(root):
        Image.fromarray(TRUTH).save(root / "masks" / path.name)
    (root / "classes.yaml").write_text(YAML.replace("index: 1", 'index: "1.0"').replace("index: 2", "index: 2.0"))
    return folder(root)


def masks_from_qgis(root: Path) -> ImageSet:
    save_tif(root / "images" / "a.tif", SHOWN.transpose(2, 0, 1))
    save_tif(root / "masks" / "a.tif", np.where(TRUTH == 0, np.float32(-9999), TRUTH)[None], nodata=-9999)
    list(inspect(root))
    return folder(root)


CASES = [
    (void_of_a_palette_beside_points, 2 * 44 * 64 + 24),
    (image_from_the_south_and_mask_in_another_crs, 48 * 64),
    (pixels_of_a_centimetre, 24),
    (geojson_of_pixels_on_a_turned_jpeg, 24),
    (table_with_empty_rows_and_columns, 24),
    (numbers_of_16_bits, 3 * (48 * 64 - 1)),
    (numbers_with_alpha, 3 * 48 * 56),
    (masks_half_jpeg_half_png, 3 * 48 * 64),
    (indices_as_floats, 3 * 48 * 64),
    (masks_from_qgis, int((TRUTH > 0).sum())),
]


@pytest.mark.parametrize(("case", "labelled"), [pytest.param(*case, id=case[0].__name__) for case in CASES])
def test_every_labelled_pixel_has_the_class_that_the_image_shows(
    tmp_path: Path, case: Callable[[Path], ImageSet], labelled: int
) -> None:
    images = case(tmp_path / "own")
    count = 0
    for sample in images.samples:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the product's, of what is left out
            image, mask = sample.read()
        known = mask != 255
        meant = np.abs(image[..., :1].astype(int) - GREYS).argmin(-1)
        first = images.classes.indices or range(len(images.classes))
        np.testing.assert_array_equal(np.array(first)[mask[known]], meant[known])
        count += int(known.sum())
    assert abs(count - labelled) <= labelled // 100  # an edge in another CRS, or of a JPEG


def test_sub_folders_written_on_a_mac_are_held_out_by_their_names(tmp_path: Path) -> None:
    names = [f"{unicodedata.normalize('NFD', tile)}/{k}" for tile in ("Süd", "Nörd", "Öst") for k in (1, 2)]
    for path in pngs(tmp_path, *names):
        mask = tmp_path / "masks" / unicodedata.normalize("NFC", path.parent.name) / path.name
        mask.parent.mkdir(exist_ok=True)
        Image.fromarray(TRUTH).save(mask)
    (tmp_path / "classes.yaml").write_text(YAML)
    for form in ("NFC", "NFD"):
        held_out = [unicodedata.normalize(form, "Süd")]
        data = SparsePointsDataModule(
            folder(tmp_path), points=5, split="tile", val_tiles=held_out, size=32, cache_dir=tmp_path / "cache"
        )
        data.setup()
        assert [len(data.val_indices), len(data.train_indices)] == [2, 4]


def test_percent_of_small_images_are_no_pixels_whatever_is_skipped(tmp_path: Path) -> None:
    pngs(tmp_path)
    lines = [f"a,{100 * (c + 0.3) / 64:.3f},{100 * (r + 0.3) / 48:.3f},{WORDS[TRUTH[r, c]]}" for r, c in picks()]
    (tmp_path / "points.csv").write_text("\n".join(["image,x,y,class", *lines]))
    (tmp_path / "classes.yaml").write_text(YAML)
    for on_bad_point in ("error", "skip"):
        with pytest.raises(UserError, match="percent of the image"):
            folder(tmp_path, on_bad_point=on_bad_point)


def test_a_first_class_that_is_also_no_data_is_told_and_can_be_had_back(tmp_path: Path) -> None:
    save_tif(tmp_path / "images" / "a.tif", SHOWN.transpose(2, 0, 1))
    save_tif(tmp_path / "masks" / "a.tif", TRUTH[None], nodata=0)
    said = "\n".join(inspect(tmp_path))
    hidden = int((TRUTH == 0).sum())
    assert f"{hidden:,} pixels hold 0, the nodata value of their masks" in said
    (tmp_path / "classes.yaml").write_text(f"{YAML}ignore: 255\n")
    assert int((folder(tmp_path).samples[0].read()[1] == 0).sum()) == hidden
    assert "nodata value" not in "\n".join(inspect(tmp_path))


def test_the_colours_of_jpeg_masks_are_named_and_no_classes_made_of_their_edges(tmp_path: Path) -> None:
    for path in pngs(tmp_path):
        Image.fromarray(COLOURS[TRUTH]).save(tmp_path / "masks" / f"{path.stem}.jpg", quality=92)
    with pytest.raises(UserError, match=r"most pixels are like #\w{6} \(42%\), #\w{6} \(33%\), #\w{6} \(25%\)\n"):
        list(inspect(tmp_path))
    assert not (tmp_path / "classes.yaml").exists()
    (tmp_path / "classes.yaml").write_text(YAML)
    off = [line for line in inspect(tmp_path) if line.startswith("off")]
    assert all(line.endswith("count as unlabelled: between the classes") for line in off)
    assert off


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("network") / "best.ckpt")


def test_suggestions_are_answered_by_masks_from_the_south_and_read_back(tmp_path: Path, network: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    rng = np.random.default_rng(0)
    index: dict[str, NDArray[np.uint8]] = {}
    for name in ("a.tif", "b.tif"):
        index[name] = np.kron(rng.integers(0, 3, (8, 8), np.uint8), np.ones((8, 8), np.uint8))
        geotiff(tmp_path / "images" / name, (rng.integers(0, 60, (3, 64, 64)) + 60 * index[name]).astype(np.uint8))
        with rasterio.open(tmp_path / "images" / name) as image:
            t = image.transform
        south = (t.a, 0, t.c, 0, -t.e, t.f + 64 * t.e)
        geotiff(tmp_path / "masks" / name, index[name][::-1][None], transform=south)
    words = [network, tmp_path / "images", "--n", 20, "--masks", tmp_path / "masks", "--out", tmp_path / "next"]
    assert suggest.main([*map(str, words), "--device", "cpu", "--precision", "32"]) == 0
    with (tmp_path / "next" / "suggest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["class"] for r in rows] == [NAMES[index[r["image"]][int(r["row"]), int(r["col"])]] for r in rows]
    yaml = ", ".join(f"{{name: {name}, index: {k}}}" for k, name in enumerate(NAMES))
    (tmp_path / "classes.yaml").write_text(f"classes: [{yaml}]\n")
    for table in ("suggest.csv", "suggest.geojson"):
        images = folder(tmp_path, masks=None, points_file=str(tmp_path / "next" / table))
        got = {(s.image_id, *p[:3]) for s in images.samples if s.points is not None for p in s.points.tolist()}
        assert got == {(r["image"][0], int(r["row"]), int(r["col"]), NAMES.index(r["class"])) for r in rows}
