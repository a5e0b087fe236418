"""What cannot be used is answered in one or two lines that name it and the way out, never by a traceback."""

import os
import shutil
import subprocess
import sys
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import safetensors.torch
import segmentation_models_pytorch as smp
import torch
from cli import BARE, ROOT, SMALL, SYNTHETIC, TINY, contents, train

from sparse_seg.classes import LAND_COVER
from sparse_seg.data.dubai import read_registry
from sparse_seg.data.split import split_indices
from sparse_seg.data.synthetic import synthetic_samples

Words = tuple[str, ...]


def refused(*words: str, cwd: Path, data: Words = SYNTHETIC) -> str:
    """Run, check that it fails in one or two lines, and return them."""
    outcome = train(*data, *SMALL, *BARE, *words, cwd=cwd)
    assert outcome.code == 1
    assert "Traceback" not in outcome.out + outcome.err
    lines = outcome.err.splitlines()
    assert lines[0].startswith("error: ")
    assert len(lines) <= 2, outcome.err
    assert not list(cwd.rglob("result.json"))
    return outcome.err.removeprefix("error: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("points=0",), "points=0 must be a positive integer or 'all'"),
        (("points=-3",), "points=-3 must be a positive integer or 'all'"),
        (("points=twenty",), "points='twenty' must be a positive integer or 'all'"),
        (("points=2.5",), "points=2.5 must be"),
        (("points=all", "data.points_file=p.csv"), "leave out data.points_file, or points=all"),
        (("data.size=100",), "data.size=100 must be a multiple of 32 (U-Net halves it five times): 96 or 128"),
        (("data.size=16",), "data.size=16 must be an integer of at least 32"),
        (("data.crop=48",), "data.crop=48 must be a multiple of 32 (U-Net halves it five times): 32 or 64"),
        (("data.crop=64",), "data.crop=64 must be at most data.size=32, which it is cut from"),
        (("data.size=64", "data.crop=32", "method=probe"), "data.crop=32 cuts what a network trains on"),
        (("data.crop=half",), "data.crop='half' must be an integer of at least 32 or 'null'"),
        (("+prior.tau=0.5",), "prior.tau=0.5 is of a prior, and this is prior=none; choose prior=estimated"),
        (("prior=given",), "prior=given needs prior.shares=FILE: a table of image, class and share"),
        (("data.batch_size=0",), "data.batch_size=0 must be a positive integer"),
        (("data.val_fraction=1.5",), "data.val_fraction=1.5 must be a number between 0 and 1"),
        (("data.split_seed=-1",), "data.split_seed=-1 must be an integer of at least 0"),
        (("split=foo",), "split='foo' is unknown; choose random or tile"),
        (("seed=-1",), "seed=-1 must be an integer of at least 0"),
        (("seed=4294967296",), "seed=4294967296 must be below 4294967296"),
        (("study=a/b",), "study='a/b' must be one folder name"),
        (("study=..",), "study='..' must be one folder name"),
        (("trainer.max_epochs=0",), "trainer.max_epochs=0 must be a positive integer"),
        (("trainer.precision=16",), "trainer.precision=16 is unknown; choose auto, 32-true"),
        (("optimizer.lr=-1",), "optimizer.lr=-1 must be a positive number"),
        (("optimizer.lr=fast",), "optimizer.lr='fast' must be a positive number"),
        (("data.fold=1",), "data.fold and data.val_tiles belong to split=tile"),
        (("split=tile", "data.fold=one"), "data.fold='one' must be an integer of at least 0 or 'null'"),
        (("split=tile", "data.val_tiles=3"), "data.val_tiles=3 must be a list of tiles, [1,5], or null"),
        # From here on the data are looked at.
        (("split=tile",), "split=tile needs one of data.val_tiles=[...] and data.fold=k"),
        (("split=tile", "data.fold=9"), "data.fold=9 is out of range; there are 4 tiles: 0 to 3"),
        (("split=tile", "data.val_tiles=[9]"), "data.val_tiles: no tile 9; there are "),
        (("data.val_fraction=0.05",), "data.val_fraction=0.05 of 6 images leaves no validation image"),
        (("data.val_fraction=0.95",), "data.val_fraction=0.95 of 6 images leaves no training image"),
        (("data.points_file=nowhere.csv",), "data.points_file=nowhere.csv cannot be read: No such file"),
        (("model.encoder_weights=nowhere.pth",), "choose imagenet, null or a file"),
    ],
    ids=" ".join,
)
def test_wrong_value_is_refused_before_anything_is_written(tmp_path: Path, words: Words, said: str) -> None:
    assert said in refused(*words, cwd=tmp_path)
    assert not contents(tmp_path)


def test_data_that_are_not_there_are_refused_with_the_ways_to_get_them(tmp_path: Path) -> None:
    said = refused(data=("data=dubai", f"data.root={tmp_path / 'no'}"), cwd=tmp_path)
    assert f"no Dubai data in {tmp_path / 'no'}" in said
    assert "make data" in said
    assert "data.root=FOLDER" in said


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("loss=fokal", ["Could not find 'loss/fokal'", "\tce\n", "\tce_dice\n", "\tfocal\n"]),
        ("data.sise=3", ["Could not override 'data.sise'", "Key 'sise' is not in struct"]),
        ("sead=3", ["Could not override 'sead'", "Key 'sead' not in 'Config'"]),
        ("seed=abc", ["Value 'abc' of type 'str' could not be converted to Integer", "full_key: seed"]),
    ],
)
def test_wrong_word_is_refused_by_hydra_with_the_choices(tmp_path: Path, word: str, said: list[str]) -> None:
    outcome = train(*TINY, word, cwd=tmp_path)
    assert outcome.code == 1
    assert all(part in outcome.err for part in said), outcome.err
    assert "Traceback" not in outcome.err
    assert not contents(tmp_path)


def points_file(path: Path, *rows: str) -> str:
    path.write_text("\n".join(["image,row,col,class", *rows]) + "\n")
    return f"data.points_file={path}"


def test_points_of_validation_images_alone_are_refused(tmp_path: Path) -> None:
    samples = synthetic_samples(6, 64)
    (held_out,) = split_indices(samples, "random", 0.2)[1]
    word = points_file(tmp_path / "p.csv", f"{samples[held_out].image_id},3,4,Water")
    assert "no training image has a labelled pixel" in refused(word, cwd=tmp_path)


def test_point_outside_its_image_is_refused(tmp_path: Path) -> None:
    name = synthetic_samples(6, 64)[0].image_id
    word = points_file(tmp_path / "p.csv", f"{name},3,4,Water", f"{name},64,4,Land")
    said = refused(word, cwd=tmp_path)
    assert f"p.csv, line 3: x=4, y=64 (column, row) lies outside image {name!r}" in said


NAN_LOSS = """
import torch.nn.functional as F

step = 0

def nan(logits, target):
    global step
    step += 1
    loss = F.cross_entropy(logits.float(), target, ignore_index=255)
    return loss * float("nan") if step == 3 else loss
"""


def test_loss_that_is_nan_stops_the_run_and_keeps_the_last_good_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nanpkg.py").write_text(NAN_LOSS)
    monkeypatch.syspath_prepend(tmp_path)
    words = ("trainer.max_epochs=5", "loss=custom", "loss._target_=nanpkg.nan", "logger=none", "callbacks.panels=null")
    outcome = train(*TINY, *words, cwd=tmp_path)
    sys.modules.pop("nanpkg")
    assert outcome.code == 1
    assert "Traceback" not in outcome.err
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: the loss is nan at step 3 (epoch 3);")
    assert "optimizer.lr" in line
    (folder,) = (tmp_path / "outputs/runs").iterdir()
    assert not (folder / "result.json").exists()
    assert len((folder / "history.csv").read_text().splitlines()) == 1 + 2
    assert "stopped: the loss is nan" in (folder / "log.txt").read_text().splitlines()[-1]
    kept = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    assert kept["epoch"] == 1  # the second one, Lightning counts from 0
    assert all(value.isfinite().all() for value in kept["state_dict"].values() if value.is_floating_point())
    (folder / "checkpoints/last.ckpt").unlink()  # 170 MB


@pytest.fixture(scope="module")
def encoder_weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A file with the random weights of an encoder, by name."""
    folder = tmp_path_factory.mktemp("weights")

    def save(encoder: str) -> Path:
        path = folder / f"{encoder}.safetensors"
        if not path.exists():
            safetensors.torch.save_file(smp.encoders.get_encoder(encoder, weights=None).state_dict(), path)
        return path

    return save


@pytest.mark.parametrize(("encoder", "other"), [("resnet34", "resnet18"), ("resnet18", "mobilenet_v2")])
def test_weights_of_another_network_are_refused_with_the_first_keys(
    tmp_path: Path, encoder_weights: Callable[[str], Path], encoder: str, other: str
) -> None:
    path = encoder_weights(other)
    said = refused(f"model.encoder={encoder}", f"model.encoder_weights={path}", cwd=tmp_path)
    assert f"model.encoder_weights={path} holds another network than model.encoder: " in said
    missing = "layer1.2.conv1.weight" if encoder == "resnet34" else "conv1.weight, bn1.weight, bn1.bias"
    assert f"tensors missing ({missing}" in said
    assert "the file's first unused keys: " + ("none" if encoder == "resnet34" else "features.0.1.num_batches") in said


def test_weights_of_a_deeper_network_are_refused(tmp_path: Path, encoder_weights: Callable[[str], Path]) -> None:
    said = refused("model.encoder=resnet18", f"model.encoder_weights={encoder_weights('resnet34')}", cwd=tmp_path)
    assert "first unused keys: layer1.2." in said


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("content", ["text", "truncated"])
def test_file_that_holds_no_whole_weights_is_refused(
    tmp_path: Path, encoder_weights: Callable[[str], Path], suffix: str, content: str
) -> None:
    path = tmp_path / f"w{suffix}"
    if content == "text":
        path.write_text("no weights at all")
    else:
        if suffix == ".pth":
            torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, path)
        else:
            shutil.copy(encoder_weights("mobilenet_v2"), path)
        os.truncate(path, path.stat().st_size // 2)
    assert f"model.encoder_weights={path} cannot be read as weights: " in refused(
        f"model.encoder_weights={path}", cwd=tmp_path
    )


def test_unknown_encoder_is_refused(tmp_path: Path) -> None:
    said = refused("model.encoder=resnet99", cwd=tmp_path)
    assert "model.encoder=resnet99 is not an encoder of segmentation_models_pytorch" in said


@pytest.mark.parametrize("method", ["points", "probe"])
def test_imagenet_weights_that_cannot_be_had_name_both_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    build = smp.create_model

    def offline(*words: Any, encoder_weights: str | None, **options: Any) -> Any:
        if encoder_weights == "imagenet":
            raise urllib.error.URLError("Name or service not known")
        return build(*words, encoder_weights=encoder_weights, **options)

    monkeypatch.setattr(smp, "create_model", offline)
    said = refused(f"method={method}", "model.encoder_weights=imagenet", cwd=tmp_path)
    assert "the ImageNet weights of resnet18 cannot be loaded (URLError: " in said
    assert "model.encoder_weights=null" in said
    assert "model.encoder_weights=FILE" in said


def test_wrong_argument_of_an_object_names_the_object(tmp_path: Path) -> None:
    assert refused("+loss.speed=3", cwd=tmp_path).startswith("cannot build `loss`: PartialFocal.__init__() got an unex")
    # Hydra's name of terms[1].
    assert refused("loss=ce_dice", "+loss.terms.1.k=3", cwd=tmp_path).startswith("cannot build `loss.terms1`: ")
    assert refused("loss=custom", "loss._target_=pkg.no", cwd=tmp_path).startswith("cannot build `loss`: ")


def test_output_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = refused(f"output_dir={tmp_path}/file/out", cwd=tmp_path)
    assert f"the run's folder {tmp_path}/file/out/runs/" in said
    assert "cannot be written (Not a directory); set output_dir=..." in said
    assert set(contents(tmp_path)) == {"file"}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Dubai set's 72 images and masks by name, of 24 × 20 pixels."""
    root = tmp_path_factory.mktemp("dubai")
    rng = np.random.default_rng(0)
    colours = np.array(LAND_COVER.colours, np.uint8)
    for path in read_registry():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith(".jpg"):
            PIL.Image.fromarray(rng.integers(0, 256, (20, 24, 3)).astype(np.uint8)).save(root / path)
        elif path.endswith(".png"):
            PIL.Image.fromarray(colours[rng.integers(0, 5, (20, 24))]).save(root / path)
    return root


def truncate(image: Path, mask: Path) -> str:
    os.truncate(image, image.stat().st_size // 2)
    return f"{image} is damaged or no image: "


def shrink(image: Path, mask: Path) -> str:
    PIL.Image.open(mask).crop((0, 0, 24, 19)).save(mask)
    return f"image {image} is 24×20 but its mask {mask} is 24×19"


def remove(image: Path, mask: Path) -> str:
    mask.unlink()
    return "images without mask (1): Tile 3/masks/image_part_004.png"


def recolour(image: Path, mask: Path) -> str:
    PIL.Image.new("RGB", (24, 20), (0x50, 0xE3, 0xC2)).save(mask)
    return f"{mask}: 100% of the pixels hold the value of no class, mostly #50E3C2 (100%)"


@pytest.mark.parametrize("damage", [truncate, shrink, remove, recolour])
def test_damaged_data_are_refused_with_the_file(
    tmp_path: Path, published: Path, damage: Callable[[Path, Path], str]
) -> None:
    root = tmp_path / "data"
    shutil.copytree(published, root)
    expected = damage(root / "Tile 3/images/image_part_004.jpg", root / "Tile 3/masks/image_part_004.png")
    (tmp_path / "cwd").mkdir()
    assert expected in refused(data=("data=dubai", f"data.root={root}"), cwd=tmp_path / "cwd")


def script(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """train.py in a process of its own, in which torch cannot be imported."""
    code = "import runpy, sys; sys.modules['torch'] = None; sys.argv[:] = sys.argv[1:]; "
    code += "sys.path.insert(0, '.'); runpy.run_path('train.py', run_name='__main__')"
    command = [sys.executable, "-c", code, "train.py", *words]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True)


def test_refusal_needs_no_torch_and_is_all_that_is_printed() -> None:
    answer = script("points=0")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == "error: points=0 must be a positive integer or 'all'\n"


def test_full_error_shows_where_it_was_raised() -> None:
    answer = script("points=0", HYDRA_FULL_ERROR="1")
    assert answer.returncode != 0
    assert "Traceback" in answer.stderr
    assert 'schema.py", line' in answer.stderr
    assert answer.stderr.splitlines()[-1].endswith("UserError: points=0 must be a positive integer or 'all'")
