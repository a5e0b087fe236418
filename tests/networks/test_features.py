"""Features from the disk: the same bits, of the same encoder and image, and never a reason to fail."""

import copy
import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from sparse_seg.networks import features as module
from sparse_seg.networks.build import create
from sparse_seg.networks.features import Features
from sparse_seg.networks.probe import Probe

MEAN, STD = torch.full((1, 3, 1, 1), 0.4), torch.full((1, 3, 1, 1), 0.3)
IMAGE = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0))


def refusing(*_: Any) -> None:
    """In place of what runs the encoder."""
    raise AssertionError("the encoder ran")


def probe_of(seed: int = 0) -> Probe:
    torch.manual_seed(seed)
    made = create("probe", "resnet18", None, classes=4).eval().network
    assert isinstance(made, Probe)
    return made


def features_of(folder: Path | None, probe: Probe | None = None, mean: torch.Tensor = MEAN) -> Features:
    return Features(probe or probe_of(), mean, STD, folder)


def only_read(features: Features, monkeypatch: pytest.MonkeyPatch) -> Features:
    monkeypatch.setattr(features.probe, "deeper", refusing)
    return features


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_they_are_the_levels_of_the_probe(tmp_path: Path) -> None:
    expected = [level[0] for level in probe_of().levels((IMAGE[None] - MEAN) / STD)]
    torch.testing.assert_close(features_of(tmp_path)(IMAGE), expected)


def test_what_was_kept_is_the_same_bits_without_the_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = features_of(None)(IMAGE)
    assert same(features_of(tmp_path)(IMAGE), computed)
    assert len(list(tmp_path.iterdir())) == 1
    strided = IMAGE.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert same(only_read(features_of(tmp_path), monkeypatch)(strided), computed)


def test_other_weights_normalisation_pixels_and_shapes_are_other_files(tmp_path: Path) -> None:
    other = copy.deepcopy(probe_of())
    with torch.no_grad():
        next(other.encoder.parameters()).view(-1)[0] += 1e-3
    features_of(tmp_path)(IMAGE)
    features_of(tmp_path, other)(IMAGE)
    features_of(tmp_path, mean=MEAN + 1e-3)(IMAGE)
    features_of(tmp_path)(IMAGE + 1e-3)
    features_of(tmp_path)(IMAGE.reshape(3, 96, 64))
    assert len(list(tmp_path.iterdir())) == 5
    features_of(tmp_path)(IMAGE)
    assert len(list(tmp_path.iterdir())) == 5


def flipped(content: bytes) -> bytes:
    return content[:-100] + bytes([content[-100] ^ 1]) + content[-99:]


@pytest.mark.parametrize("damage", [flipped, lambda c: c[:-7], lambda c: b"", lambda c: b"\xff" * 200])
def test_a_damaged_file_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Any) -> None:
    computed = features_of(tmp_path)(IMAGE)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert same(features_of(tmp_path)(IMAGE), computed)
    assert path.read_bytes() == whole
    assert same(only_read(features_of(tmp_path), monkeypatch)(IMAGE), computed)


def test_a_full_disk_is_said_once_and_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    computed, features = features_of(None)(IMAGE), features_of(tmp_path)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.warns(UserWarning, match="not kept for the next run: .* No space left on device"):
        found = features(IMAGE)
    assert same(found, computed)
    features(IMAGE + 0.1)  # a second warning would be an error
    assert not list(tmp_path.iterdir())


def test_what_was_not_used_for_longest_makes_room_and_this_run_keeps_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [torch.full((3, 64, 64), k / 10) for k in range(6)]
    old = features_of(tmp_path)
    for k, image in enumerate(images[:3]):
        before = set(tmp_path.iterdir())
        old(image)
        (path,) = set(tmp_path.iterdir()) - before
        os.utime(path, (1000 + k, 1000 + k))
    size = path.stat().st_size
    monkeypatch.setattr(module, "LIMIT", 4 * size)
    features = features_of(tmp_path)
    features(images[0])  # used now
    features(images[3])
    features(images[4])  # room for three of four is made: images 1 and 2 go
    features(images[5])
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) <= 4 * size
    later = only_read(features_of(tmp_path), monkeypatch)
    for k in (0, 3, 4, 5):
        later(images[k])
    with pytest.raises(AssertionError, match="the encoder ran"):
        later(images[1])
    monkeypatch.undo()
    monkeypatch.setattr(module, "LIMIT", 4 * size)
    features(images[1])  # nothing old is left: not kept
    assert len(list(tmp_path.iterdir())) == 4
