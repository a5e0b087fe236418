"""The map follows the points: the probe's own fit and logits, window by window."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from folders import save_tif

from sparse_seg.annotate.imagery import Imagery
from sparse_seg.annotate.journal import Label, Pixels
from sparse_seg.annotate.maps import WINDOW, Maps
from sparse_seg.annotate.places import SURE, check_point, suggest
from sparse_seg.networks.build import NormalisedNetwork, create

NAMES = ["Water", "Land", "Road"]
DRAW = np.random.default_rng(0)


@pytest.fixture(scope="module")
def network() -> NormalisedNetwork:
    torch.manual_seed(0)
    return create("probe", "resnet18", None, classes=3)


def halves(height: int, width: int) -> np.ndarray:
    """Left dark, right light, a stripe of red in the middle."""
    image = np.full((height, width, 3), 40, np.uint8)
    image[:, width // 2 :] = 210
    image[:, width // 2 - 20 : width // 2 + 20] = (200, 40, 40)
    noise = np.random.default_rng(0).integers(0, 12, image.shape, np.uint8)
    return image + noise


def clicked(image: str, *points: tuple[int, int, int]) -> Pixels:
    return {image: {(row, col): Label(label) for row, col, label in points}}


POINTS = clicked(
    "a", (10, 10, 0), (200, 40, 0), (280, 90, 0), (20, 380, 1), (250, 300, 1), (60, 330, 1), (20, 200, 2),
    (220, 205, 2), (290, 190, 2),
)  # fmt: skip


@pytest.fixture
def maps(tmp_path: Path, network: NormalisedNetwork) -> Maps:
    PIL.Image.fromarray(halves(300, 400)).save(tmp_path / "a.png")
    return Maps(Imagery({"a": tmp_path / "a.png"}), network)


def test_the_map_says_what_was_clicked(maps: Maps) -> None:
    assert not maps.learn(clicked("a", (1, 1, 0), (5, 5, 0)))
    assert maps.learn(POINTS)
    assert maps.paint(maps.windows("a")) == 4
    assert maps.paint(maps.windows("a")) == 0
    for (row, col), said in POINTS["a"].items():
        assert maps.label_at("a", row, col) == said.label
    counts = maps.areas(3)
    assert sum(counts) == 300 * 400
    assert counts == maps.areas(3, "a")
    assert counts[0] > 50_000
    assert counts[2] < 25_000


def test_a_view_is_mapped_from_its_middle(maps: Maps) -> None:
    assert maps.in_view("a", 0, 0, 100, 100) == [("a", 0, 0)]
    assert maps.in_view("a", 150, 300, 150, 100) == [("a", 0, 1), ("a", 1, 1)]
    assert maps.in_view("a", -50, -50, 100, 100) == [("a", 0, 0)]
    assert len(maps.in_view("a", 0, 0, 300, 400)) == 4


def test_windows_meet_without_a_seam_where_the_encoder_sees_enough(maps: Maps) -> None:
    maps.learn(POINTS)
    maps.paint(maps.windows("a"))
    above, below = maps.painted["a", 0, 0], maps.painted["a", 1, 0]
    assert above.label.shape == (WINDOW, WINDOW)
    assert below.label.shape == (300 - WINDOW, WINDOW)
    assert np.mean(above.label[-1] == below.label[0]) > 0.9


def test_a_fit_begins_with_the_last_one_and_a_new_class_is_learned(maps: Maps) -> None:
    maps.learn({"a": {at: said for at, said in POINTS["a"].items() if said.label < 2}})
    maps.paint(maps.windows("a"))
    assert maps.areas(3)[2] == 0
    maps.learn(POINTS)
    maps.paint(maps.windows("a"))
    assert maps.areas(3)[2] > 0
    assert maps.fit is not None
    before = maps.fit
    more = {"a": POINTS["a"] | {(100, 100): Label(0)}}
    maps.learn(more)
    assert maps.fit.version == before.version + 1
    assert maps.fit.strength == before.strength


def test_next_goes_where_there_are_the_fewest_points_and_to_the_class_clicked_least(maps: Maps) -> None:
    assert suggest(maps, POINTS, NAMES, [], DRAW) is None
    maps.learn(POINTS)
    maps.paint(maps.windows("a"))
    taken = clicked("a", *((row, col, said.label) for (row, col), said in POINTS["a"].items()))
    for _ in range(8):
        place = suggest(maps, taken, NAMES, [], DRAW)
        assert place is not None
        assert not place.check
        here = [(row // WINDOW, col // WINDOW) for row, col in taken["a"]]
        window = place.row // WINDOW, place.col // WINDOW
        assert here.count(window) == min(here.count((i, j)) for i in range(2) for j in range(2))
        label = maps.label_at("a", place.row, place.col)
        assert label is not None
        counts = [sum(said.label == k for said in taken["a"].values()) for k in range(3)]
        there = np.flatnonzero(maps.painted["a", *window].counts[:3])
        assert counts[label] == min(counts[k] for k in there)
        taken["a"][place.row, place.col] = Label(label)


def test_next_says_what_the_map_thinks_and_passes_what_was_skipped(maps: Maps) -> None:
    maps.learn(POINTS)
    maps.paint([("a", 1, 1)])
    place = suggest(maps, POINTS, NAMES, [], DRAW)
    assert place is not None
    (first, p), (second, q), *_ = maps.posterior("a", place.row, place.col)
    both = f"{NAMES[first]} or {NAMES[second]}? {100 * p:.0f} to {100 * q:.0f} %"
    assert place.reason == (f"{NAMES[first]}, says the map: {100 * p:.0f} %" if p > SURE else both)
    there = np.argwhere(maps.painted["a", 1, 1].label < 3) + WINDOW
    skipped = [("a", row, col) for row, col in there.tolist()]
    assert suggest(maps, POINTS, NAMES, skipped, DRAW) is None


def test_windows_ahead_are_of_all_images(tmp_path: Path, network: NormalisedNetwork) -> None:
    for name in ("a", "b", "c"):
        PIL.Image.fromarray(halves(600, 800)).save(tmp_path / f"{name}.png")
    maps = Maps(Imagery({name: tmp_path / f"{name}.png" for name in ("a", "b", "c")}), network)
    keys = maps.ahead("b", 8)
    assert [key[0] for key in keys].count("b") == 4
    assert keys == maps.ahead("b", 8)
    assert len(set(maps.ahead("b", 1000))) == 36
    assert maps.mapped() == (0, 36)


def test_windows_ahead_are_a_random_sample_whatever_the_order_of_the_images(
    tmp_path: Path, network: NormalisedNetwork
) -> None:
    paths = {}
    for k in range(100):
        paths[f"{k:02d}"] = tmp_path / f"{k:02d}.png"
        PIL.Image.new("RGB", (512, 512 * (1 + k // 50))).save(paths[f"{k:02d}"])
    maps = Maps(Imagery(paths), network)
    keys = maps.ahead("00", 200)
    mine, others = ([key for key in keys if (key[0] == "00") is here] for here in (True, False))
    assert len(set(mine)) == 4, "all that the image has"
    assert len(set(others)) == 196
    late = sum(int(key[0]) >= 50 for key in others)
    assert abs(late / 196 - 400 / 596) < 0.12, "the last ones have two thirds of the windows"
    assert len({key[0] for key in others}) > 75


def test_maps_of_the_windows_painted_last_are_held(maps: Maps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparse_seg.annotate.maps.PAINTED", 2)
    maps.learn(POINTS)
    maps.paint(maps.windows("a")[:2])
    maps.learn(POINTS)
    maps.paint(maps.windows("a")[:1])
    maps.paint(maps.windows("a")[3:])
    assert list(maps.painted) == [("a", 0, 0), ("a", 1, 1)]
    assert maps.mapped("a") == (2, 4)


def test_every_class_counts_alike_however_often_it_was_clicked(maps: Maps) -> None:
    many = {"a": POINTS["a"] | {(row, 370): Label(1) for row in range(100, 200)}}
    shares = []
    for points in (POINTS, many):
        maps.learn(points)
        maps.paint(maps.windows("a"))
        shares.append(maps.areas(3)[1] / (300 * 400))
    assert maps.fit is not None
    assert shares[1] < shares[0] + 0.1


def test_check_points_ask_for_every_class_alike_with_their_weight(maps: Maps) -> None:
    draw = np.random.default_rng(0)
    assert check_point(maps, [], draw) is None
    maps.learn(POINTS)
    maps.paint(maps.windows("a"))
    areas = maps.areas(3)
    asked = [check_point(maps, [POINTS], draw) for _ in range(150)]
    counts = np.zeros(3, int)
    for place in asked:
        assert place is not None
        assert place.check
        assert maps.label_at(place.image, place.row, place.col) == place.predicted
        assert place.weight == areas[place.predicted] * 3
        assert (place.row, place.col) not in POINTS["a"]
        counts[place.predicted] += 1
    assert counts.min() > 30


def test_tiles_show_the_map_at_any_zoom_and_nothing_where_there_is_none(maps: Maps) -> None:
    assert maps.tile("a", 1, 0, 0) is None
    maps.learn(POINTS)
    maps.paint([("a", 0, 0), ("a", 0, 1)])
    whole = maps.tile("a", 2, 0, 0)
    assert whole is not None
    label, _ = whole
    assert (label[:128, :128] == maps.painted["a", 0, 0].label[::2, ::2]).all()
    assert (label[128:] == 255).all()
    assert maps.tile("a", 1, WINDOW, 0) is None
    right = maps.tile("a", 1, 0, WINDOW)
    assert right is not None
    assert (right[0][:, 400 - WINDOW :] == 255).all()


def test_nodata_is_not_mapped_and_never_asked_for(tmp_path: Path, network: NormalisedNetwork) -> None:
    image = halves(300, 400).transpose(2, 0, 1).copy()
    image[:, :, :100] = 0
    save_tif(tmp_path / "a.tif", image, nodata=0)
    maps = Maps(Imagery({"a": tmp_path / "a.tif"}), network)
    points = clicked("a", (10, 120, 0), (200, 140, 0), (20, 380, 1), (250, 300, 1))
    maps.learn(points)
    maps.paint(maps.windows("a"))
    assert maps.label_at("a", 50, 50) is None
    assert sum(maps.areas(2)) == 300 * 300
    place = suggest(maps, points, NAMES, [], DRAW)
    assert place is not None
    assert place.col >= 100


def test_features_are_held_up_to_a_limit(tmp_path: Path, network: NormalisedNetwork) -> None:
    PIL.Image.fromarray(halves(600, 800)).save(tmp_path / "a.png")
    maps = Maps(Imagery({"a": tmp_path / "a.png"}), network, memory=20 * 2**20)
    maps.learn(clicked("a", (10, 10, 0), (500, 700, 1)))
    maps.paint(maps.windows("a"))
    assert len(maps.painted) == 12
    assert maps._held <= 20 * 2**20
