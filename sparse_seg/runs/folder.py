"""The folder of a run: its lock, what it holds, its log. Needs no torch."""

import logging
import os
import platform
import shutil
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from sparse_seg.errors import UserError
from sparse_seg.files import write_text
from sparse_seg.runs import identity
from sparse_seg.runs.sources import image_set

log = logging.getLogger("sparse_seg")
AUTO = ("trainer.precision", "channels_last")
"""Keys of the figures that a machine decides where they are set to `auto`."""
KEPT = (".lock", "owner")
FAILED = "failed.json"
"""What a job of a sweep leaves in its run's folder when it failed."""


def defaults_of(choices: Mapping[str, str]) -> DictConfig:
    """The configuration with the same choice in each group and nothing else changed."""
    name = HydraConfig.get().job.config_name if HydraConfig.initialized() else None
    return compose(name or "config", overrides=[f"{g}={choices[g]}" for g in identity.GROUPS])


def run_folder(cfg: DictConfig, choices: Mapping[str, str]) -> Path:
    """Where the run of a configuration lies: output_dir/study/name."""
    return Path(cfg.output_dir, cfg.study) / identity.folder_name(cfg, defaults_of(choices), choices)


def finished(cfg: DictConfig, choices: Mapping[str, str], folder: Path) -> bool:
    """True if the folder holds this very run, with its result.

    What `auto` came to on the machine that made the result does not count: a finished run stays finished elsewhere.
    The data are looked at last, and only if the run says what they were.
    """
    if not (folder / "result.json").exists():
        return False
    old, figures, defaults = _recorded(folder), identity.figures(cfg), identity.flatten(defaults_of(choices))

    def same() -> bool:
        differing = [d.split(":")[0] for d in identity.differing_keys(old, figures, defaults)]
        return all(key in AUTO and figures.get(key, "auto") == "auto" for key in differing)

    if not same():
        return False
    if identity.CONTENT in old:
        figures[identity.CONTENT] = image_set(cfg).content
    return same()


def is_finished(cfg: DictConfig, choices: Mapping[str, str], folder: Path) -> bool:
    """As `finished`, for who lists jobs: False where it cannot be told, or the run is to start anew."""
    try:
        return not cfg.overwrite and finished(cfg, choices, folder)
    except UserError:
        return False  # the job itself will say what is wrong


def _recorded(folder: Path) -> identity.Flat:
    """The figures in a run's config.yaml, empty without one."""
    path = folder / "config.yaml"
    if not path.exists():
        return {}
    return dict(yaml.safe_load(path.read_text(encoding="utf-8"))["figures"])


def _differing(folder: Path, figures: identity.Flat, choices: Mapping[str, str]) -> list[str]:
    old = _recorded(folder)
    return identity.differing_keys(old, figures, identity.flatten(defaults_of(choices))) if old else []


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make the folder if need be and hold its lock, which dies with its owner.

    Raises UserError if it cannot be written or another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=1)  # who lists the runs of a study holds it for a moment
        lock.acquire()
    except Timeout:
        owner = folder / "owner"
        process = owner.read_text(encoding="utf-8") if owner.exists() else "unknown"
        raise UserError(f"{folder} is being trained by process {process}; wait for it, or stop it") from None
    except OSError as e:
        raise UserError(f"the run's folder {folder} cannot be written ({e.strerror}); set output_dir=...") from e
    try:
        (folder / "owner").write_text(f"{os.getpid()} on {platform.node()}", encoding="utf-8")
        yield
    finally:
        (folder / "owner").unlink(missing_ok=True)
        lock.release()


def claim(folder: Path, cfg: DictConfig, figures: identity.Flat, choices: Mapping[str, str]) -> None:
    """Write config.yaml into a held folder. Refuses another run's folder, or clears any if `overwrite` says so.

    A job that Slurm starts again clears nothing: what lies there is its own.
    What ended before its first epoch, as a run that met a damaged image, stands in nobody's way.
    """
    if cfg.overwrite and os.environ.get("SLURM_RESTART_COUNT", "0") == "0":
        for item in folder.iterdir():
            if item.name not in KEPT:
                shutil.rmtree(item) if item.is_dir() else item.unlink()
    elif started(folder) and (differing := _differing(folder, figures, choices)):
        raise UserError(
            f"{folder} holds a run of another configuration; it differs in {'; '.join(differing[:5])}\n"
            "give another study=NAME, or overwrite=true to throw the old run away"
        )
    content = {"axes": identity.axes(cfg, choices), "figures": figures, "config": OmegaConf.to_container(cfg)}
    write_text(folder / "config.yaml", yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def started(folder: Path) -> bool:
    """True if an epoch of the run was finished."""
    return any((folder / name).exists() for name in ("history.csv", "result.json"))


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Log to a file and to the screen; where that shows a bar, without the lines of single epochs (level DEBUG).

    Warnings are lines of the log, too.
    """
    log.setLevel(logging.DEBUG)
    log.propagate = False
    to_file = logging.FileHandler(path, encoding="utf-8")
    to_file.setFormatter(logging.Formatter("%(asctime)s  %(message)s"))
    to_screen = logging.StreamHandler(sys.stdout)
    to_screen.setLevel(logging.INFO if sys.stdout.isatty() else logging.DEBUG)
    handlers: list[logging.Handler] = [to_file, to_screen]
    for handler in handlers:
        log.addHandler(handler)

    def as_line(message: Warning | str, *_: Any, **__: Any) -> None:
        log.warning("warning: %s", message)

    with warnings.catch_warnings():
        warnings.showwarning = as_line
        try:
            yield
        except BaseException as e:
            text = str(e) if isinstance(e, UserError) else traceback.format_exc()
            to_file.handle(log.makeRecord(log.name, logging.ERROR, "", 0, "stopped: %s", (text,), None))
            raise
        finally:
            for handler in handlers:
                log.removeHandler(handler)
                handler.close()
