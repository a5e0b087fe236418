"""One job: check → claim its folder → train. A refused configuration is answered before torch is loaded."""

import os
import sys
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from sparse_seg.data.sample import ImageSet
from sparse_seg.data.split import split_indices
from sparse_seg.errors import UserError
from sparse_seg.runs import child, identity, schema
from sparse_seg.runs.folder import claim, finished, held, log, logging_to, run_folder
from sparse_seg.runs.sources import errors_of_constructors, forget, image_set


def run(cfg: DictConfig) -> dict[str, Any] | None:
    """Train, score and record one run; in a sweep, have a child process do it and return how it went.

    A finished run is left alone, an interrupted one goes on. Ends the process with exit code 1 and a message of one
    or two lines when something the user gave cannot be used.
    """
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return child.run_job(cfg)
    try:
        with errors_of_constructors():
            _run(cfg)
    except UserError as e:
        if os.environ.get("HYDRA_FULL_ERROR"):
            raise
        if _is_first_process():
            print(f"error: {e}", file=sys.stderr)
        sys.exit(1)
    return None


def _is_first_process() -> bool:
    """False in the processes that DDP starts beside this one: they train, and leave the run's folder alone."""
    return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"


def _run(cfg: DictConfig) -> None:
    schema.check(cfg)
    forget()
    choices = HydraConfig.get().runtime.choices
    folder = run_folder(cfg, choices)
    OmegaConf.resolve(cfg)
    first = _is_first_process()
    if first and not cfg.overwrite and finished(cfg, choices, folder):
        print(f"done already: {folder}")
        return
    images = image_set(cfg)
    split_indices(
        images.samples, cfg.split, cfg.data.val_fraction, cfg.data.split_seed, cfg.data.val_tiles, cfg.data.fold
    )
    figures = identity.figures(cfg, images.content) | _resolve_auto(cfg)
    if not first:
        child.end_with_parent()  # the first process, without which this one would wait for ever
        _train(cfg, images, folder, figures, first)
        return
    with held(folder):
        if not cfg.overwrite and finished(cfg, choices, folder):  # by another process, since it was asked above
            print(f"done already: {folder}")
            return
        claim(folder, cfg, figures, choices)
        with logging_to(folder / "log.txt"):
            log.info("run %s (process %d)", folder, os.getpid())
            _train(cfg, images, folder, figures, first)


def _resolve_auto(cfg: DictConfig) -> dict[str, Any]:
    """What `auto` comes to on this machine."""
    from sparse_seg.training.hardware import channels_last, native_precision  # torch

    precision = str(cfg.trainer.precision)
    if precision == "auto":
        precision = native_precision(cfg.trainer.accelerator)
    return {"trainer.precision": precision, "channels_last": channels_last(cfg.trainer.accelerator, precision)}


def _train(cfg: DictConfig, images: ImageSet, folder: Path, figures: identity.Flat, first: bool) -> None:
    from sparse_seg.runs.fit import train  # Lightning, and the networks

    train(cfg, images, folder, figures, first)
