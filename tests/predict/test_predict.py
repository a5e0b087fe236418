"""Class maps of whole images: what the network says, where the image lies, and a message for what cannot be."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import cli
import numpy as np
import pytest
import torch
from labelled import COLOURS, NAMES, RNG, UTM, checkpoint, geotiff, picture
from PIL import Image
from sklearn.metrics import jaccard_score

from sparse_seg.errors import UserError
from sparse_seg.networks.found import find_checkpoint
from sparse_seg.networks.trained import load_trained
from sparse_seg.predict import __main__ as predict


@pytest.fixture(autouse=True)
def _the_same_pictures_whatever_ran_before() -> None:
    RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("network") / "best.ckpt")


def run(*words: object) -> int:
    return predict.main([*map(str, words), "--device", "cpu", "--precision", "32"])


def said_of(network: Path, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The network's word on a whole image: class index and probability."""
    with torch.inference_mode():
        batch = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        probability, index = load_trained(network).network(batch)[0].softmax(0).max(0)
    return index.numpy(), probability.numpy()


def test_a_class_map_is_what_the_network_says_in_the_classes_colours(tmp_path, network):
    image = picture(tmp_path / "a.PNG")
    assert run(network, image, "--out", tmp_path / "out", "--confidence", "--overlay") == 0
    pixels = np.array(Image.open(image))
    index, probability = said_of(network, pixels)
    assert len(np.unique(index)) > 1
    with Image.open(tmp_path / "out" / "a.png") as written:
        assert written.mode == "P"
        np.testing.assert_array_equal(np.asarray(written), index)
        np.testing.assert_array_equal(np.asarray(written.convert("RGB")), np.array(COLOURS)[index])
    percent = np.asarray(Image.open(tmp_path / "out" / "a.confidence.png"))
    assert np.abs(percent - 100 * probability).max() < 0.51
    overlay = np.asarray(Image.open(tmp_path / "out" / "a.overlay.png"))
    np.testing.assert_array_equal(overlay, (pixels.astype(int) + np.array(COLOURS)[index]) // 2)
    names = {"a.png", "a.confidence.png", "a.overlay.png", "areas.csv"}
    assert {p.name for p in (tmp_path / "out").iterdir()} == names


def test_a_geotiff_keeps_its_place_and_is_cloud_optimised(tmp_path, network):
    rasterio = pytest.importorskip("rasterio")
    pixels = RNG.integers(1, 256, (3, 600, 1100)).astype(np.uint8)
    pixels[:, 100:170, 200:300] = 0
    image = geotiff(tmp_path / "a.TIF", pixels, nodata=0)
    words = ("--window", 256, "--overlap", 32, "--confidence", "--overlay")
    assert run(network, image, "--out", tmp_path / "out", *words) == 0
    with rasterio.open(tmp_path / "out" / "a.tif") as written:
        assert written.crs.to_epsg() == 32640
        assert written.transform == rasterio.Affine(*UTM["transform"])
        assert (written.height, written.width, written.dtypes, written.nodata) == (600, 1100, ("uint8",), 255)
        assert [written.colormap(1)[k][:3] for k in range(3)] == [tuple(c) for c in COLOURS]
        assert written.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert written.profile["tiled"]
        assert written.compression.name == "deflate"
        assert written.overviews(1)
        index = written.read(1)
    hole = np.zeros((600, 1100), bool)
    hole[100:170, 200:300] = True
    np.testing.assert_array_equal(index == 255, hole)
    with rasterio.open(tmp_path / "out" / "a.confidence.tif") as written:
        percent = written.read(1)
        assert written.nodata == 255
        assert written.crs.to_epsg() == 32640
    np.testing.assert_array_equal(percent == 255, hole)
    assert percent[~hole].min() >= 33
    assert percent[~hole].max() <= 100


def test_the_overlay_of_a_large_image_has_every_nth_pixel(tmp_path, network, monkeypatch):
    monkeypatch.setattr("sparse_seg.raster.write.OVERLAY_SIDE", 70)
    pixels = RNG.integers(1, 256, (3, 200, 300)).astype(np.uint8)
    image = geotiff(tmp_path / "a.tif", pixels)
    assert run(network, image, "--out", tmp_path / "out", "--overlay") == 0
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(tmp_path / "out" / "a.tif") as written:
        index = written.read(1)[::5, ::5]
    expected = (pixels[:, ::5, ::5].transpose(1, 2, 0).astype(int) + np.array(COLOURS)[index]) // 2
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "a.overlay.png")), expected)


def test_areas_are_pixels_shares_and_square_metres_where_the_crs_has_metres(tmp_path, network):
    pytest.importorskip("rasterio")
    pixels = RNG.integers(1, 256, (3, 70, 90)).astype(np.uint8)
    pixels[:, :10] = 0
    geotiff(tmp_path / "utm.tif", pixels, nodata=0)
    geotiff(tmp_path / "degrees.tif", pixels, crs="EPSG:4326", transform=(1e-5, 0, 55, 0, -1e-5, 25))
    geotiff(tmp_path / "mercator.tif", pixels, crs="EPSG:3857")
    geotiff(tmp_path / "sphere.tif", pixels, crs="+proj=merc +a=6378137 +b=6378137 +units=m")
    geotiff(tmp_path / "feet.tif", pixels, crs="EPSG:2263")
    picture(tmp_path / "plain.jpg")
    assert run(network, tmp_path, "--out", tmp_path / "out") == 0
    with (tmp_path / "out" / "areas.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = {"utm.tif", "degrees.tif", "mercator.tif", "sphere.tif", "feet.tif", "plain.jpg"}
    assert {r["image"] for r in rows} == names
    foot = 0.3048006096
    for r in rows:
        area = {"utm.tif": 0.25, "feet.tif": 0.25 * foot**2}.get(r["image"])
        assert r["m2"] == ("" if area is None else f"{int(r['pixels']) * area:.6g}")
    utm = {r["class"]: r for r in rows if r["image"] == "utm.tif"}
    assert list(utm) == [*NAMES, "unlabelled"]
    assert utm["unlabelled"]["pixels"] == "900"
    assert utm["unlabelled"]["share"] == ""
    assert sum(int(utm[n]["pixels"]) for n in NAMES) == 5400
    assert sum(float(utm[n]["share"]) for n in NAMES) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_scores_are_those_of_the_written_maps(tmp_path, network, capsys, suffix):
    images, truths, maps = [], [], []
    for name in ("a", "b"):
        pixels = RNG.integers(0, 256, (64, 100, 3)).astype(np.uint8)
        truth = RNG.choice(np.array([0, 1, 2, 3]), (64, 100))  # 3: grey, not labelled
        coloured = np.array([*COLOURS, [155, 155, 155]], np.uint8)[truth]
        (tmp_path / "masks").mkdir(exist_ok=True)
        if suffix == ".png":
            Image.fromarray(pixels).save(tmp_path / f"{name}.png")
            Image.fromarray(coloured).save(tmp_path / "masks" / f"{name}.png")
        else:
            geotiff(tmp_path / f"{name}.tif", pixels.transpose(2, 0, 1))
            geotiff(tmp_path / "masks" / f"{name}.tif", coloured.transpose(2, 0, 1))
        images.append(tmp_path / f"{name}{suffix}")
        truths.append(truth)
    assert run(network, *images, "--out", tmp_path / "out", "--masks", tmp_path / "masks") == 0
    for name in ("a", "b"):
        if suffix == ".png":
            maps.append(np.asarray(Image.open(tmp_path / "out" / f"{name}.png")))
        else:
            with pytest.importorskip("rasterio").open(tmp_path / "out" / f"{name}.tif") as written:
                maps.append(written.read(1))
    truth, said = np.stack(truths).ravel(), np.stack(maps).ravel()
    expected = jaccard_score(truth[truth < 3], said[truth < 3], labels=[0, 1, 2], average=None)
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert list(scores["iou"].values()) == pytest.approx(expected.tolist())
    assert scores["miou"] == pytest.approx(expected.mean())
    assert sum(map(sum, scores["confusion_matrix"])) == int((truth < 3).sum())
    assert f"{scores['miou']:.4f}" in capsys.readouterr().out


def test_a_run_of_this_project_labels_images_by_its_folder_alone(tmp_path, capsys):
    (tmp_path / "work").mkdir()
    folder, _ = cli.trained(*cli.TINY, cwd=tmp_path / "work")
    image = picture(tmp_path / "a.jpg", 40, 50)
    for words in ((), ("--final",)):
        assert run(folder, image, "--out", tmp_path / "out", *words) == 0
    assert np.asarray(Image.open(tmp_path / "out" / "a.png")).shape == (40, 50)
    classes = load_trained(find_checkpoint(folder)).classes
    assert classes.names == ("Water", "Land", "Road", "Building", "Vegetation")
    assert "1 of 1 images labelled" in capsys.readouterr().out


def test_final_takes_the_last_epochs_weights(tmp_path):
    best = checkpoint(tmp_path / "run" / "checkpoints" / "best.ckpt")
    state = torch.load(best, weights_only=True)
    head = "network.segmentation_head.0.weight"
    weights = state["state_dict"] | {head: -state["state_dict"][head]}
    torch.save(state | {"state_dict": weights}, best.with_name("final.ckpt"))
    image = picture(tmp_path / "a.png")
    for name, words in {"best": (), "final": ("--final",)}.items():
        assert run(tmp_path / "run", image, "--out", tmp_path / name, *words) == 0
        said = said_of(best.with_name(f"{name}.ckpt"), np.array(Image.open(image)))[0]
        assert (np.asarray(Image.open(tmp_path / name / "a.png")) == said).mean() > 0.999  # ties may go either way
    assert (tmp_path / "best" / "a.png").read_bytes() != (tmp_path / "final" / "a.png").read_bytes()


def test_scale_shows_the_network_a_resized_image(tmp_path, network):
    blocks = np.kron(RNG.integers(0, 256, (64, 64, 3)), np.ones((2, 2, 1))).astype(np.uint8)
    Image.fromarray(blocks).save(tmp_path / "a.png")
    assert run(network, tmp_path / "a.png", "--out", tmp_path / "out", "--scale", "0.5") == 0
    said = said_of(network, blocks[::2, ::2])[0]
    shown = np.asarray(Image.open(tmp_path / "out" / "a.png"))
    assert shown.shape == (128, 128)
    assert (shown[::2, ::2] == said).mean() > 0.9


def test_bands_and_scale_come_from_the_checkpoint(tmp_path):
    pytest.importorskip("rasterio")
    path = checkpoint(tmp_path / "best.ckpt", bands=[3, 2, 1], scale=[0, 1000])
    pixels = RNG.integers(0, 1000, (4, 64, 64)).astype(np.uint16)
    image = geotiff(tmp_path / "a.tif", pixels)
    assert run(path, image, "--out", tmp_path / "out") == 0
    seen = np.rint(pixels[[2, 1, 0]].transpose(1, 2, 0) * (255 / 1000)).astype(np.uint8)
    with pytest.importorskip("rasterio").open(tmp_path / "out" / "a.tif") as written:
        assert (written.read(1) == said_of(path, seen)[0]).mean() > 0.99


def test_outputs_replace_older_ones_and_an_error_leaves_them(tmp_path, network, capsys):
    pytest.importorskip("rasterio")
    out = tmp_path / "out"
    out.mkdir()
    for name in ("a.tif", "b.png", "areas.csv"):
        (out / name).write_text("older")
    broken = tmp_path / "a.tif"
    content = geotiff(broken, RNG.integers(0, 256, (3, 200, 200)).astype(np.uint8), compress="deflate").read_bytes()
    broken.write_bytes(content[: len(content) // 2] + bytes(len(content) // 2))
    assert run(network, broken, picture(tmp_path / "b.png"), "--out", out) == 1
    assert "a.tif is damaged" in capsys.readouterr().err
    assert (out / "a.tif").read_text() == "older"
    with Image.open(out / "b.png") as written:
        assert written.size == (64, 64)
    assert "b.png" in (out / "areas.csv").read_text()
    assert sorted(p.name for p in out.iterdir()) == ["a.tif", "areas.csv", "b.png"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("none", "a.png"), "no such run or checkpoint: none"),
        ((".", "a.png"), "has no checkpoints/best.ckpt"),
        (("unfinished", "a.png", "--final"), "unfinished is not finished, so there is no last epoch"),
        (("broken.ckpt", "a.png"), "broken.ckpt is damaged or no checkpoint"),
        (("bare.ckpt", "a.png"), "bare.ckpt does not say what network it belongs to"),
        (("other.ckpt", "a.png"), "other.ckpt holds a network of os.system: only sparse_seg.networks.create"),
        (("hub.ckpt", "a.png"), "names an encoder that is not taken from a file: 'tu-hf-hub:someone/network'"),
        (("deeper.ckpt", "a.png"), "deeper.ckpt does not fit the network it names, unet with resnet34"),
        (("good.ckpt", "none.png"), "no such image or folder: none.png"),
        (("good.ckpt", "empty"), "empty holds no image"),
        (("good.ckpt", "broken.png"), "broken.png is damaged"),
        (("good.ckpt", "a.png", "sub/a.jpg"), "would both become out/a.png: label them in two calls"),
        (("good.ckpt", "a.png", "--out", "."), "would replace the image a.png: choose another --out"),
        (("good.ckpt", "a.png", "--out", "a.png/out"), "--out a.png/out cannot be written"),
        (("good.ckpt", "a.png", "--masks", "none"), "--masks none is no folder"),
        (("good.ckpt", "a.png", "--masks", "empty"), "empty has no mask a (.tif, "),
        (("good.ckpt", "a.png", "--masks", "small"), "the image is 64×64 but its mask small/a.png is 20×10"),
        (("good.ckpt", "a.png", "--window", "100"), "--window 100 must be a multiple of 32: 96 or 128"),
        (("good.ckpt", "a.png", "--overlap", "64"), "overlap 64 must be at least 0 and less than the window"),
        (("good.ckpt", "a.png", "--batch-size", "0"), "--batch-size 0 must be at least 1"),
        (("good.ckpt", "a.png", "--device", "warp"), "--device warp cannot be used"),
    ],
)
def test_what_cannot_be_done_is_a_message(tmp_path, network, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    content = torch.load(network, weights_only=True)
    config = content["model"]["config"]
    picture(Path("a.png")), picture(Path("sub/a.jpg"))
    for folder in ("empty", "small"):
        Path(folder).mkdir()
    Image.fromarray(np.zeros((10, 20, 3), np.uint8) + np.array(COLOURS[0], np.uint8)).save("small/a.png")
    Path("broken.png").write_text("no image")
    Path("broken.ckpt").write_bytes(network.read_bytes()[:5000])
    if "ckpt" in words[0] or words[0] == "unfinished":
        torch.save({"state_dict": {}}, "bare.ckpt")
        for name, other in (
            ("good", {}), ("other", {"_target_": "os.system"}), ("hub", {"encoder": "tu-hf-hub:someone/network"}),
            ("deeper", {"encoder": "resnet34"}), ("unfinished/checkpoints/best", {}),
        ):  # fmt: skip
            if name == words[0].removesuffix(".ckpt") or name.startswith(words[0]):
                Path(f"{name}.ckpt").parent.mkdir(parents=True, exist_ok=True)
                torch.save(content | {"model": content["model"] | {"config": config | other}}, f"{name}.ckpt")
    options = () if "--out" in words else ("--out", "out")
    defaults = () if "--device" in words else ("--device", "cpu")
    assert predict.main([*words, *options, *defaults]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    assert said.count("\n") <= 2


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    torch.save({"model": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(UserError, match=r"evil.ckpt is damaged or no checkpoint"):
        load_trained(tmp_path / "evil.ckpt")
    assert not (tmp_path / "ran").exists()


PEAK = """
import re, sys, time
from sparse_seg.predict.__main__ import main
began = time.perf_counter()
code = main(sys.argv[1:])
seconds = time.perf_counter() - began
print("seconds", seconds, "peak", re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_large_geotiff_takes_less_than_2_gb(tmp_path, network):
    rasterio = pytest.importorskip("rasterio")
    from rasterio.windows import Window

    side = int(os.environ.get("SPARSE_SEG_SIDE", "5000"))
    tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}
    options = {"driver": "GTiff", "crs": "EPSG:32640", "transform": rasterio.Affine(*UTM["transform"])}
    tile = RNG.integers(0, 256, (3, 512, 512)).astype(np.uint8)
    with rasterio.open(
        tmp_path / "a.tif", "w", height=side, width=side, count=3, dtype="uint8", **tiles, **options
    ) as file:
        for row in range(0, side, 512):
            for col in range(0, side, 512):
                part = tile[:, : side - row, : side - col]
                file.write(part, window=Window(col, row, part.shape[2], part.shape[1]))
    words = (network, tmp_path / "a.tif", "--out", tmp_path / "out", "--window", 512, "--overlap", 64)
    command = [sys.executable, "-c", PEAK, *map(str, words), "--device", "cpu", "--overlay", "--confidence"]
    ended = subprocess.run(command, cwd=cli.ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    peak = int(ended.stdout.split("peak ")[1])  # kB
    seconds = float(ended.stdout.split("seconds ")[1].split()[0])
    print(f"{side}×{side} pixels: {seconds:.0f} s, {side**2 / seconds:,.0f} pixels per second, {peak / 1e6:.2f} GB")
    assert peak < 2e6
    with rasterio.open(tmp_path / "out" / "a.tif") as written:
        assert written.shape == (side, side)
        assert (written.read(1) < 3).all()
