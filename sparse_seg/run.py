"""One job: check → build → fit → validate → result.json. The only reader of the configuration.

Nothing heavy is imported at the top: a refused configuration is answered before torch is loaded.
"""

import functools
import json
import logging
import math
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock, Timeout
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from sparse_seg import identity, schema
from sparse_seg.data.split import split_indices
from sparse_seg.errors import UserError

if TYPE_CHECKING:
    import lightning as L

    from sparse_seg.data.datamodule import SparsePointsDataModule
    from sparse_seg.data.sample import ImageSet
    from sparse_seg.history import History

log = logging.getLogger("sparse_seg")
AUTO = ("trainer.precision", "channels_last")
PACKAGES = (
    "torch", "lightning", "segmentation-models-pytorch", "timm", "torchmetrics", "albumentations", "numpy", "hydra-core",
)  # fmt: skip


def run(cfg: DictConfig) -> dict[str, Any] | None:
    """Train, score and record one run; in a sweep, have a child process do it.

    A finished run is left alone, an interrupted one goes on. Ends the process with exit code 1 and a message of one
    or two lines when something the user gave cannot be used.
    """
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        from sparse_seg import sweep

        return sweep.run_job(cfg)
    try:
        with _unwrapped_errors():
            _run(cfg)
        return None
    except UserError as e:
        if os.environ.get("HYDRA_FULL_ERROR"):
            raise
        print(f"error: {e}", file=sys.stderr)
        sys.exit(1)


@contextmanager
def _unwrapped_errors() -> Iterator[None]:
    """Hydra wraps what a constructor raises; the user's error is inside."""
    try:
        yield
    except InstantiationException as e:
        cause = e.__cause__
        if isinstance(cause, UserError):
            raise cause from e
        key = (str(e).splitlines() or [""])[-1].removeprefix("full_key: ")
        inner = str(cause or e).splitlines()[0]
        raise UserError(f"cannot build `{key}`: {inner}") from e


def is_first_process() -> bool:
    """False in the processes that DDP starts beside this one: they train, and leave the run's folder alone."""
    return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"


def defaults_of(choices: Mapping[str, str]) -> DictConfig:
    """The configuration with the same choice in each group and nothing else changed."""
    config_name = HydraConfig.get().job.config_name if HydraConfig.initialized() else "config"
    groups = [f"{g}={choices[g]}" for g in identity.GROUPS]
    return compose(config_name or "config", overrides=groups)


def run_folder(cfg: DictConfig, choices: Mapping[str, str]) -> Path:
    """Where the run of a configuration lies."""
    return Path(cfg.output_dir) / cfg.study / identity.folder_name(cfg, defaults_of(choices), choices)


def _run(cfg: DictConfig) -> None:
    schema.check(cfg)
    choices = HydraConfig.get().runtime.choices
    folder = run_folder(cfg, choices)
    OmegaConf.resolve(cfg)
    images: ImageSet = instantiate(cfg.data.source)
    split_indices(
        images.samples, cfg.split, cfg.data.val_fraction, cfg.data.split_seed, cfg.data.val_tiles, cfg.data.fold
    )
    figures = identity.figures(cfg)
    if is_first_process() and not cfg.overwrite and finished(cfg, choices, folder):
        print(f"done already: {folder}")
        return
    resolved = _resolve_auto(cfg)
    figures |= resolved
    if not is_first_process():
        _train(cfg, images, folder, figures, resolved)
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".lock").touch()
    except OSError as e:
        raise UserError(f"the run's folder {folder} cannot be written ({e.strerror}); set output_dir=...") from e
    with _locked(folder):
        if cfg.overwrite:
            _clear(folder)
        elif differing := _differing(folder, figures, choices):
            raise UserError(
                f"{folder} holds a run of another configuration; it differs in {'; '.join(differing[:5])}\n"
                "give another study=NAME, or overwrite=true to throw the old run away"
            )
        _write_yaml(folder / "config.yaml", {"figures": figures, "config": OmegaConf.to_container(cfg)})
        with _logging_to(folder / "log.txt"):
            log.info("run %s (process %d)", folder, os.getpid())
            _train(cfg, images, folder, figures, resolved)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the run's lock, which dies with its owner; refuse if another process holds it."""
    path = folder / ".lock"
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        owner = (folder / "owner").read_text().strip() if (folder / "owner").exists() else "unknown"
        raise UserError(f"{folder} is being trained by process {owner}; wait for it, or stop it") from None
    try:
        (folder / "owner").write_text(f"{os.getpid()}")
        yield
    finally:
        (folder / "owner").unlink(missing_ok=True)
        lock.release()


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Log to a file always, and line by line to a screen that cannot show a bar."""
    log.setLevel(logging.INFO)
    log.propagate = False
    handlers: list[logging.Handler] = [logging.FileHandler(path, encoding="utf-8")]
    handlers[0].setFormatter(logging.Formatter("%(asctime)s  %(message)s"))
    if not sys.stdout.isatty():
        handlers.append(logging.StreamHandler(sys.stdout))
    for handler in handlers:
        log.addHandler(handler)
    try:
        yield
    except BaseException as e:
        text = str(e) if isinstance(e, UserError) else traceback.format_exc()
        handlers[0].handle(log.makeRecord(log.name, logging.ERROR, "", 0, "stopped: %s", (text or repr(e),), None))
        raise
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()


def _differing(folder: Path, figures: identity.Flat, choices: Mapping[str, str]) -> list[str]:
    """The keys on which the run that a folder holds differs from this one."""
    path = folder / "config.yaml"
    if not path.exists():
        return []
    old = yaml.safe_load(path.read_text(encoding="utf-8"))["figures"]
    return identity.differing_keys(old, figures, identity.flatten(defaults_of(choices)))


def finished(cfg: DictConfig, choices: Mapping[str, str], folder: Path) -> bool:
    """True if the folder holds this very run, with its result. Needs no torch.

    What `auto` came to on the machine that made the result does not count: a finished run stays finished elsewhere.
    """
    if not (folder / "result.json").exists():
        return False
    figures = identity.figures(cfg)
    differing = _differing(folder, figures, choices)
    return all(d.split(":")[0] in AUTO and figures.get(d.split(":")[0], "auto") == "auto" for d in differing)


def _clear(folder: Path) -> None:
    for item in folder.iterdir():
        if item.name not in (".lock", "owner"):
            shutil.rmtree(item) if item.is_dir() else item.unlink()


def _resolve_auto(cfg: DictConfig) -> dict[str, Any]:
    """What `auto` comes to on this machine. Imports torch only if it has to."""
    from sparse_seg.hardware import channels_last, native_precision

    precision = str(cfg.trainer.precision)
    if precision == "auto":
        precision = native_precision(cfg.trainer.accelerator)
    return {
        "trainer.precision": precision,
        "channels_last": channels_last(cfg.trainer.accelerator, precision),
    }


def _train(
    cfg: DictConfig, images: "ImageSet", folder: Path, figures: identity.Flat, resolved: Mapping[str, Any]
) -> None:
    import lightning as L
    import torch

    from sparse_seg.checkpoint import AtomicCheckpointIO, RunCheckpoint, resume_point
    from sparse_seg.history import History
    from sparse_seg.losses import as_module
    from sparse_seg.task import SegmentationTask

    started = time.perf_counter()
    _quieten()
    L.seed_everything(cfg.seed, verbose=False)
    data = _build_data(cfg, images)
    network = instantiate(cfg.model, classes=len(images.classes))
    loss = as_module(instantiate(_with_balanced_weights(cfg.loss, data.class_counts)))
    task = SegmentationTask(
        network,
        loss,
        instantiate(cfg.optimizer),
        images.classes.names,
        instantiate(cfg.scheduler) or None,
        seed=cfg.seed,
        channels_last=resolved["channels_last"],
    )
    first = is_first_process()
    resume = resume_point(folder)
    if first:
        if data.train_points:
            from sparse_seg.data.points import write_points

            write_points(folder / "points.csv", data.train_points, images.classes.names)
        log.info(
            "%d training images, %d labelled pixels; %d validation images",
            len(data.train_indices), sum(data.class_counts), len(data.val_indices),
        )  # fmt: skip
        if resume:
            log.info("goes on after epoch %d of %d", resume[1], cfg.trainer.max_epochs)
    callbacks = _callbacks(cfg, images)
    trainer: L.Trainer = instantiate(
        cfg.trainer,
        precision=resolved["trainer.precision"],
        callbacks=callbacks,
        logger=_logger(cfg, folder, resume[1] if resume else 0) if first else False,
        default_root_dir=str(folder),
        plugins=[AtomicCheckpointIO()],
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_checkpointing=any(isinstance(c, RunCheckpoint) for c in callbacks),
        enable_model_summary=False,
        enable_progress_bar=any(hasattr(c, "get_metrics") for c in callbacks),
        log_every_n_steps=1,
    )
    with _sigterm_as_message(folder):
        trainer.fit(task, datamodule=data, ckpt_path=resume[0] if resume else None, weights_only=True)
    if not trainer.state.finished or trainer.current_epoch < cfg.trainer.max_epochs:
        raise UserError(f"{folder} was stopped in epoch {trainer.current_epoch + 1}; the same command goes on from there")
    if trainer.is_global_zero:
        result = _result(cfg, folder, figures, images, data, task, History.of(trainer))
        result["device"] = torch.cuda.get_device_name() if task_on_gpu(trainer) else "cpu"
        result["seconds"] = round(sum(r["seconds"] for r in History.of(trainer).rows), 1)
        result["seconds_setup"] = round(time.perf_counter() - started, 1)
        _dashboard_hparams(trainer, result)
        _finish(folder, result)


def task_on_gpu(trainer: "L.Trainer") -> bool:
    return bool(trainer.strategy.root_device.type == "cuda")


def _quieten() -> None:
    """Silence what a user cannot act on."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",  # images come from memory; measured by `make bench`
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*isinstance\\(treespec, LeafSpec\\).*",
        ".*lr_scheduler.step.*before.*optimizer.step.*",  # not so: OneCycleLR counts its construction
        ".*You're resuming from a checkpoint that ended before.*",
    ):
        warnings.filterwarnings("ignore", message=message)


def _build_data(cfg: DictConfig, images: "ImageSet") -> "SparsePointsDataModule":
    options = {k: v for k, v in cfg.data.items() if k not in ("source", "root")}
    # Called outside of Hydra, which would turn the dataclass into a configuration.
    build = instantiate({**options, "_convert_": "all", "_partial_": True})
    data: SparsePointsDataModule = build(
        source=images,
        points=cfg.points,
        split=cfg.split,
        seed=cfg.seed,
        augment=instantiate(cfg.augment) or None,
    )
    data.setup()
    return data


def _with_balanced_weights(node: Any, counts: list[int]) -> Any:
    """Replace every `class_weights: balanced` below a loss's configuration by numbers.

    A class that holds a share of the labelled pixels gets the weight (1 / classes) ÷ share, as scikit-learn's
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
    from sparse_seg.checkpoint import RunCheckpoint

    built = []
    for name, node in cfg.callbacks.items():
        if node and not (name == "progress" and not sys.stdout.isatty()):
            built.append(instantiate(node))
    for callback in built:
        if isinstance(callback, RunCheckpoint):
            callback.model = {
                "config": OmegaConf.to_container(cfg.model),
                "classes": list(images.classes.names),
                "colours": [list(c) for c in images.classes.colours],
                "size": cfg.data.size,
            }
    return built


def _logger(cfg: DictConfig, folder: Path, epochs_done: int) -> Any:
    if not cfg.logger:
        return False
    kwargs = {"purge_step": epochs_done + 1} if epochs_done and "TensorBoard" in cfg.logger._target_ else {}
    return instantiate(cfg.logger, save_dir=str(folder), **kwargs)


@contextmanager
def _sigterm_as_message(folder: Path) -> Iterator[None]:
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    try:
        yield
    except SIGTERMException:
        message = f"{folder} was stopped by SIGTERM; the same command goes on from its last whole epoch"
        log.info(message)
        print(message, file=sys.stderr)
        sys.exit(128 + signal.SIGTERM)


def _result(
    cfg: DictConfig,
    folder: Path,
    figures: identity.Flat,
    images: "ImageSet",
    data: "SparsePointsDataModule",
    task: Any,
    history: "History",
) -> dict[str, Any]:
    import torch

    from sparse_seg import metrics

    rows, best = history.rows, history.best
    choices = HydraConfig.get().runtime.choices
    matrix = task.confusion_matrix
    names = list(images.classes.names)
    weights = cfg.model.get("encoder_weights")
    return {
        "status": "done",
        "run": folder.name,
        "fingerprint": identity.fingerprint(figures),
        "study": cfg.study,
        "loss": choices["loss"],
        "points": cfg.points,
        "augment": choices["augment"],
        "split": cfg.split,
        "fold": cfg.data.fold,
        "seed": cfg.seed,
        "data": choices["data"],
        "encoder": cfg.model.get("encoder"),
        "weights": Path(weights).name if weights else None,
        "optimizer": choices["optimizer"],
        "lr": cfg.optimizer.get("lr"),
        "scheduler": choices["scheduler"],
        "size": cfg.data.size,
        "epochs": cfg.trainer.max_epochs,
        "batch_size": cfg.data.batch_size,
        "miou_final": rows[-1]["val_miou"],
        "miou_best": best["val_miou"],
        "epoch_best": best["epoch"],
        "iou": dict(zip(names, metrics.iou_per_class(matrix).tolist(), strict=True)),
        "f1": dict(zip(names, metrics.f1_per_class(matrix).tolist(), strict=True)),
        "accuracy": metrics.accuracy(matrix),
        "confusion_matrix": matrix,
        "loss_at_epoch_25": rows[24]["train_loss"] if len(rows) >= 25 else None,
        "train_loss": [r["train_loss"] for r in rows],
        "val_miou": [r["val_miou"] for r in rows],
        "labelled_pixels": dict(zip(names, data.class_counts, strict=True)),
        "train_images": len(data.train_indices),
        "val_images": [images.samples[i].image_id for i in data.val_indices],
        "precision": figures["trainer.precision"],
        "devices": cfg.trainer.devices,
        "threads": torch.get_num_threads(),
        "versions": {p: version(p) for p in PACKAGES},
        "commit": _git_commit(),
        "figures": figures,
    }


@functools.cache
def _git_commit() -> str | None:
    """The commit of the code, with -dirty if files differ from it; None outside a git checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def _dashboard_hparams(trainer: "L.Trainer", result: Mapping[str, Any]) -> None:
    from lightning.pytorch.loggers import TensorBoardLogger

    keys = ("loss", "points", "augment", "split", "seed", "encoder", "lr", "scheduler", "size", "epochs", "batch_size")
    values = {k: str(result[k]) if result[k] is None else result[k] for k in keys}
    scores = {f"hparam/{k}": result[k] for k in ("miou_final", "miou_best")}
    scores |= {f"hparam/iou_{k}": v for k, v in result["iou"].items()}
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            text = yaml.safe_dump(result["figures"], sort_keys=True)
            logger.experiment.add_text("config", "\n".join("    " + line for line in text.splitlines()))
            logger.log_hyperparams(values, {k: v for k, v in scores.items() if math.isfinite(v)}, step=result["epochs"])
            logger.finalize("success")


def _finish(folder: Path, result: Mapping[str, Any]) -> None:
    """Write result.json, whole or not at all, then drop the state that only an unfinished run needs."""
    beside = folder / "result.json.tmp"
    with beside.open("w", encoding="utf-8") as f:
        json.dump(_finite(result), f, indent=1, allow_nan=False)
        f.flush()
        os.fsync(f.fileno())
    os.replace(beside, folder / "result.json")
    (folder / "checkpoints" / "last.ckpt").unlink(missing_ok=True)
    log.info("final mIoU %.4f, best %.4f in epoch %d", result["miou_final"], result["miou_best"], result["epoch_best"])


def _finite(value: Any) -> Any:
    """NaN and infinity become None, JSON's null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list | tuple) else value


def _write_yaml(path: Path, content: object) -> None:
    beside = path.with_name(path.name + ".tmp")
    beside.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    os.replace(beside, path)
