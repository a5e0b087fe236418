"""Network, loss and metrics as a LightningModule. Knows no configuration and no data set."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from torchmetrics.classification import MulticlassConfusionMatrix

from sparse_seg import metrics
from sparse_seg.classes import IGNORE_INDEX
from sparse_seg.errors import UserError

Batch = Mapping[str, Tensor]


def one_cycle_cosine(optimizer: Optimizer, total_steps: int, warmup: float = 0.1) -> OneCycleLR:
    """One cycle: up to the optimizer's learning rate over the share `warmup` of the steps, then a cosine to zero.

    Raises UserError unless `warmup` lies between 0 and 1.
    """
    if not 0 < warmup < 1:
        raise UserError(f"scheduler.warmup={warmup!r} must be a number between 0 and 1")
    peaks = [group["lr"] for group in optimizer.param_groups]
    share = 0.99 * warmup if warmup * total_steps == 1 else warmup  # OneCycleLR divides by the warm-up's steps − 1
    return OneCycleLR(optimizer, max_lr=peaks, total_steps=total_steps, pct_start=share, cycle_momentum=False)


class SegmentationTask(L.LightningModule):
    """Trains a network on partially labelled targets and scores it on full masks.

    network: image (B, bands, H, W) → logits (B, C, H, W). loss: called as loss(logits, target, image=image), the mean
    over the labelled pixels. optimizer: parameters → optimizer. scheduler: (optimizer, total_steps=…) → per-step
    schedule.

    Under DDP each rank's loss is scaled by n_rank × world ÷ n_all, so that the averaged gradient is that of one
    process with the whole batch. That holds for losses that are means over labelled pixels; a region loss such as
    Dice is computed per rank.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        class_names: Sequence[str],
        scheduler: Callable[..., LRScheduler] | None = None,
        seed: int = 0,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.channels_last = channels_last
        self.network = network.to(memory_format=torch.channels_last) if channels_last else network
        self.loss = loss
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.class_names = list(class_names)
        self.seed = seed
        self.confusion = MulticlassConfusionMatrix(len(class_names), ignore_index=IGNORE_INDEX, validate_args=False)
        self.loss_sum = torch.zeros((), dtype=torch.float64)
        self.label_sum = torch.zeros((), dtype=torch.float64)
        self.confusion_matrix: list[list[int]] = []
        """Counts of the last validation, rows truth, columns prediction."""

    def forward(self, image: Tensor) -> Tensor:
        if self.channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        return self.network(image)

    def on_train_epoch_start(self) -> None:
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=self._sum_device)
        self.label_sum = torch.zeros_like(self.loss_sum)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # Whatever draws at random inside the network or the loss (drop path, say) starts from (seed, epoch, rank), so
        # that a restarted run goes on as if it had never stopped. Not at the epoch's start: there, the loader draws a
        # number in every epoch but the first one after a restart.
        if batch_idx == 0:
            start = self.seed * 1_000_003 + self.current_epoch * 1_009 + self.global_rank
            L.seed_everything(start % 2**32, verbose=False)

    @property
    def _sum_device(self) -> torch.device:
        return torch.device("cpu") if self.device.type == "mps" else self.device  # MPS has no float64

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        image, target = batch["image"], batch["target"]
        loss = self.loss(self(image), target, image=image)
        value = loss.detach().double() if self.device.type != "mps" else loss.detach().cpu().double()
        labelled = (target != IGNORE_INDEX).sum().to(value)
        all_labelled, all_values = self._sum_over_ranks(torch.stack([labelled, value]))
        if not torch.isfinite(all_values):  # on whichever rank: all of them stop here, and the first one says why
            raise UserError(
                f"the loss is {all_values.item()} at step {self.global_step + 1} (epoch {self.current_epoch + 1}); "
                "training stopped and the last good checkpoint is kept. Lower optimizer.lr, or check the loss"
            )
        self.loss_sum += value * labelled
        self.label_sum += labelled
        self.log("loss", value.float(), prog_bar=True, logger=False)
        world = self.trainer.world_size
        share = labelled * world / all_labelled.clamp(min=1) if world > 1 else torch.ones_like(value)
        return loss * share.to(loss)

    def _sum_over_ranks(self, values: Tensor) -> Tensor:
        if self.trainer.world_size > 1:
            torch.distributed.all_reduce(values)
        return values

    def train_loss(self) -> float:
        """Σ loss·n ÷ Σ n over the epoch's labelled pixels of all ranks; every rank must call it. NaN without labels."""
        sums = self._sum_over_ranks(torch.stack([self.loss_sum, self.label_sum]))
        return (sums[0] / sums[1]).item() if sums[1] > 0 else float("nan")

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        self.confusion.update(self(batch["image"]).argmax(1), batch["target"])

    def on_validation_epoch_end(self) -> None:
        self.confusion_matrix = self.confusion.compute().cpu().tolist()
        self.confusion.reset()
        # The ranks agree already; sync_dist says so to Lightning, which warns otherwise.
        self.log("miou", metrics.mean_iou(self.confusion_matrix), prog_bar=True, logger=False, sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = self.optimizer(self.parameters())  # of the loss, too, if it has any
        if self.scheduler is None:
            return optimizer
        schedule: Any = self.scheduler(optimizer, total_steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
