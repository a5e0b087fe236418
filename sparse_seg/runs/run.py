"""One job: check → build → fit → validate → result.json. The only reader of the configuration.

Nothing heavy is imported at the top: a refused configuration is answered before torch is loaded.
"""

import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from sparse_seg.data.split import split_indices
from sparse_seg.errors import UserError
from sparse_seg.runs import child, identity, schema
from sparse_seg.runs.folder import claim, finished, held, log, logging_to, run_folder
from sparse_seg.runs.result import build_result, write_result
from sparse_seg.runs.sources import errors_of_constructors, forget, image_set, of_data_module

if TYPE_CHECKING:
    import lightning as L

    from sparse_seg.data.datamodule import SparsePointsDataModule
    from sparse_seg.data.sample import ImageSet

# Warnings about things that are meant to be so.
QUIET = (
    ".*does not have many workers.*",  # decoded images come from memory
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*isinstance\\(treespec, LeafSpec\\).*",
    ".*`srun` command is available.*",  # a sweep's job starts its own ranks
    ".*lr_scheduler.step.*before.*optimizer.step.*",  # OneCycleLR counts its own construction
    ".*You're resuming from a checkpoint that ended before.*",
)


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
        _train(cfg, images, folder, figures)
        return
    with held(folder):
        if not cfg.overwrite and finished(cfg, choices, folder):  # by another process, since it was asked above
            print(f"done already: {folder}")
            return
        claim(folder, cfg, figures, choices)
        with logging_to(folder / "log.txt"):
            log.info("run %s (process %d)", folder, os.getpid())
            _train(cfg, images, folder, figures)


def _resolve_auto(cfg: DictConfig) -> dict[str, Any]:
    """What `auto` comes to on this machine."""
    from sparse_seg.training.hardware import channels_last, native_precision

    precision = str(cfg.trainer.precision)
    if precision == "auto":
        precision = native_precision(cfg.trainer.accelerator)
    return {"trainer.precision": precision, "channels_last": channels_last(cfg.trainer.accelerator, precision)}


def _train(cfg: DictConfig, images: "ImageSet", folder: Path, figures: identity.Flat) -> None:
    started = time.perf_counter()
    import lightning as L
    from lightning.pytorch.callbacks import Checkpoint

    from sparse_seg.losses import as_module
    from sparse_seg.training.checkpoint import AtomicCheckpointIO, drop_resume_state, resume_point
    from sparse_seg.training.hardware import keep_freed_memory
    from sparse_seg.training.history import History
    from sparse_seg.training.task import SegmentationTask

    _quieten()
    keep_freed_memory(cfg.trainer.accelerator)
    L.seed_everything(cfg.seed, verbose=False)
    data = _build_data(cfg, images)
    # Below its key, which an error names.
    loss = OmegaConf.create({"loss": _with_balanced_weights(cfg.loss, data.class_counts)}).loss
    task = SegmentationTask(
        _network(cfg, images),
        as_module(instantiate(loss)),
        instantiate(cfg.optimizer),
        images.classes.names,
        instantiate(cfg.scheduler) or None,
        seed=cfg.seed,
        channels_last=figures["channels_last"],
    )
    callbacks = _callbacks(cfg, images)
    resume = resume_point(folder)
    data.start_epoch = resume[1] if resume else 0
    first = _is_first_process()
    trainer: L.Trainer = instantiate(
        cfg.trainer,
        precision=figures["trainer.precision"],
        callbacks=callbacks,
        logger=_logger(cfg, folder, resume[1] if resume else 0) if first else False,
        default_root_dir=str(folder),
        plugins=[AtomicCheckpointIO()],
        # Without one of ours Lightning would add its own.
        enable_checkpointing=any(isinstance(c, Checkpoint) for c in callbacks),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_progress_bar=sys.stdout.isatty(),
        log_every_n_steps=1,
    )
    if first:
        _record_start(cfg, folder, data, resume, images.notes)
    seconds_setup = time.perf_counter() - started
    with _interruption_as_message(trainer, folder, cfg.overwrite):
        trainer.fit(task, datamodule=data, ckpt_path=resume[0] if resume else None, weights_only=True)
    if trainer.is_global_zero:
        history = History.of(trainer)
        result = build_result(
            cfg,
            HydraConfig.get().runtime.choices,
            figures,
            images.classes.names,
            history.rows,
            history.confusion_matrix,
        )
        result |= _circumstances(trainer, data) | {"seconds_setup": round(seconds_setup, 1)}
        history.finish(trainer, result)
        write_result(folder / "result.json", result)
        drop_resume_state(folder)
        scores = [result[k] for k in ("miou_final", "miou_best", "epoch_best")]
        if data.scored_on == "points":
            points = sum(map(sum, history.confusion_matrix))
            log.info("done: point accuracy %.4f on %d held-out points; there are no masks", result["accuracy"], points)
            log.info("these points alone give final mIoU %.4f, best %.4f in epoch %d: no mIoU of full masks", *scores)
        else:
            log.info("done: final mIoU %.4f, best %.4f in epoch %d", *scores)


def _quieten() -> None:
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in QUIET:
        warnings.filterwarnings("ignore", message=message)


def _build_data(cfg: DictConfig, images: "ImageSet") -> "SparsePointsDataModule":
    # Called outside of Hydra, which would turn the data classes into a configuration.
    build = instantiate({**of_data_module(cfg.data), "_convert_": "all", "_partial_": True})
    data: SparsePointsDataModule = build(
        source=images, points=cfg.points, split=cfg.split, seed=cfg.seed, augment=instantiate(cfg.augment) or None
    )
    data.setup()
    return data


def _network(cfg: DictConfig, images: "ImageSet") -> Any:
    # Networks of the user's own need not know of other images than RGB.
    bands = {} if images.channels == 3 else {"in_channels": images.channels}
    return instantiate(cfg.model, classes=len(images.classes), **bands)


def _with_balanced_weights(node: Any, counts: list[int]) -> Any:
    """Replace every `class_weights: balanced` below a loss's configuration by numbers.

    A class that holds a share of the labelled training pixels gets the weight (1 / classes) ÷ share, as scikit-learn's
    `compute_class_weight("balanced")`; a class without points gets 0.
    """
    plain = OmegaConf.to_container(node) if isinstance(node, DictConfig) else node
    if isinstance(plain, dict):
        out = {k: _with_balanced_weights(v, counts) for k, v in plain.items()}
        if out.get("class_weights") == "balanced":
            out["class_weights"] = [sum(counts) / (len(counts) * n) if n else 0.0 for n in counts]
        return out
    if isinstance(plain, list):
        return [_with_balanced_weights(v, counts) for v in plain]
    return plain


def _callbacks(cfg: DictConfig, images: "ImageSet") -> list[Any]:
    from sparse_seg.networks.trained import described
    from sparse_seg.training.checkpoint import RunCheckpoint

    shown = {name: node for name, node in cfg.callbacks.items() if node and (name != "progress" or sys.stdout.isatty())}
    callbacks = [instantiate(node) for node in shown.values()]
    for callback in callbacks:
        if isinstance(callback, RunCheckpoint):
            callback.model = described(OmegaConf.to_container(cfg.model), images, cfg.data.size)
    return callbacks


def _logger(cfg: DictConfig, folder: Path, epochs_done: int) -> Any:
    if not cfg.logger:
        return False
    # Whatever an interrupted run wrote of the epochs that come again is hidden.
    purge = {"purge_step": epochs_done + 1} if "TensorBoard" in cfg.logger._target_ else {}
    return instantiate(cfg.logger, save_dir=str(folder), **purge)


def _record_start(
    cfg: DictConfig,
    folder: Path,
    data: "SparsePointsDataModule",
    resume: tuple[Path, int] | None,
    notes: tuple[str, ...] = (),
) -> None:
    from sparse_seg.points.draw import write_points

    if data.train_points:
        write_points(folder / "points.csv", data.train_points, data.classes.names)
    for note in notes:
        log.info("%s", note)
    train, val, pixels = len(data.train_indices), len(data.val_indices), sum(data.class_counts)
    log.info("%d training images with %d labelled pixels, %d validation images", train, pixels, val)
    if data.scored_on == "points":
        log.info("there are no masks: held-out points validate, and the scores are of points, no mIoU of full masks")
    if given := sum(0 if s.points is None else len(s.points) for s in data.samples):
        log.info("points=%s uses the first ones of each class and image; %d were given", data.points, given)
    if data.points_off_image:
        log.info("%d points lie on nodata or transparency, not on the image, and are left out", data.points_off_image)
    if data.points_file:
        if note := data.bad.note(Path(data.points_file)):
            log.info("%s", note)
        log.info("all points of data.points_file are used; points=%s is this run's name only", data.points)
    if resume:
        log.info("goes on after epoch %d of %d", resume[1], cfg.trainer.max_epochs)
    elif (folder / "history.csv").exists():
        log.info("nothing to go on from was found; starts again from epoch 1")


@contextmanager
def _interruption_as_message(trainer: "L.Trainer", folder: Path, overwrite: bool) -> Iterator[None]:
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    again = f"the same command {'without overwrite=true ' if overwrite else ''}goes on from its last whole epoch"
    try:
        yield
    except SIGTERMException:
        print(f"{folder} was stopped by SIGTERM; {again}", file=sys.stderr)
        sys.exit(128 + signal.SIGTERM)
    except SystemExit:  # how Lightning ends after Ctrl-C
        if trainer.interrupted:
            print(f"{folder} was stopped by Ctrl-C; {again}", file=sys.stderr)
            sys.exit(128 + signal.SIGINT)
        raise


def _circumstances(trainer: "L.Trainer", data: "SparsePointsDataModule") -> dict[str, Any]:
    """What a run was made on and with, as far as the configuration does not say."""
    import torch

    device = trainer.strategy.root_device
    return {
        "labelled_pixels": dict(zip(data.classes.names, data.class_counts, strict=True)),
        "train_images": len(data.train_indices),
        "train_masks": sum(data.samples[i].has_mask for i in data.train_indices),
        "scored_on": data.scored_on,
        "val_images": [data.samples[i].image_id for i in data.val_indices],
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
    }
