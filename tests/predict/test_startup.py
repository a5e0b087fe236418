"""What a command imports before it answers: no torch for help or a refused word, and never what only training needs."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli import ROOT
from labelled import checkpoint
from PIL import Image

TRAINING = {"lightning", "pytorch_lightning", "albumentations", "torchmetrics", "tensorboard"}
HEAVY = {"torch", "torchvision", "timm", "segmentation_models_pytorch", "scipy", *TRAINING}
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
COMMANDS = ("predict", "suggest", "data", "report", "bench", "annotate")
CALL = """
import runpy, sys
sys.argv = [sys.argv[1], *sys.argv[2:]]
code = 0
try:
    runpy.run_module(f"sparse_seg.{sys.argv[0]}", run_name="__main__", alter_sys=True)
except SystemExit as e:
    code = e.code
print("modules", *sorted({name.split(".")[0] for name in sys.modules}))
sys.exit(code)
"""


def call(*words: str, cwd: Path) -> tuple[int, str, set[str]]:
    """Exit code, stderr, and top-level modules at the end, of a command in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-c", CALL, *words], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )
    modules = set(ended.stdout.rpartition("modules ")[2].split())
    return ended.returncode, ended.stderr, modules


@pytest.mark.parametrize("command", COMMANDS)
def test_help_comes_without_torch(tmp_path: Path, command: str) -> None:
    code, said, modules = call(command, "--help", cwd=tmp_path)
    assert code == 0, said
    assert not modules & (HEAVY | {"matplotlib", "pandas", "pooch", "requests", "hydra"})


@pytest.mark.parametrize("command", ["predict", "suggest"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nosuch", "a.png"), "no such run or checkpoint: nosuch"),
        (("a.png", "a.png", "--window", "-64"), "--window -64 must be a multiple of 1, and at least 1"),
        (("a.png", "a.png", "--window", "64", "--overlap", "64"), "--overlap 64 must be at least 0"),
        (("a.png", "a.png", "--batch-size", "0"), "--batch-size 0 must be at least 1"),
        (("a.png", "none.png"), "no such image or folder: none.png"),
        (("a.png", "a.png", "--masks", "none"), "--masks none is no folder"),
    ],
)
def test_a_refused_word_needs_no_torch(tmp_path: Path, command: str, words: tuple[str, ...], message: str) -> None:
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    code, said, modules = call(command, *words, "--out", "out", cwd=tmp_path)
    assert code == 1
    assert said.startswith("error: ")
    assert message in said
    assert not modules & (HEAVY | {"matplotlib"})
    assert not (tmp_path / "out").exists()


def test_labelling_needs_nothing_of_training_and_suggesting_draws(tmp_path: Path) -> None:
    network = checkpoint(tmp_path / "best.ckpt")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "mask.png")
    (tmp_path / "masks").mkdir()
    (tmp_path / "mask.png").rename(tmp_path / "masks" / "a.png")
    words = (str(network), "a.png", "--device", "cpu", "--masks", "masks")
    code, said, modules = call("predict", *words, "--out", "out", "--overlay", "--confidence", cwd=tmp_path)
    assert code == 0, said
    assert "torch" in modules
    assert not modules & (TRAINING | {"matplotlib", "pandas"})
    code, said, modules = call("suggest", *words, "--out", "next", cwd=tmp_path)
    assert code == 0, said
    assert "matplotlib" in modules
    assert not modules & (TRAINING | {"pandas"})


def test_the_packages_import_next_to_nothing(tmp_path: Path) -> None:
    names = "sparse_seg", "sparse_seg.predict", "sparse_seg.raster.write", "sparse_seg.data", "sparse_seg.networks"
    code = f"import sys, {', '.join(names)}; print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert not {name.split(".")[0] for name in ended.stdout.split()} & (HEAVY | {"matplotlib", "pandas"})
