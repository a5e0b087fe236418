"""`python train.py WORDS` without a process of its own, and the words of a run that takes a second."""

import contextlib
import io
import json
import os
import runpy
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from sparse_seg.runs import schema

ROOT = Path(__file__).resolve().parent.parent
SYNTHETIC = ("data=synthetic", "data.source.images=6", "data.source.size=64")
SMALL = (
    "data.size=32", "data.batch_size=4", "model.encoder=resnet18", "model.encoder_weights=null", "trainer=cpu",
    "trainer.max_epochs=1",
)  # fmt: skip
TINY = SYNTHETIC + SMALL
"""Five training images, one validation image, one step per epoch."""
BARE = ("logger=none", "callbacks.checkpoint=null", "callbacks.panels=null")
"""Leaves out what takes longer than the training itself."""


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


def train(*words: str, cwd: Path) -> Outcome:
    """Run train.py as a script, in the folder cwd. An exception that would end in a traceback is raised here."""
    assert not GlobalHydra.instance().is_initialized()
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.chdir(cwd)
        patch.setattr(sys, "argv", [str(ROOT / "train.py"), *words])
        # Where this is set, Hydra raises instead of printing.
        patch.delenv("HYDRA_FULL_ERROR", raising=False)
        environment = dict(os.environ)
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as e:
            code = e.code if isinstance(e.code, int) else int(e.code is not None)
        finally:
            HydraConfig.instance().cfg = None
            os.environ.clear()
            os.environ.update(environment)  # Lightning leaves seeds and ranks behind
    return Outcome(code, out.getvalue(), err.getvalue())


def results(folder: Path) -> list[Path]:
    """The folders of the finished runs anywhere below folder."""
    return sorted(path.parent for path in folder.rglob("result.json"))


def trained(*words: str, cwd: Path) -> tuple[Path, dict[str, Any]]:
    """Train the one run of an empty cwd and return its folder and result."""
    outcome = train(*words, cwd=cwd)
    assert outcome.code == 0, outcome.err
    (folder,) = results(cwd)
    return folder, json.loads((folder / "result.json").read_text(encoding="utf-8"))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below folder, with what is in it."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


Configured = Callable[..., tuple[DictConfig, dict[str, str]]]


@contextlib.contextmanager
def configuration() -> Iterator[Configured]:
    """Give a function of the words on a command line → configuration and the choice of each group."""
    schema.register()

    def configured(*words: str) -> tuple[DictConfig, dict[str, str]]:
        cfg = compose("config", overrides=list(words), return_hydra_config=True)
        choices = dict(cfg.hydra.runtime.choices)
        with open_dict(cfg):
            del cfg["hydra"]
        return cfg, choices

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield configured
