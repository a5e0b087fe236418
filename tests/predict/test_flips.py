"""With flips a map turns with its image, and files say that it was averaged; without them nothing changes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled import NAMES, RNG, checkpoint, picture
from PIL import Image
from torch import nn

import sparse_seg as ss
from sparse_seg.classes import LAND_COVER
from sparse_seg.networks.flips import averaged_posterior
from sparse_seg.networks.trained import Trained, load_trained
from sparse_seg.predict import __main__ as predict
from sparse_seg.predict.labelling import class_map
from sparse_seg.predict.sliding import Strip
from sparse_seg.suggest import __main__ as suggest
from sparse_seg.tensors import to_float

CPU = ("--device", "cpu", "--precision", "32")
IMAGE = RNG.integers(0, 256, (104, 80, 3)).astype(np.uint8)  # windows of 32 every 24 pixels, from either side


def leaning(flips: bool) -> ss.Predictor:
    """A network that looks to one side."""
    torch.manual_seed(0)
    trained = Trained(nn.Conv2d(3, 5, 5, padding=2).eval(), LAND_COVER, 32, None, None, None)
    return ss.Predictor(trained, overlap=8, device="cpu", precision="32", flips=flips)


@pytest.mark.parametrize("turn", [np.fliplr, np.flipud, np.rot90, lambda x: x.swapaxes(0, 1)])
def test_a_map_turns_with_its_image(turn) -> None:
    turned = np.ascontiguousarray(turn(IMAGE))
    assert (leaning(True).predict(turned) == turn(leaning(True).predict(IMAGE))).mean() > 0.999
    assert (leaning(False).predict(turned) == turn(leaning(False).predict(IMAGE))).mean() < 0.9


def test_of_one_window_the_logits_are_those_of_the_network_or_of_the_averaged_posterior() -> None:
    image = IMAGE[:32, :32]
    for flips in (False, True):
        predictor = leaning(flips)
        network = predictor.trained.network
        with predictor.open(image) as raster, predictor.strips(raster) as strips, torch.no_grad():
            (strip,) = strips
            expected = (
                averaged_posterior(network, to_float(image)[None]).log() if flips else network(to_float(image[None]))
            )
            torch.testing.assert_close(strip.logits, expected[0])


def test_the_class_is_that_of_the_highest_logit_and_the_first_of_equals() -> None:
    logits = torch.randint(4, (6, 50, 70), generator=torch.Generator().manual_seed(0)).float()
    valid = RNG.random((50, 70)) < 0.9
    expected = logits.numpy().argmax(0)
    expected[~valid] = 255
    np.testing.assert_array_equal(class_map(Strip(0, 0, logits, valid)), expected)


def test_files_say_that_flips_were_averaged_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network, image = checkpoint(tmp_path / "best.ckpt"), picture(tmp_path / "images" / "a.png")
    (tmp_path / "masks").mkdir()
    Image.fromarray(RNG.integers(0, 3, (64, 64)).astype(np.uint8)).save(tmp_path / "masks" / "a.png")
    words = [str(network), str(image), "--masks", str(tmp_path / "masks"), "--confidence", *CPU]
    scores, areas = {}, {}
    for name, more in (("plain", ()), ("flips", ("--flips",))):
        assert predict.main([*words, "--out", str(tmp_path / name), *more]) == 0
        scores[name] = json.loads((tmp_path / name / "scores.json").read_text())
        areas[name] = (tmp_path / name / "areas.csv").read_text().splitlines()
    assert areas["plain"][0] == "image,class,pixels,share,m2"
    assert areas["flips"][0] == "image,class,pixels,share,m2,flips"
    assert all(line.endswith(",yes") for line in areas["flips"][1:])
    assert "flips" not in scores["plain"]
    assert scores["flips"]["flips"] is True
    with torch.no_grad():
        pixels = to_float(np.asarray(Image.open(image)))[None]
        posterior = averaged_posterior(load_trained(network).network, pixels)[0]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "flips" / "a.png")), posterior.argmax(0))
    percent = np.asarray(Image.open(tmp_path / "flips" / "a.confidence.png")).astype(int)
    assert np.abs(percent - 100 * posterior.amax(0).numpy()).max() < 0.51
    how = {"device": "cpu", "precision": "32"}
    found = ss.load(network, flips=True, **how).evaluate([image], tmp_path / "masks")
    assert found == scores["flips"]
    capsys.readouterr()
    assert suggest.main([*words[:2], "--out", str(tmp_path / "next"), "--n", "3", "--flips", *CPU]) == 0
    assert "certainty is that of the average over flips and rotations" in capsys.readouterr().out
    assert len((tmp_path / "next" / "suggest.csv").read_text().splitlines()) == 4
    assert set(found["iou"]) == set(NAMES)
