"""What `predict --masks` takes for a mask: colours, numbers, class maps, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from folders import save_tif
from PIL import Image

from sparse_seg.classes import Classes
from sparse_seg.data.sample import ImageSet
from sparse_seg.networks.build import create
from sparse_seg.networks.trained import described, load_trained
from sparse_seg.predict import __main__ as predict
from sparse_seg.predict.scoring import mask_code

RNG = np.random.default_rng(0)
COLOURS = ((0, 0, 255), (0, 255, 0), (255, 0, 0))
CONFIG = {"_target_": "sparse_seg.networks.create", "encoder": "resnet18", "encoder_weights": None}
SHAPE = (64, 96)


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    network = create("unet", "resnet18", None, classes=3)
    torch.nn.init.normal_(network.network.segmentation_head[0].weight)
    return network.state_dict()


def checkpoint(
    path: Path, weights: dict[str, torch.Tensor], colours=COLOURS, indices=None, blank=(), old=False
) -> Path:
    images = ImageSet(Classes(("Water", "Land", "Road"), colours, indices=indices, blank=blank), [])
    model = described(CONFIG, images, 64)
    if old:
        del model["indices"], model["blank"]
    torch.save({"state_dict": weights, "model": model, "epoch": 1}, path)
    return path


def label(*words: object) -> int:
    return predict.main([*map(str, words), "--device", "cpu", "--precision", "32"])


def save(path: Path, index: np.ndarray, values: np.ndarray, kind: str) -> None:
    """index: (H, W) class, 3 = unlabelled. values: the number of each class in order, then of unlabelled."""
    path.parent.mkdir(exist_ok=True)
    numbers = values[index]
    coloured = np.array([*COLOURS, (0x9B, 0x9B, 0x9B)], np.uint8)[index]
    if kind in ("uint8", "int16", "int32"):
        save_tif(path, numbers[None].astype(kind))
    elif kind == "colours":
        save_tif(path, coloured.transpose(2, 0, 1))
    elif kind == "RGB":
        Image.fromarray(coloured).save(path)
    elif kind == "P":
        picture = Image.fromarray(index.astype(np.uint8))
        picture.putpalette([v for c in (*COLOURS, (0x9B, 0x9B, 0x9B)) for v in c])
        picture.save(path)
    else:
        Image.fromarray(numbers.astype({"L": np.uint8, "I;16": np.uint16}[kind])).save(path)


@pytest.mark.parametrize("old", [True, False], ids=["older checkpoint", "indices"])
@pytest.mark.parametrize("kind", ["L", "I;16", "P", "RGB", "uint8", "int16", "int32", "colours"])
def test_masks_of_colours_and_of_numbers_give_the_same_scores(tmp_path, weights, kind, old):
    indices, blank = ((0, 1, 2), 255) if old else ((10, 0, 7), 99)
    network = checkpoint(tmp_path / "a.ckpt", weights, indices=None if old else indices, blank=(blank,), old=old)
    truth = RNG.choice(4, SHAPE)
    Image.fromarray(RNG.integers(0, 256, (*SHAPE, 3)).astype(np.uint8)).save(tmp_path / "a.png")
    suffix = ".png" if kind in ("L", "I;16", "P", "RGB") else ".tif"
    save(tmp_path / "masks" / f"a{suffix}", truth, np.array([*indices, blank]), kind)
    assert label(network, tmp_path / "a.png", "--out", tmp_path / "out", "--masks", tmp_path / "masks") == 0
    with Image.open(tmp_path / "out" / "a.png") as file:
        said = np.asarray(file)
    expected = np.zeros((3, 3), int)
    np.add.at(expected, (truth[truth < 3], said[truth < 3]), 1)
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["confusion_matrix"] == expected.tolist()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("indices", [None, (10, 0, 7)])
def test_class_maps_are_masks_also_where_most_is_unlabelled(tmp_path, weights, suffix, indices):
    network = checkpoint(tmp_path / "a.ckpt", weights, indices=indices)
    pixels = RNG.integers(1, 256, (*SHAPE, 3)).astype(np.uint8)
    pixels[10:] = 0
    if suffix == ".png":
        alpha = np.where(np.arange(SHAPE[0]) < 10, 255, 0).astype(np.uint8)[:, None].repeat(SHAPE[1], 1)
        Image.fromarray(np.dstack([pixels, alpha])).save(tmp_path / "a.png")
    else:
        save_tif(tmp_path / "a.tif", pixels.transpose(2, 0, 1), nodata=0)
    image = tmp_path / f"a{suffix}"
    assert label(network, image, "--out", tmp_path / "first") == 0
    assert label(network, image, "--out", tmp_path / "out", "--masks", tmp_path / "first") == 0
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert scores["miou"] == scores["accuracy"] == 1
    assert sum(map(sum, scores["confusion_matrix"])) == 10 * SHAPE[1]


@pytest.mark.parametrize(
    ("kind", "side", "message"),
    [
        ("L", 64, "mostly 40 (100%)\nthe classes are Water 0, Land 1, Road 2: is this a mask"),
        ("uint8", 64, "mostly 40 (100%)\nthe classes are Water 0, Land 1, Road 2: is this a mask"),
        ("uint8", 200, "mostly 40 (100%)\nthe classes are Water 0, Land 1, Road 2: is this a mask"),
        ("colours", 200, "mostly #28282C (100%)\nthe classes are Water #0000FF, Land #00FF00, Road #FF0000: is this"),
        ("colours", 64, "mostly #28282C (100%)\nthe classes are Water #0000FF, Land #00FF00, Road #FF0000: is this"),
    ],
)
def test_a_mask_of_other_numbers_or_colours_is_an_error(tmp_path, weights, capsys, kind, side, message):
    network = checkpoint(tmp_path / "a.ckpt", weights)
    Image.fromarray(RNG.integers(0, 256, (side, side, 3)).astype(np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "masks").mkdir()
    foreign = np.full((side, side), 40, np.uint8)
    if kind == "L":
        Image.fromarray(foreign).save(tmp_path / "masks" / "a.png")
    else:
        save_tif(
            tmp_path / "masks" / "a.tif", np.stack([foreign, foreign, foreign + 4][: 3 if kind == "colours" else 1])
        )
    assert label(network, tmp_path / "a.png", "--out", tmp_path / "out", "--masks", tmp_path / "masks") == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "100% of the pixels hold the value of no class, " + message in said
    assert said.count("\n") <= 2
    assert not (tmp_path / "out" / "a.png").exists()


def test_a_single_band_shows_colours_where_a_class_is_grey(tmp_path, weights):
    grey = ((0, 0, 0), (255, 255, 255), (255, 0, 0))
    network = checkpoint(tmp_path / "a.ckpt", weights, colours=grey)
    assert mask_code(load_trained(network).classes).indices is None
    truth = RNG.choice(2, SHAPE)
    Image.fromarray(RNG.integers(0, 256, (*SHAPE, 3)).astype(np.uint8)).save(tmp_path / "a.png")
    save(tmp_path / "masks" / "a.png", truth, np.array([0, 255]), "L")
    assert label(network, tmp_path / "a.png", "--out", tmp_path / "out", "--masks", tmp_path / "masks") == 0
    matrix = json.loads((tmp_path / "out" / "scores.json").read_text())["confusion_matrix"]
    assert [sum(row) for row in matrix] == [*np.bincount(truth.ravel()).tolist(), 0]


def test_the_grey_of_class_maps_is_no_class_unless_a_class_has_it():
    plain = Classes(("A",), ((1, 2, 3),), (), (4,), (9,))
    assert mask_code(plain) == Classes(("A",), ((1, 2, 3),), ((160, 160, 160),), (4,), (9,))
    grey = Classes(("A",), ((160, 160, 160),))
    assert mask_code(grey) == grey


def test_nodata_of_a_coloured_geotiff_is_a_value_in_all_bands(tmp_path, weights):
    network = checkpoint(tmp_path / "a.ckpt", weights)
    Image.fromarray(RNG.integers(0, 256, (*SHAPE, 3)).astype(np.uint8)).save(tmp_path / "a.png")
    truth = RNG.choice(3, SHAPE)
    coloured = np.array(COLOURS, np.uint8)[truth]
    coloured[:8] = 0
    (tmp_path / "masks").mkdir()
    save_tif(tmp_path / "masks" / "a.tif", coloured.transpose(2, 0, 1), nodata=0)
    assert label(network, tmp_path / "a.png", "--out", tmp_path / "out", "--masks", tmp_path / "masks") == 0
    matrix = json.loads((tmp_path / "out" / "scores.json").read_text())["confusion_matrix"]
    assert [sum(row) for row in matrix] == np.bincount(truth[8:].ravel()).tolist()


def test_a_checkpoint_with_other_than_one_index_per_class_is_refused(tmp_path, weights, capsys):
    network = checkpoint(tmp_path / "a.ckpt", weights)
    content = torch.load(network, weights_only=True)
    content["model"]["indices"] = [0, 1]
    torch.save(content, network)
    Image.fromarray(np.zeros((*SHAPE, 3), np.uint8)).save(tmp_path / "a.png")
    assert label(network, tmp_path / "a.png", "--out", tmp_path / "out") == 1
    assert "3 classes but 2 indices" in capsys.readouterr().err


def test_the_same_map_written_from_the_south_scores_one(tmp_path, weights):
    """As xarray writes rasters: rows from south to north, and a transform that says so."""
    network = checkpoint(tmp_path / "a.ckpt", weights)
    save_tif(tmp_path / "a.tif", RNG.integers(0, 256, (3, *SHAPE)).astype(np.uint8))
    assert label(network, tmp_path / "a.tif", "--out", tmp_path / "maps") == 0
    with rasterio.open(tmp_path / "maps" / "a.tif") as file:
        values, t = file.read(), file.transform
    south = Affine(t.a, 0, t.c, 0, -t.e, t.f + t.e * SHAPE[0])
    save_tif(tmp_path / "south" / "a.tif", values[:, ::-1], transform=south, nodata=255)
    assert label(network, tmp_path / "a.tif", "--out", tmp_path / "out", "--masks", tmp_path / "south") == 0
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert (scores["miou"], scores["accuracy"], np.sum(scores["confusion_matrix"])) == (1, 1, np.prod(SHAPE))


def test_a_mask_of_half_the_image_scores_that_half(tmp_path, weights):
    network = checkpoint(tmp_path / "a.ckpt", weights)
    save_tif(tmp_path / "a.tif", RNG.integers(0, 256, (3, *SHAPE)).astype(np.uint8))
    assert label(network, tmp_path / "a.tif", "--out", tmp_path / "maps") == 0
    with rasterio.open(tmp_path / "maps" / "a.tif") as file:
        values, t = file.read(), file.transform
    right = Affine(t.a, 0, t.c + 48 * t.a, 0, t.e, t.f)
    save_tif(tmp_path / "half" / "a.tif", values[:, :, 48:], transform=right)
    assert label(network, tmp_path / "a.tif", "--out", tmp_path / "out", "--masks", tmp_path / "half") == 0
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert (scores["accuracy"], np.sum(scores["confusion_matrix"])) == (1, SHAPE[0] * 48)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_a_palette_in_any_order_is_read_by_its_colours(tmp_path, weights, order):
    network = checkpoint(tmp_path / "a.ckpt", weights)
    Image.fromarray(RNG.integers(0, 256, (*SHAPE, 3)).astype(np.uint8)).save(tmp_path / "a.png")
    truth = RNG.choice(3, SHAPE)
    picture = Image.fromarray(np.argsort(order).astype(np.uint8)[truth])
    picture.putpalette([v for k in order for v in COLOURS[k]])
    (tmp_path / "masks").mkdir()
    picture.save(tmp_path / "masks" / "a.png")
    assert label(network, tmp_path / "a.png", "--out", tmp_path / "out", "--masks", tmp_path / "masks") == 0
    matrix = json.loads((tmp_path / "out" / "scores.json").read_text())["confusion_matrix"]
    assert [sum(row) for row in matrix] == np.bincount(truth.ravel()).tolist()


@pytest.mark.parametrize("indices", [(1, 2, 0), (1, 2, 3)])
def test_maps_of_classes_with_other_indices_are_masks_too(tmp_path, weights, indices):
    network = checkpoint(tmp_path / "a.ckpt", weights, indices=indices)
    Image.fromarray(RNG.integers(0, 256, (*SHAPE, 3)).astype(np.uint8)).save(tmp_path / "a.png")
    assert label(network, tmp_path / "a.png", "--out", tmp_path / "maps") == 0
    assert label(network, tmp_path / "a.png", "--out", tmp_path / "out", "--masks", tmp_path / "maps") == 0
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["accuracy"] == 1


def test_a_mask_may_be_a_jpeg(tmp_path, weights):
    network = checkpoint(tmp_path / "a.ckpt", weights)
    Image.fromarray(RNG.integers(0, 256, (*SHAPE, 3)).astype(np.uint8)).save(tmp_path / "a.png")
    truth = np.repeat([0, 1, 2], 32)[None].repeat(SHAPE[0], 0)
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.array(COLOURS, np.uint8)[truth]).save(tmp_path / "masks" / "a.jpg")
    assert label(network, tmp_path / "a.png", "--out", tmp_path / "out", "--masks", tmp_path / "masks") == 0
    matrix = json.loads((tmp_path / "out" / "scores.json").read_text())["confusion_matrix"]
    np.testing.assert_allclose([sum(row) for row in matrix], np.bincount(truth.ravel()), rtol=0.1)
