"""A run is named by its values, and is the same run whatever path, machine or order of words it came from."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from cli import Configured, configuration
from folders import make
from omegaconf import DictConfig, OmegaConf

from sparse_seg.errors import UserError
from sparse_seg.runs import schema
from sparse_seg.runs.folder import defaults_of
from sparse_seg.runs.identity import (
    GROUPS,
    MAX_NAME,
    differing_keys,
    figures,
    fingerprint,
    flatten,
    folder_name,
)

Words = tuple[str, ...]


@pytest.fixture(scope="module")
def configured() -> Iterator[Configured]:
    with configuration() as function:
        yield cache(function)


@cache
def defaults(choices: tuple[tuple[str, str], ...]) -> DictConfig:
    return defaults_of(dict(choices))


def name(configured: Configured, *words: str) -> str:
    cfg, choices = configured(*words)
    return folder_name(cfg, defaults(tuple((g, choices[g]) for g in GROUPS)), choices)


def test_name_is_the_axes_and_then_what_is_not_the_default(configured: Configured) -> None:
    assert name(configured) == "loss=focal,points=20,augment=report,split=random,seed=0"
    words = ("seed=3", "points=all", "split=tile", "data.fold=0", "loss=ce", "scheduler=cosine", "optimizer.lr=1e-3")
    axes = "loss=ce,points=all,augment=report,split=tile,seed=3"
    assert name(configured, *words) == f"{axes},scheduler=cosine,fold=0,optimizer.lr=0.001"


BY_HAND = (
    "data=synthetic", "data.size=96", "data.source.images=30", "data.source.size=192", "model.encoder=resnet18",
    "model.encoder_weights=null", "optimizer.lr=0.001", "trainer.max_epochs=15",
)  # fmt: skip


@pytest.mark.parametrize(
    ("words", "same"),
    [
        (("data.size=256",), ()),
        (("points=20", "seed=0", "loss=focal", "split=random"), ()),
        (("optimizer.lr=1e-4",), ()),
        (("optimizer.lr=0.0001",), ()),
        (("optimizer.lr=1e-3",), ("optimizer.lr=0.0010",)),
        (("loss.gamma=1", "points=5"), ("points=5", "loss.gamma=1")),
        (("data.val_tiles=[1,5]", "split=tile"), ("split=tile", "data.val_tiles=[1, 5]")),
        (("model.encoder='resnet18'",), ("model.encoder=resnet18",)),
        (("experiment=demo",), BY_HAND),
        (BY_HAND, BY_HAND[::-1]),
    ],
)
def test_same_values_are_the_same_run(configured: Configured, words: Words, same: Words) -> None:
    assert name(configured, *words) == name(configured, *same)
    assert fingerprint(figures(configured(*words)[0])) == fingerprint(figures(configured(*same)[0]))


@pytest.mark.parametrize(
    ("words", "same"),
    [
        (("loss.gamma=2",), ()),
        (("loss.gamma=1",), ("loss.gamma=1.0",)),
        (("loss.alpha=[1,2,3,4,5]",), ("loss.alpha=[1.0,2.0,3.0,4.0,5.0]",)),
    ],
)
def test_whole_numbers_may_be_written_as_fractions(configured: Configured, words: Words, same: Words) -> None:
    assert name(configured, *words) == name(configured, *same)
    assert not differing_keys(figures(configured(*words)[0]), figures(configured(*same)[0]), {})


def test_where_and_how_fast_a_run_computes_is_not_part_of_it(configured: Configured) -> None:
    usual, words = configured()[0], (
        "data.root=/elsewhere", "+data.source.root=/elsewhere", "data.cache_dir=/elsewhere", "data.num_workers=4",
        "study=other", "overwrite=true", "output_dir=/elsewhere", "logger=none", "trainer=gpu",
        "trainer.accelerator=cuda", "callbacks.panels=null", "callbacks.checkpoint.every_n_epochs=5",
        "callbacks.progress=null",
    )  # fmt: skip
    other = configured(*words)[0]
    differing = ["data", "study", "overwrite", "output_dir", "logger", "trainer", "callbacks"]
    assert all(other[key] != usual[key] for key in differing)
    assert name(configured, *words) == name(configured)
    assert fingerprint(figures(other)) == fingerprint(figures(usual))


VALUES = {
    "loss.gamma": 1.0, "data.size": 128, "trainer.max_epochs": 51, "model.encoder": "resnet18",
    "model.encoder_weights": None, "points": "all", "seed": 1, "augment.hue": 0.0, "optimizer.lr": 1e-3,
    "data.batch_size": 4, "data.val_fraction": 0.3, "data.split_seed": 1, "trainer.precision": "32-true",
    "trainer.devices": 2, "data.fold": 0, "data.val_tiles": [1], "trainer.gradient_clip_val": 1.0, "loss.mine": 1,
    "callbacks.mine": {"_target_": "pkg.Mine"}, "split": "tile", "data.crop": 64,
}  # fmt: skip
CHOICES = ((), ("loss=ce",), ("loss=dice",), ("augment=none",), ("scheduler=cosine",), ("data=synthetic",))


def test_whatever_changes_a_figure_makes_another_run(configured: Configured) -> None:
    usual, choices = configured()
    runs = [(*configured(*words), name(configured, *words)) for words in CHOICES]
    for key, value in [*VALUES.items(), ("loss.gamma", 3.0), ("data.fold", 1), ("points", 5), ("data.size", 512)]:
        cfg = usual.copy()
        OmegaConf.update(cfg, key, value, force_add=True)
        runs.append((cfg, choices, folder_name(cfg, usual, choices)))
    assert len({folder for *_, folder in runs}) == len(runs)
    assert len({fingerprint(figures(cfg)) for cfg, *_ in runs}) == len(runs)


LONG = [f"+loss.note={'x' * 150}{k}" for k in range(2)]


@pytest.mark.parametrize(
    "words",
    [
        ("data.points_file=/home/me/clicks/points.csv",),
        ("model.encoder_weights=../weights/net.pth",),
        ("+loss.note=a/b/../c",),
        ("+loss.note='" + "é" * 300 + "'",),
        ("model.encoder_weights=/w/" + "x" * 240 + ".pth",),
    ],
)
def test_name_is_one_folder_that_a_file_system_takes(configured: Configured, words: Words, tmp_path: Path) -> None:
    folder = name(configured, *words)
    assert "/" not in folder
    assert "\\" not in folder
    assert len(folder.encode()) <= MAX_NAME
    (tmp_path / folder).mkdir()


def test_long_names_stay_different(configured: Configured) -> None:
    first, second = (name(configured, word) for word in LONG)
    assert len(first.encode()) == MAX_NAME
    assert first != second
    assert first.rsplit("-", 1)[0] == second.rsplit("-", 1)[0]


@pytest.mark.parametrize("key", ["model.encoder_weights", "data.points_file"])
def test_a_file_counts_by_its_content(configured: Configured, tmp_path: Path, key: str) -> None:
    here, there = tmp_path / "a.dat", tmp_path / "moved" / "b.dat"
    there.parent.mkdir()
    here.write_bytes(b"one")
    there.write_bytes(b"one")

    def print_of(path: Path) -> str:
        return fingerprint(figures(configured(f"{key}={path}")[0]))

    first = print_of(here)
    assert print_of(there) == first
    there.write_bytes(b"two")
    assert print_of(there) != first
    there.unlink()
    with pytest.raises(UserError, match=rf"{key}=.*b\.dat cannot be read: No such file"):
        print_of(there)


def test_a_run_without_crops_is_the_run_that_it_was(configured: Configured) -> None:
    new = figures(configured()[0])
    old = {key: value for key, value in new.items() if key != "data.crop"}
    assert not differing_keys(old, new, {})
    assert differing_keys(old, new | {"data.crop": 64}, {}) == ["data.crop: None → 64"]


def test_a_file_of_points_may_be_named_as_it_lies_in_the_folder(configured: Configured, tmp_path: Path) -> None:
    root = make(tmp_path / "own", ["a.png"], points=2)
    (root / "points.csv").rename(root / "clicks.csv")
    words = ("data=folder", f"data.root={root}", "points=all")
    inside, whole = (configured(*words, f"data.points_file={p}")[0] for p in ("clicks.csv", root / "clicks.csv"))
    assert figures(inside) == figures(whole)
    schema.check(inside)  # points=all are all of the file's where there is no mask


def test_figures_are_plain_values_without_neutral_keys(configured: Configured) -> None:
    flat = figures(configured()[0])
    assert flat["data.size"] == 256
    assert flat["loss.gamma"] == 2.0
    assert flat["points"] == 20
    assert not [key for key in flat if key.startswith(("study", "logger", "callbacks", "data.root"))]
    assert flat == flatten(dict(flat.items()))


def test_differing_keys_are_named_with_both_values() -> None:
    old, new = {"loss.gamma": 2.0, "data.size": 256, "seed": 0}, {"loss.gamma": 1, "data.size": 256.0, "seed": 3}
    assert differing_keys(old, new, {}) == ["loss.gamma: 2.0 → 1", "seed: 0 → 3"]
    assert differing_keys({"a": True}, {"a": 1}, {}) == ["a: True → 1"]


def test_a_key_that_an_older_run_lacks_counts_as_its_default() -> None:
    old, defaults = {"seed": 0}, {"seed": 0, "loss.smooth": 0.5}
    assert not differing_keys(old, {"seed": 0, "loss.smooth": 0.5}, defaults)
    assert not differing_keys({"seed": 0, "loss.smooth": 0.5}, old, defaults)
    assert differing_keys(old, {"seed": 0, "loss.smooth": 1.0}, defaults) == ["loss.smooth: 0.5 → 1.0"]


def test_contents_that_one_run_does_not_state_are_no_difference() -> None:
    assert not differing_keys({"seed": 0}, {"seed": 0, "data.content": "b"}, {})
    assert differing_keys({"data.content": "a"}, {"data.content": "b"}, {}) == ["data.content: 'a' → 'b'"]


def test_names_of_before_are_the_same_runs() -> None:
    old = {"model._target_": "sparse_seg.model.unet", "data.source._target_": "sparse_seg.data.dubai.dubai"}
    new = {"model._target_": "sparse_seg.networks.create", "data.source._target_": "sparse_seg.data.dubai"}
    assert not differing_keys(old, new | {"model.arch": "unet"}, {})
    assert differing_keys(old, new | {"model.arch": "fpn"}, {}) == ["model.arch: 'unet' → 'fpn'"]


def test_options_that_older_runs_state_twice_are_the_same_runs() -> None:
    new = {"data.source._target_": "sparse_seg.data.folder", "data.bands": [4, 3, 2], "data.tile": 256}
    old = new | {"data.source._target_": "sparse_seg.data.own.folder"}
    old |= {"data.source.bands": [4, 3, 2], "data.source.tile": 256}
    assert not differing_keys(old, new, {})
    assert differing_keys(old, new | {"data.tile": 64}, {}) == ["data.tile: 256 → 64"]
    own = {"data.source._target_": "sparse_seg.data.synthetic", "data.size": 256, "data.source.size": 256}
    assert differing_keys(own, own | {"data.source.size": 320}, {}) == ["data.source.size: 256 → 320"]
