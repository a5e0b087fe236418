"""Resume state while a run is unfinished, weights when it is done; nothing is ever half-written."""

import os
import pickle
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from sparse_seg.errors import UserError
from sparse_seg.files import replacing
from sparse_seg.training.history import History

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"


def save_atomically(content: object, path: Path) -> None:
    """torch.save beside the target, flushed to the disk and renamed: a reader sees the old file or the new one.

    Raises UserError if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside, beside.open("wb") as f:
            torch.save(content, f)
    except (UserError, OSError, RuntimeError) as e:  # torch's writer has its own words for a full disk
        said = str(e).removeprefix(f"{path} cannot be written: ")
        raise UserError(f"{path} cannot be written: {said}; free some space, the same command goes on") from e


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's own writer stages files in $TMPDIR, which may be another, smaller disk.

    Reading never unpickles more than tensors and plain values, which Lightning before 2.6 cannot be told elsewhere.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        save_atomically(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        content: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
        return content


class RunCheckpoint(Checkpoint):
    """Keeps `checkpoints/` of a run folder.

    last.ckpt: all that is needed to go on, every `every_n_epochs` epochs; previous.ckpt: the one before. Both are
    removed when the run is done.
    best.ckpt: the weights that had the best validation mIoU; final.ckpt: those of the last validation, where it is not
    the best one. Both are what was scored, plain values and tensors only, and load with `weights_only=True`.

    Args:
        every_n_epochs: how often last.ckpt is written.
    """

    def __init__(self, every_n_epochs: int = 1) -> None:
        self.every_n_epochs = every_n_epochs
        self.model: dict[str, Any] = {}
        """What the weights belong to: plain values that `run.py` sets and that are saved beside them."""

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self.folder = Path(trainer.default_root_dir) / "checkpoints"

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.last_is_whole = trainer.ckpt_path is not None and Path(trainer.ckpt_path).name == LAST

    def _save_weights(self, trainer: L.Trainer, task: Any, name: str, row: dict[str, float]) -> None:
        """Save the weights that gave the scores of `row`, the last epoch that was validated."""
        if trainer.is_global_zero:
            content = {"state_dict": task.scored_state, "model": self.model, "epoch": row["epoch"]}
            save_atomically(content | {"val_miou": row["val_miou"]}, self.folder / name)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        history, epoch = History.of(trainer), trainer.current_epoch + 1
        last = trainer.should_stop or epoch == trainer.max_epochs
        row = history.scored[-1] if history.scored else None
        if row and row is not history.best:
            if last:
                self._save_weights(trainer, pl_module, "final.ckpt", row)
        elif row and row["epoch"] == epoch:
            self._save_weights(trainer, pl_module, "best.ckpt", row)
            if trainer.is_global_zero:  # of a stop that did not come about
                (self.folder / "final.ckpt").unlink(missing_ok=True)
        if last or epoch % self.every_n_epochs == 0:
            if trainer.is_global_zero and self.last_is_whole:  # a damaged one must not take the place of a good one
                os.replace(self.folder / LAST, self.folder / PREVIOUS)
            trainer.save_checkpoint(self.folder / LAST)
            self.last_is_whole = True


def drop_resume_state(folder: Path) -> None:
    """Remove what only an unfinished run needs: 586 MB with U-Net/ResNet-34 and Adam."""
    for name in (LAST, PREVIOUS):
        (folder / "checkpoints" / name).unlink(missing_ok=True)


def resume_point(folder: Path) -> tuple[Path, int] | None:
    """Return the checkpoint that a run can go on from and the number of its finished epochs; None for a fresh start.

    A file that cannot be read counts as none; it is reported and left alone until the next one replaces it.
    """
    for name in (LAST, PREVIOUS):
        path = folder / "checkpoints" / name
        if not path.is_file():
            continue
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            return path, int(content["callbacks"]["History"]["rows"][-1]["epoch"])
        except (RuntimeError, OSError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as e:
            message = (str(e).splitlines() or ["?"])[0][:120]
            L.pytorch.utilities.rank_zero_warn(f"{path} is damaged ({message}); the run goes on from an earlier state")
    return None
