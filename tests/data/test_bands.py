"""Images of any number of bands, from the files to the class map."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from cli import SMALL, trained
from folders import index_map, save_mask, save_tif
from PIL import Image

from sparse_seg.data.cache import prepare
from sparse_seg.data.folder import folder
from sparse_seg.networks.build import create
from sparse_seg.networks.trained import load_trained
from sparse_seg.predict import __main__ as predict
from sparse_seg.training.panels import rgb_of

WORDS = (*SMALL, "data=folder", "data.root=own", "logger=none", "points=20")


def scene(index: np.ndarray, bands: int = 4, seed: int = 0) -> np.ndarray:
    """(bands, H, W) uint8 of noise: Road differs from the others in the first band, Land from Water in the last one."""
    pixels = np.random.default_rng(seed).integers(60, 120, (bands, *index.shape))
    pixels[0, index == 2] += 100
    pixels[-1, index == 1] += 100
    return pixels.astype(np.uint8)


def make(root: Path, bands: int = 4, images: int = 6) -> Path:
    for k in range(images):
        save_tif(root / "images" / f"{k}.tif", scene(index_map(k), bands, k))
        save_mask(root / "masks" / f"{k}.png", index_map(k) + 5, "L")
    names = ", ".join(f"{{name: {n}, index: {k + 5}}}" for k, n in enumerate(("Water", "Land", "Road")))
    (root / "classes.yaml").write_text(f"classes: [{names}]")
    return root


def opened(path: Path) -> np.ndarray:
    with Image.open(path) as file:
        return np.asarray(file)


def label(run: Path, *words: object) -> int:
    return predict.main([*map(str, (run, *words)), "--device", "cpu", "--precision", "32"])


def network(path: Path, bands: list[int], classes: int = 3) -> Path:
    """A checkpoint of noise."""
    torch.manual_seed(0)
    state = create("unet", "resnet18", None, classes=classes, in_channels=len(bands)).state_dict()
    colours = [[0, 0, 255], [0, 255, 0], [255, 0, 0]]
    config = {"_target_": "sparse_seg.networks.create", "encoder": "resnet18", "encoder_weights": "imagenet"}
    model = {"config": config, "classes": ["A", "B", "C"], "colours": colours, "size": 64, "bands": bands}
    torch.save({"state_dict": state, "model": model, "epoch": 1}, path)
    return path


@pytest.mark.parametrize("bands", [[1, 2, 3, 4], [4, 3], [13, 1, 5, 2, 12, 3, 4, 6, 7, 8, 9, 10, 11]])
def test_an_image_has_the_bands_that_are_named(tmp_path: Path, bands: list[int]) -> None:
    images = folder(make(tmp_path / "own", max(bands)), bands=bands)
    assert images.channels == len(bands)
    assert f"{len(bands)} bands: pictures show the first" in images.notes[-1]
    expected = scene(index_map(0), max(bands), 0)[np.array(bands) - 1].transpose(1, 2, 0)
    image, mask = images.samples[0].read()
    np.testing.assert_array_equal(image, expected)
    np.testing.assert_array_equal(mask, index_map(0))
    arrays = prepare(images.samples, 32, tmp_path / "cache")
    assert arrays.images.shape == (6, 32, 32, len(bands))
    windows = folder(tmp_path / "own", bands=bands, tile=32).samples
    np.testing.assert_array_equal(windows[1].read()[0][:, :16], expected[:32, 32:])
    assert windows[1].read()[0].shape == (32, 32, len(bands))


def test_a_single_band_is_given_three_times_and_no_note(tmp_path: Path) -> None:
    images = folder(make(tmp_path / "own"), bands=[4])
    assert (images.bands, images.channels, images.notes) == ((4, 4, 4), 3, ())


@pytest.mark.parametrize("bands", ["[1,2,3,4]", "[4,1]"])
def test_a_run_with_other_bands_from_end_to_end(tmp_path: Path, bands: str, capsys: pytest.CaptureFixture[str]) -> None:
    root, count = make(tmp_path / "own"), len(json.loads(bands))
    run, _ = trained(*WORDS, f"data.bands={bands}", cwd=tmp_path)
    assert f"{count} bands: pictures show the first" in (run / "log.txt").read_text()
    (listed,) = json.loads((run / "panels" / "index.json").read_text())["images"]
    shown = opened(run / "panels" / listed["folder"] / "image.png")
    kept = prepare(folder(root, bands=json.loads(bands)).samples, 32, tmp_path / "cache").images[int(listed["id"])]
    np.testing.assert_array_equal(shown, rgb_of(kept))
    network = load_trained(run / "checkpoints" / "best.ckpt").network
    water, land = torch.rand(2, 1, count, 32, 32)
    land[:, : count - 1] = water[:, : count - 1]
    assert network(water).shape == (1, 3, 32, 32)
    assert not torch.equal(network(water), network(land))
    image = root / "images" / "0.tif"
    words = ("--overlay", "--window", 32, "--masks", root / "masks")
    assert label(run, image, "--out", tmp_path / "out", *words) == 0
    matrix = json.loads((tmp_path / "out" / "scores.json").read_text())["confusion_matrix"]
    assert [sum(row) for row in matrix] == np.bincount(index_map(0).ravel()).tolist()
    assert opened(tmp_path / "out" / "0.overlay.png").shape == (40, 48, 3)
    capsys.readouterr()
    save_tif(tmp_path / "rgb.tif", scene(index_map(0))[:3])
    Image.fromarray(np.zeros((40, 48, 3), np.uint8)).save(tmp_path / "plain.png")
    for name in ("rgb.tif", "plain.png"):
        assert label(run, tmp_path / name, "--out", tmp_path / "out") == 1
        said = capsys.readouterr().err
        assert f"{tmp_path / name} has no band 4, only 1, 2, 3, but the network was trained on bands" in said


@pytest.mark.parametrize("bands", [[1, 2, 3, 4], [2, 1], list(range(13, 0, -1))])
def test_a_class_map_of_many_bands_is_what_the_network_says_of_them(tmp_path: Path, bands: list[int]) -> None:
    path = network(tmp_path / "best.ckpt", bands)
    pixels = np.random.default_rng(0).integers(0, 256, (max(bands), 64, 64)).astype(np.uint8)
    save_tif(tmp_path / "a.tif", pixels)
    assert label(path, tmp_path / "a.tif", "--out", tmp_path / "out") == 0
    chosen = torch.from_numpy(pixels[np.array(bands) - 1].copy())[None].float() / 255
    with torch.inference_mode():
        expected = load_trained(path).network(chosen).argmax(1)[0].numpy()
    with rasterio.open(tmp_path / "out" / "a.tif") as written:
        assert (written.read(1) == expected).mean() > 0.99
