"""The typed top level of a configuration, and the checks that come before anything is built."""

import math
import re
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, ListConfig, OmegaConf

from sparse_seg.errors import UserError
from sparse_seg.networks.sizes import size_multiple, size_problem
from sparse_seg.runs.sources import taken

PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed", "64-true")


@dataclass
class Config:
    """Top-level keys; Hydra refuses a key or a type that is not here. Each group is one object with its `_target_`."""

    points: Any = 20  # a positive integer or "all"; OmegaConf knows no such union
    split: str = "random"
    seed: int = 0
    study: str = "runs"
    overwrite: bool = False
    output_dir: str = "outputs"
    data: Any = field(default_factory=dict)
    model: Any = field(default_factory=dict)
    method: Any = field(default_factory=dict)
    prior: Any = field(default_factory=dict)
    loss: Any = field(default_factory=dict)
    augment: Any = field(default_factory=dict)
    optimizer: Any = field(default_factory=dict)
    scheduler: Any = field(default_factory=dict)
    trainer: Any = field(default_factory=dict)
    scores: Any = field(default_factory=dict)
    callbacks: Any = field(default_factory=dict)
    logger: Any = field(default_factory=dict)


def register() -> None:
    """Make `schema` known to the defaults list of conf/config.yaml."""
    ConfigStore.instance().store(name="schema", node=Config)
    # For each group that it lists, Hydra 1.3 copies the store with the configurations of all plugins: 1.4 s of --help
    # with those of Slurm and Ray. There is one store, which hands out copies of what it holds.
    ConfigStore.__deepcopy__ = lambda self, memo: self  # type: ignore[attr-defined]


def check(cfg: DictConfig) -> None:
    """Refuse values that cannot work. Raises UserError naming key, value and what is allowed."""
    if cfg.points != "all":
        _whole(cfg, "points", least=1, other="all")
    if cfg.split not in ("random", "tile"):
        raise UserError(f"split={cfg.split!r} is unknown; choose random or tile")
    if _whole(cfg, "seed", least=0) >= 2**32:
        raise UserError(f"seed={cfg.seed} must be below {2**32}, as NumPy's and PyTorch's seeds")
    if not re.fullmatch(r"[\w.-]+", cfg.study) or cfg.study.strip(".") == "":
        raise UserError(f"study={cfg.study!r} must be one folder name of letters, digits, '_', '.', '-'")
    arch = str(cfg.model.get("arch", ""))
    multiple = size_multiple(arch)
    size = _whole(cfg.data, "size", least=multiple, prefix="data.")
    if problem := size_problem(size, multiple, arch):
        raise UserError(f"data.size={size} {problem}")
    if cfg.data.get("crop") is not None:
        crop = _whole(cfg.data, "crop", least=multiple, prefix="data.", other="null")
        if problem := size_problem(crop, multiple, arch):
            raise UserError(f"data.crop={crop} {problem}")
        if crop > size:
            raise UserError(f"data.crop={crop} must be at most data.size={size}, which it is cut from")
        if str(cfg.method.get("_target_")).endswith(".ProbeTask"):
            raise UserError(f"data.crop={crop} cuts what a network trains on, and method=probe reads whole images")
    _whole(cfg.data, "batch_size", least=1, prefix="data.")
    _whole(cfg.data, "num_workers", least=0, prefix="data.")
    fraction = cfg.data.val_fraction
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction < 1:
        raise UserError(f"data.val_fraction={fraction!r} must be a number between 0 and 1")
    _whole(cfg.data, "split_seed", least=0, prefix="data.")
    if cfg.data.fold is not None:
        _whole(cfg.data, "fold", least=0, prefix="data.", other="null")
    if not (cfg.data.val_tiles is None or isinstance(cfg.data.val_tiles, ListConfig)):
        raise UserError(f"data.val_tiles={cfg.data.val_tiles!r} must be a list of tiles, [1,5], or null")
    if cfg.split == "random" and (cfg.data.fold is not None or cfg.data.val_tiles is not None):
        raise UserError("data.fold and data.val_tiles belong to split=tile; this is split=random")
    if cfg.prior and "_target_" not in cfg.prior:
        words = ", ".join(f"prior.{key}={value}" for key, value in cfg.prior.items())
        raise UserError(f"{words} is of a prior, and this is prior=none; choose prior=estimated, network or given")
    if str(cfg.prior.get("_target_")).endswith(".given_prior") and not cfg.prior.get("shares"):
        raise UserError("prior=given needs prior.shares=FILE: a table of image, class and share")
    if OmegaConf.is_missing(cfg.loss, "_target_"):
        raise UserError("this loss needs a function or class of yours: loss._target_=pkg.fn")
    lr = cfg.optimizer.get("lr", 1.0)
    if isinstance(lr, bool) or not isinstance(lr, int | float) or not 0 < lr < math.inf:
        raise UserError(f"optimizer.lr={lr!r} must be a positive number")
    epochs = _whole(cfg.trainer, "max_epochs", least=1, prefix="trainer.")
    every = cfg.trainer.get("check_val_every_n_epoch", 1)
    if isinstance(every, bool) or not isinstance(every, int) or every < 1 or epochs % every:
        raise UserError(
            f"trainer.check_val_every_n_epoch={every!r} must be a divisor of trainer.max_epochs={epochs}: "
            "the last epoch gives the final scores"
        )
    if cfg.trainer.get("limit_val_batches") == 0:
        raise UserError("trainer.limit_val_batches=0 leaves nothing to score; leave it out")
    if not cfg.callbacks.get("history"):
        raise UserError(
            "callbacks.history cannot be left out: result.json is made of it; any other callback can be null"
        )
    if str(cfg.trainer.precision) not in PRECISIONS:
        raise UserError(f"trainer.precision={cfg.trainer.precision!r} is unknown; choose {', '.join(PRECISIONS)}")
    if cfg.data.points_file is not None and cfg.points == "all" and "points_file" not in taken(cfg.data):
        raise UserError("points=all trains on full masks; leave out data.points_file, or points=all")


def _whole(node: DictConfig, key: str, least: int, prefix: str = "", other: str | None = None) -> int:
    value = node[key]
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        allowed = ("a positive integer" if least == 1 else f"an integer of at least {least}") + (
            f" or {other!r}" if other else ""
        )
        raise UserError(f"{prefix}{key}={value!r} must be {allowed}")
    return value
