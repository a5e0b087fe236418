"""Train a run and record it: build → fit → validate → result.json."""

import logging
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf import DictConfig

from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.data.sample import ImageSet
from sparse_seg.points.draw import write_points
from sparse_seg.runs import build, identity
from sparse_seg.runs.folder import log
from sparse_seg.runs.result import build_result, write_result
from sparse_seg.training.checkpoint import AtomicCheckpointIO, drop_resume_state, resume_point
from sparse_seg.training.dashboard import log_result
from sparse_seg.training.hardware import keep_freed_memory
from sparse_seg.training.history import History
from sparse_seg.training.task import SegmentationTask

# Warnings about things that are meant to be so.
QUIET = (
    ".*does not have many workers.*",  # decoded images come from memory
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*isinstance\\(treespec, LeafSpec\\).*",
    ".*`srun` command is available.*",  # a sweep's job starts its own ranks
    ".*lr_scheduler.step.*before.*optimizer.step.*",  # OneCycleLR counts its own construction
    ".*returned `None`, this fit will run with no optimizer.*",  # a probe is solved for
    ".*module\\(s\\) in eval mode at the start of training.*",  # a teacher, a frozen encoder
    ".*You're resuming from a checkpoint that ended before.*",
)


def train(cfg: DictConfig, images: ImageSet, folder: Path, figures: identity.Flat, first: bool) -> None:
    """Train the run of a resolved configuration in its folder, from where an interrupted one stopped.

    Args:
        cfg: the configuration.
        images: its data set.
        folder: the run's, held by this process or by the one that started it.
        figures: with what `auto` comes to here.
        first: False in the processes that DDP starts beside the first one: they write nothing.

    Raises:
        UserError: something the user gave cannot be used.
        SystemExit: the run was interrupted.
    """
    started = time.perf_counter()
    _quieten()
    keep_freed_memory(cfg.trainer.accelerator)
    L.seed_everything(cfg.seed, verbose=False)
    method = build.method(cfg)
    data = build.data_module(cfg, images, views=build.views(method))
    task = build.task(cfg, method, images, data, channels_last=figures["channels_last"])
    callbacks = build.callbacks(cfg, images, task.arch)
    resume = resume_point(folder)
    data.start_epoch = resume[1] if resume else 0
    trainer: L.Trainer = instantiate(
        cfg.trainer,
        precision=figures["trainer.precision"],
        callbacks=callbacks,
        logger=build.loggers(cfg, folder, resume[1] if resume else 0) if first else False,
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
        if cfg.prior and task.shares is not None:
            if task.shares.is_known:
                prior = HydraConfig.get().runtime.choices["prior"]
                log.info("prior=%s has nothing to correct: all training images have their full masks", prior)
            task.shares.write(folder / "shares.csv", data.classes.names)
    seconds_setup = time.perf_counter() - started
    with _interruption_as_message(trainer, folder, cfg.overwrite):
        trainer.fit(task, datamodule=data, ckpt_path=resume[0] if resume else None)
    if trainer.is_global_zero:
        _record_end(cfg, folder, figures, trainer, data, seconds_setup)


def _record_end(
    cfg: DictConfig,
    folder: Path,
    figures: identity.Flat,
    trainer: L.Trainer,
    data: SparsePointsDataModule,
    seconds_setup: float,
) -> None:
    history = History.of(trainer)
    task = trainer.lightning_module
    if cfg.prior and isinstance(task, SegmentationTask) and task.shares is not None:
        task.shares.write(folder / "shares.csv", data.classes.names)  # as they are now, if they follow the network
    result = build_result(
        cfg,
        HydraConfig.get().runtime.choices,
        figures,
        data.classes.names,
        history.rows,
        history.confusion_matrix,
        history.scores,
        areas=data.scored_on == "masks",
    )
    result |= _circumstances(trainer, data) | {"seconds_setup": round(seconds_setup, 1)}
    log_result(trainer.loggers, result, len(history.rows))
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


def _record_start(
    cfg: DictConfig,
    folder: Path,
    data: SparsePointsDataModule,
    resume: tuple[Path, int] | None,
    notes: tuple[str, ...] = (),
) -> None:
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
def _interruption_as_message(trainer: L.Trainer, folder: Path, overwrite: bool) -> Iterator[None]:
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


def _circumstances(trainer: L.Trainer, data: SparsePointsDataModule) -> dict[str, Any]:
    """What a run was made on and with, as far as the configuration does not say."""
    task = trainer.lightning_module
    assert isinstance(task, SegmentationTask)
    device = trainer.strategy.root_device
    return {
        "labelled_pixels": dict(zip(data.classes.names, data.class_counts, strict=True)),
        "train_images": len(data.train_indices),
        "train_masks": sum(data.samples[i].has_mask for i in data.train_indices),
        "scored_on": data.scored_on,
        "val_images": [data.samples[i].image_id for i in data.val_indices],
        **task.circumstances,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
    }
