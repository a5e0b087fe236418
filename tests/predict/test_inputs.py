"""Images of folders and their sub-folders, their masks and maps: the same files as training finds."""

import csv
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from labelled import RNG, checkpoint, geotiff, picture
from PIL import Image

import sparse_seg as ss
from sparse_seg.errors import UserError
from sparse_seg.predict import __main__ as command
from sparse_seg.predict.inputs import find_images, find_masks, find_targets
from sparse_seg.suggest import __main__ as suggest

CPU = ("--device", "cpu", "--precision", "32")


def nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def nfd(name: str) -> str:
    return unicodedata.normalize("NFD", name)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("network") / "best.ckpt")


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_folders_are_searched_with_all_below_them(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "north/b.TIF", "north/deep/c.jpg", "notes.txt", "d.bmp")
    touch(tmp_path, ".e.png", ".trash/f.png", "north/.g.png", "north/.old/h.png")
    found = find_images([tmp_path])
    assert sorted(found.values()) == ["a.png", "north/b.TIF", "north/deep/c.jpg"]
    assert all(path == tmp_path / name for path, name in found.items())


def test_files_and_folders_named_count_once(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "north/b.png")
    assert find_images([tmp_path / "north" / "b.png"]) == {tmp_path / "north" / "b.png": "b.png"}
    assert sorted(find_images([tmp_path, tmp_path / "a.png"]).values()) == ["a.png", "north/b.png"]
    assert sorted(find_images([tmp_path / "north", tmp_path / "a.png"]).values()) == ["a.png", "b.png"]
    assert len(find_images([tmp_path, tmp_path / "north"])) == 2


def test_what_a_call_writes_is_no_image_of_the_next_one(tmp_path: Path) -> None:
    touch(
        tmp_path, "a.png", "maps/a.png", "old/areas.csv", "old/a.png", "old/sub/b.png", "next/suggest.csv", "next/s.png"
    )
    assert list(find_images([tmp_path], tmp_path / "maps").values()) == ["a.png"]
    assert sorted(find_images([tmp_path], tmp_path).values()) == ["a.png", "maps/a.png"]
    assert sorted(find_images([tmp_path / "old"]).values()) == ["a.png", "sub/b.png"]


def test_folders_that_link_to_each_other_are_searched_once(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.png")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert list(find_images([tmp_path]).values()) == ["a/x.png"]


@pytest.mark.parametrize(("images", "masks"), [(nfc, nfd), (nfd, nfc), (nfc, nfc)])
def test_masks_pair_in_the_same_sub_folder_or_by_a_stem_that_one_image_has(
    tmp_path: Path, images: Callable[[str], str], masks: Callable[[str], str]
) -> None:
    touch(tmp_path / "images", images("süd/ä.jpg"), images("nord/ä.jpg"), images("nord/é.png"), "o.png")
    named = find_images([tmp_path / "images"])
    touch(tmp_path / "deep", masks("süd/ä.png"), masks("nord/ä.tif"), masks("nord/é.png"), "o.png", "spare/x.png")
    found = {
        nfc(named[path]): nfc(mask.relative_to(tmp_path).as_posix())
        for path, mask in find_masks(tmp_path / "deep", named).items()
    }
    assert found == {
        "süd/ä.jpg": "deep/süd/ä.png",
        "nord/ä.jpg": "deep/nord/ä.tif",
        "nord/é.png": "deep/nord/é.png",
        "o.png": "deep/o.png",
    }
    touch(tmp_path / "flat", masks("ä.png"), masks("é.png"), "o.png")
    with pytest.raises(UserError, match=r"2 images are called ä, and .* can have one mask for them"):
        find_masks(tmp_path / "flat", named)
    alone = {path: name for path, name in named.items() if "d/" not in name or "nord" in nfc(name)}
    assert sorted(nfc(p.name) for p in find_masks(tmp_path / "flat", alone).values()) == sorted(
        ["ä.png", "é.png", "o.png"]
    )


def test_masks_that_are_missing_or_double_are_named(tmp_path: Path) -> None:
    touch(tmp_path / "images", "x/a.png", "x/b.png")
    named = find_images([tmp_path / "images"])
    touch(tmp_path / "masks", "x/a.png", ".b.png", "y/b.png")
    with pytest.raises(UserError, match=r"has no mask b \(\.tif, .*\) for .*b\.png, 1 of 2 images lack one"):
        find_masks(tmp_path / "masks", named)
    touch(tmp_path / "masks", "x/b.png", "x/b.tif")
    with pytest.raises(UserError, match=r"b\.png and .*b\.tif could both be the mask of one image"):
        find_masks(tmp_path / "masks", named)


def test_maps_go_to_the_sub_folders_of_their_images(tmp_path: Path) -> None:
    touch(tmp_path / "in", "a.png", "north/a.tif", "north/a.jpg")
    named = find_images([tmp_path / "in"])
    out = tmp_path / "out"
    assert set(find_targets(named, out).values()) == {out / "a.png", out / "north" / "a.tif", out / "north" / "a.png"}
    touch(tmp_path / "in", "north/a.jpeg")
    with pytest.raises(UserError, match=r"would both become .*north/a\.png"):
        find_targets(find_images([tmp_path / "in"]), out)
    with pytest.raises(UserError, match=r"would replace the image .*in/a\.png"):
        find_targets(named, tmp_path / "in")


def test_a_folder_with_sub_folders_is_labelled_scored_and_searched_for_suggestions(
    tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, masks = tmp_path / "images", tmp_path / "masks"
    for name in ("north/a.png", "south/a.png", "b.png"):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (masks / name).parent.mkdir(parents=True, exist_ok=True)
        picture(images / name)
        Image.fromarray(RNG.integers(0, 3, (64, 64)).astype(np.uint8)).save(masks / name)
    out = images / "maps"
    words = ["--out", str(out), "--masks", str(masks), "--overlay", "--confidence", *CPU]
    for _ in range(2):  # the maps of the first call are no images of the second
        assert command.main([str(network), str(images), *words]) == 0
        assert "3 of 3 images labelled" in capsys.readouterr().out
    written = {p.relative_to(out).as_posix() for p in out.rglob("*.png")}
    kinds = ("", ".overlay", ".confidence")
    assert written == {f"{stem}{kind}.png" for stem in ("north/a", "south/a", "b") for kind in kinds}
    names = {"north/a.png", "south/a.png", "b.png"}
    with (out / "areas.csv").open(newline="") as file:
        assert {row["image"] for row in csv.DictReader(file)} == names
    scores = json.loads((out / "scores.json").read_text())
    assert set(scores["images"]) == names
    same = ss.load(network, device="cpu", precision="32").evaluate(images, masks)
    assert (same["images"], same["confusion_matrix"]) == (scores["images"], scores["confusion_matrix"])
    assert suggest.main([str(network), str(images), "--out", str(tmp_path / "next"), "--n", "6", *CPU]) == 0
    with (tmp_path / "next" / "suggest.csv").open(newline="") as file:
        assert {row["image"] for row in csv.DictReader(file)} <= {"north/a.png", "south/a.png", "images/b.png", "b.png"}


def test_an_image_of_16_bits_is_told_what_its_network_knows(
    tmp_path: Path, network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    geotiff(tmp_path / "a.tif", RNG.integers(0, 4000, (3, 64, 64)).astype(np.uint16))
    assert command.main([str(network), str(tmp_path / "a.tif"), "--out", str(tmp_path / "out"), *CPU]) == 1
    said = capsys.readouterr().err
    assert "a.tif has pixels of type uint16, not uint8, but the network was trained on the usual bands of uint8" in said
    assert "or train on such ones: data.bands, data.scale" in said
