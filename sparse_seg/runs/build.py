"""The objects of a run, built from its configuration."""

import functools
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from hydra.utils import instantiate
from lightning import Callback
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf
from torch import nn

from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.data.sample import ImageSet
from sparse_seg.errors import UserError
from sparse_seg.losses import as_module
from sparse_seg.networks.sizes import size_problem
from sparse_seg.networks.trained import described
from sparse_seg.runs.folder import log
from sparse_seg.runs.sources import of_data_module
from sparse_seg.training.checkpoint import RunCheckpoint
from sparse_seg.training.scores import Score, as_score
from sparse_seg.training.shares import own_shares
from sparse_seg.training.task import SegmentationTask

Method = functools.partial[SegmentationTask]


def data_module(cfg: DictConfig, images: ImageSet, views: int = 1) -> SparsePointsDataModule:
    """The data module of a run, set up.

    Args:
        cfg: the configuration.
        images: its data set.
        views: 2 where the method asks for images with colours drawn anew.
    """
    options = of_data_module(cfg.data) | ({} if views == 1 else {"views": views})
    # Called outside of Hydra, which would turn the data classes into a configuration.
    build = instantiate({**options, "_convert_": "all", "_partial_": True})
    data: SparsePointsDataModule = build(
        source=images, points=cfg.points, split=cfg.split, seed=cfg.seed, augment=instantiate(cfg.augment) or None
    )
    data.setup()
    return data


def method(cfg: DictConfig) -> Method:
    """The class of the training method, with the arguments that its YAML gives it.

    Raises:
        UserError: it is no subclass of `SegmentationTask`.
    """
    made: Method = instantiate(cfg.method, _partial_=True)
    kind = getattr(made, "func", made)
    if not (inspect.isclass(kind) and issubclass(kind, SegmentationTask)):
        name = cfg.method.get("_target_")
        raise UserError(f"method._target_={name} must be a subclass of sparse_seg.training.SegmentationTask")
    return made


def views(method: Method) -> int:
    """How many views of an image the method asks the data for."""
    return cast("type[SegmentationTask]", method.func).views


def task(
    cfg: DictConfig, method: Method, images: ImageSet, data: SparsePointsDataModule, channels_last: bool
) -> SegmentationTask:
    """Network, loss, optimizer, schedule and scores in the hands of the method."""
    # Below its key, which an error names.
    loss = OmegaConf.create({"loss": with_balanced_weights(cfg.loss, data.class_counts)}).loss
    built = network(cfg, images)
    made = method(
        built,
        as_module(instantiate(loss)),
        class_names=images.classes.names,
        optimizer=instantiate(cfg.optimizer),
        scheduler=instantiate(cfg.scheduler) or None,
        seed=cfg.seed,
        channels_last=channels_last,
        scores=scores(cfg, images.classes.names, data.scored_on),
    )
    if cfg.prior:
        made.use_shares(instantiate(cfg.prior)(built, data))
    elif made.wants_shares:
        made.use_shares(own_shares(data))
    return made


def network(cfg: DictConfig, images: ImageSet) -> nn.Module:
    """The network of `model` for the data set's classes and bands."""
    # Networks of the user's own need not know of other images than RGB.
    bands = {} if images.channels == 3 else {"in_channels": images.channels}
    built: nn.Module = instantiate(cfg.model, classes=len(images.classes), **bands)
    arch, encoder = str(cfg.model.get("arch", "")), cfg.model.get("encoder")
    for key in ("size", "crop"):
        if (side := cfg.data.get(key)) is None:
            continue
        if problem := size_problem(side, getattr(built, "size_multiple", 1), arch):
            raise UserError(f"data.{key}={side} {problem}, for {encoder}")
        if arch not in ("", "unet"):  # of the others, some encoders fail in the first step only
            try:
                with torch.inference_mode():
                    built.eval()(torch.zeros(1, images.channels, side, side))
            except Exception as e:
                line = (str(e).splitlines() or [type(e).__name__])[0][:200]
                raise UserError(
                    f"model.encoder={encoder} does not fit model.arch={arch} at data.{key}={side}: {line}"
                ) from e
            built.train()
    return built


def scores(cfg: DictConfig, class_names: Sequence[str], scored_on: str) -> dict[str, Score]:
    """The scores of `scores`, by name, less those that need masks where single points validate."""
    made = {str(name): as_score(str(name), instantiate(node), class_names) for name, node in cfg.scores.items() if node}
    if scored_on == "points":
        for name in [n for n, score in made.items() if getattr(score, "needs_masks", False)]:
            log.info("scores.%s needs masks, and is left out: points validate", name)
            del made[name]
    return made


def with_balanced_weights(node: Any, counts: list[int]) -> Any:
    """Replace every `class_weights: balanced` below a loss's configuration by numbers.

    A class that holds a share of the labelled training pixels gets the weight (1 / classes) ÷ share, as scikit-learn's
    `compute_class_weight("balanced")`; a class without points gets 0.

    Args:
        node: a loss's configuration, or a part of one.
        counts: labelled training pixels of each class.

    Returns:
        The configuration in plain values.
    """
    plain = OmegaConf.to_container(node) if isinstance(node, DictConfig) else node
    if isinstance(plain, dict):
        out = {k: with_balanced_weights(v, counts) for k, v in plain.items()}
        if out.get("class_weights") == "balanced":
            out["class_weights"] = [sum(counts) / (len(counts) * n) if n else 0.0 for n in counts]
        return out
    if isinstance(plain, list):
        return [with_balanced_weights(v, counts) for v in plain]
    return plain


def callbacks(cfg: DictConfig, images: ImageSet, arch: str | None = None) -> list[Callback]:
    """The callbacks that are not null; the bar only where there is a terminal.

    arch: what the checkpoint calls the network, if not as the model does.
    """
    config: Any = OmegaConf.to_container(cfg.model)
    config |= {} if arch is None else {"arch": arch}
    shown = [node for name, node in cfg.callbacks.items() if node and (name != "progress" or sys.stdout.isatty())]
    made: list[Callback] = [instantiate(node) for node in shown]
    for callback in made:
        if isinstance(callback, RunCheckpoint):
            callback.model = described(config, images, cfg.data.size)
    return made


def loggers(cfg: DictConfig, folder: Path, epochs_done: int) -> list[Logger]:
    """The logger of `logger`, or those of a mapping of names to loggers, writing into a run's folder.

    Args:
        cfg: the configuration.
        folder: the run's.
        epochs_done: what TensorBoard has of later epochs, which come again, is hidden.
    """
    if not cfg.logger:
        return []
    nodes = [cfg.logger] if "_target_" in cfg.logger else [node for node in cfg.logger.values() if node]
    made: list[Logger] = []
    for node in nodes:
        kind = instantiate(node, _partial_=True)
        taken = inspect.signature(kind.func).parameters
        given = {"save_dir": str(folder)} if "save_dir" in taken else {}
        if kind.func.__name__ == "TensorBoardLogger":
            given["purge_step"] = epochs_done + 1  # type: ignore[assignment]
        made.append(kind(**given))
    return made
