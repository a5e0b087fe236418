"""From Python: arrays and files are labelled and scored as by the command, and messages name arguments."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled import COLOURS, NAMES, RNG, checkpoint, geotiff, picture
from PIL import Image
from torch import nn

import sparse_seg as ss
from sparse_seg.classes import Classes
from sparse_seg.networks.trained import Trained, load_trained
from sparse_seg.predict import __main__ as command
from sparse_seg.predict.device import network_on

CPU = {"device": "cpu", "precision": "32"}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("network") / "best.ckpt")


def run(*words: object) -> int:
    return command.main([*map(str, words), "--device", "cpu", "--precision", "32"])


class Brightness(nn.Module):
    """Two classes: dark, bright."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        grey = image.mean(1, keepdim=True)
        return torch.cat([0.5 - grey, grey - 0.5], 1)


def bright(**how: object) -> ss.Predictor:
    classes = Classes(("dark", "bright"), ((0, 0, 0), (255, 255, 0)))
    trained = Trained(Brightness(), classes, size=32, bands=None, scale=None, epoch=None)
    return ss.Predictor(trained, **CPU, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("precision", "native", "expected"),
    [("32", True, torch.float32), ("bf16", False, torch.bfloat16), ("auto", True, torch.bfloat16),
     ("auto", False, torch.float32)],
)  # fmt: skip
def test_weights_lie_channels_last_and_auto_is_what_the_device_has(
    precision: str, native: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparse_seg.predict.device.native_precision", lambda _: "bf16-mixed" if native else "32-true")
    layer = nn.Conv2d(4, 8, 3)
    said = network_on(layer, torch.device("cpu"), precision)(torch.rand(1, 4, 16, 16))
    assert said.dtype == expected
    assert layer.weight.is_contiguous(memory_format=torch.channels_last)
    assert said.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", [(64, 64), (1, 1), (40, 150), (130, 70)])
def test_an_array_is_labelled_as_its_file_is(tmp_path: Path, network: Path, shape: tuple[int, int]) -> None:
    image = picture(tmp_path / "a.png", *shape)
    assert run(network, image, "--out", tmp_path / "out") == 0
    said = ss.load(network, **CPU).predict(np.asarray(Image.open(image)))
    assert said.dtype == np.uint8
    np.testing.assert_array_equal(said, np.asarray(Image.open(tmp_path / "out" / "a.png")))


def test_a_batch_is_its_images_one_by_one(network: Path) -> None:
    images = RNG.integers(0, 256, (3, 50, 70, 3)).astype(np.uint8)
    predictor = ss.load(network, **CPU)
    np.testing.assert_array_equal(predictor.predict(images), np.stack([predictor.predict(i) for i in images]))


def test_the_image_is_left_as_it_is_and_may_be_read_only() -> None:
    image = RNG.integers(0, 256, (40, 40, 3)).astype(np.uint8)
    image.flags.writeable = False
    before = image.copy()
    np.testing.assert_array_equal(bright().predict(image), image.mean(2) > 127.5)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_file_is_written_as_the_command_writes_it(tmp_path: Path, network: Path, suffix: str) -> None:
    pixels = RNG.integers(1, 256, (3, 70, 90)).astype(np.uint8)
    image = geotiff(tmp_path / "a.tif", pixels) if suffix == ".tif" else picture(tmp_path / "a.png", 70, 90)
    words = ("--window", 32, "--overlap", 4, "--scale", 0.5, "--overlay", "--confidence")
    assert run(network, image, "--out", tmp_path / "command", *words) == 0
    out = tmp_path / "python"
    out.mkdir()
    predictor = ss.load(str(network), window=32, overlap=4, scale=0.5, **CPU)
    done = predictor.predict_file(
        str(image), out / f"a{suffix}", overlay=out / "a.overlay.png", confidence=out / f"a.confidence{suffix}"
    )
    written = {p.name: p.read_bytes() for p in out.iterdir()}
    areas = (tmp_path / "command" / "areas.csv").read_text().splitlines()[1:]
    assert written == {p.name: p.read_bytes() for p in (tmp_path / "command").iterdir() if p.name != "areas.csv"}
    assert [line.split(",")[1:3] for line in areas] == [[a.name, str(a.pixels)] for a in done.areas]
    assert done.scores is None
    assert sum(a.pixels for a in done.areas) == 70 * 90


def test_evaluate_gives_the_scores_of_the_command_for_files_and_for_arrays(tmp_path: Path, network: Path) -> None:
    images = [picture(tmp_path / "images" / f"{n}.png", 64, 100) for n in "ab"]
    truths = [RNG.choice(np.array([0, 1, 2, 255], np.uint8), (64, 100)) for _ in images]
    (tmp_path / "masks").mkdir()
    for image, truth in zip(images, truths, strict=True):
        Image.fromarray(truth).save(tmp_path / "masks" / image.name)
    assert run(network, tmp_path / "images", "--masks", tmp_path / "masks", "--out", tmp_path / "out") == 0
    expected = json.loads((tmp_path / "out" / "scores.json").read_text())
    predictor = ss.load(network, **CPU)
    assert predictor.evaluate(str(tmp_path / "images"), tmp_path / "masks") == expected
    assert predictor.evaluate(images, [str(tmp_path / "masks" / i.name) for i in images]) == expected
    arrays = predictor.evaluate([np.asarray(Image.open(i)) for i in images], truths)
    assert arrays == expected | {"images": ["0", "1"]}
    assert set(expected["scores"]) == {"boundary_iou", *(f"boundary_iou_{n}" for n in NAMES)}


def test_boundary_iou_sees_an_outline_that_lies_elsewhere() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[:, 50:] = 255
    truth = (image[..., 0] > 0).astype(np.uint8)
    predictor = bright()
    right = predictor.evaluate([image], [truth])
    assert right["scores"] == {"boundary_iou": 1.0, "boundary_iou_dark": 1.0, "boundary_iou_bright": 1.0}
    shifted = predictor.evaluate([image], [np.roll(truth, 6, axis=1)])
    assert shifted["scores"]["boundary_iou"] < 0.75 < shifted["miou"]


def test_the_table_has_the_boundary_iou(tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = picture(tmp_path / "a.png")
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "masks" / "a.png")
    assert run(network, image, "--masks", tmp_path / "masks", "--out", tmp_path / "out") == 0
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())["scores"]
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line}
    assert lines["mean"][2] == f"{scores['boundary_iou']:.4f}"
    assert lines["Water"][2] == f"{scores['boundary_iou_Water']:.4f}"


def test_a_loaded_network_knows_its_classes(network: Path) -> None:
    classes = ss.load(network, **CPU).classes
    assert classes.names == tuple(NAMES)
    assert classes.colours == tuple(map(tuple, COLOURS))
    assert load_trained(network).classes == classes


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"window": 0}, "window=0 must be a multiple of 1, and at least 1"),
        ({"overlap": 32}, "overlap=32 must be at least 0 and less than the window, 32"),
        ({"scale": 0.0}, "scale=0.0 must be a positive number"),
        ({"batch_size": 0}, "batch_size=0 must be at least 1"),
        ({"device": "warp"}, "device=warp cannot be used: "),
        ({"precision": "16"}, "precision=16 must be auto, 32 or bf16"),
    ],
)
def test_messages_name_the_argument(how: dict[str, object], message: str) -> None:
    with pytest.raises(ss.UserError, match="^" + message):
        ss.Predictor(bright().trained, **({"device": "cpu"} | how))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((40, 40), np.uint8), r"image has the shape \(40, 40\), but the network takes \(height, width, 3\)"),
        (np.zeros((40, 40, 4), np.uint8), r"image has the shape \(40, 40, 4\)"),
        (np.zeros((0, 40, 3), np.uint8), r"image has the shape \(0, 40, 3\)"),
        (np.zeros((40, 40, 3), np.float32), "image has pixels of type float32, but the network takes uint8, 0 to 255"),
    ],
)
def test_what_is_no_image_is_refused(image: np.ndarray, message: str) -> None:
    with pytest.raises(ss.UserError, match=message):
        bright().predict(image)


def test_images_and_masks_must_belong_together(tmp_path: Path) -> None:
    image = np.zeros((40, 50, 3), np.uint8)
    with pytest.raises(ss.UserError, match="2 images but 1 masks"):
        bright().evaluate([image, image], [image[..., 0]])
    with pytest.raises(ss.UserError, match="the image is 50×40 but its mask is 40×50"):
        bright().evaluate([image], [image[..., 0].T])
    with pytest.raises(ss.UserError, match=r"^masks=.*is a folder, but images are arrays"):
        bright().evaluate([image], tmp_path)
    with pytest.raises(ss.UserError, match="the mask has the value 7, which is the index of no class"):
        bright().evaluate([image], [np.full((40, 50), 7, np.uint8)])


def test_a_class_map_needs_a_suffix_that_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(ss.UserError, match=r"map\.jpg cannot be written: its name must end in \.png or \.tif"):
        bright().predict_file(picture(tmp_path / "a.png"), tmp_path / "map.jpg")
