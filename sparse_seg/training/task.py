"""Network, loss and scores as a LightningModule: the base of every training method. Knows no configuration."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix

from sparse_seg import metrics
from sparse_seg.classes import IGNORE_INDEX
from sparse_seg.errors import UserError
from sparse_seg.networks.probe import Fit
from sparse_seg.training.scores import Score, numbers_of
from sparse_seg.training.shares import RunningShares, Shares

Batch = Mapping[str, Tensor]
SEEN = 4
"""Stride of the pixels that `RunningShares` follow."""


def found_out(fit: Fit) -> dict[str, Any]:
    """What result.json says of a probe that was solved for."""
    return {"strength": fit.strength, "features_seconds": round(fit.seconds, 1)}


def adam(parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The optimizer of the command line without a word."""
    return Adam(parameters, lr=1e-4)


class SegmentationTask(L.LightningModule):
    """Trains a network on partially labelled targets and scores it on full masks.

    A batch has `image` (B, bands, H, W) float32 in 0..1 and `target` (B, H, W) int64, 255 = unlabelled; `mask`, as
    torchgeo names it, is taken for `target`.

    Another method is a subclass. It overrides `training_loss`, and `scored_network` if another network than the
    trained one is the result. All else stays here: loss that is not finite, DDP, sums, validation. What is scored,
    saved, drawn and loaded by predict is one network with one set of weights: `scored_network` as validation saw it,
    kept in `scored_state`, whatever a callback averages or copies before and after.

    Under DDP each rank's loss is scaled by n_rank × world ÷ n_all, so that the averaged gradient is that of one
    process with the whole batch. That holds for losses that are means over labelled pixels; a region loss such as
    Dice is computed per rank.

    Args:
        network: image (B, bands, H, W) → logits (B, C, H, W).
        loss: called as loss(logits, target, image=image), the mean over the labelled pixels.
        class_names: C names.
        optimizer: parameters → optimizer; by default that of the command line.
        scheduler: (optimizer, total_steps=…) → per-step schedule.
        scores: by name, see `sparse_seg.training.scores`.
        seed: with epoch and rank, of whatever draws at random inside network and loss.
        channels_last: the memory format that network and images get.
    """

    views: ClassVar[int] = 1
    """2: batches also have `image_strong`, the same geometry with colours drawn anew."""

    arch: ClassVar[str | None] = None
    """What `networks.create` calls `scored_network`, where that is another architecture than the model's."""

    wants_shares: ClassVar[bool] = False
    """True: `present` is set whatever the prior."""

    offsets: Tensor | None
    """(training images, C): what the logits of each image are moved by before the loss; see `Shares.offsets`."""
    present: Tensor | None
    """(training images, C) bool: which classes an image has labelled pixels of, where `use_shares` said so."""

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        *,
        class_names: Sequence[str],
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] = adam,
        scheduler: Callable[..., LRScheduler] | None = None,
        seed: int = 0,
        channels_last: bool = False,
        scores: Mapping[str, Score] | None = None,
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
        self.score_metrics = {name: s for name, s in (scores or {}).items() if isinstance(s, Metric)}
        self.score_functions = {name: s for name, s in (scores or {}).items() if not isinstance(s, Metric)}
        self._on_device = nn.ModuleList(self.score_metrics.values())  # a ModuleDict refuses names such as `type`
        self.shares: Shares | None = None
        """Of the classes in the training images, where `use_shares` was called."""
        self.register_buffer("offsets", None, persistent=False)
        self.register_buffer("present", None, persistent=False)
        self._said: Tensor | None = None  # no buffer: those of rank 0 would be every rank's
        self.loss_sum = torch.zeros((), dtype=torch.float64)
        self.label_sum = torch.zeros((), dtype=torch.float64)
        self.confusion_matrix: list[list[int]] = []
        """Counts of the last validation, rows truth, columns prediction."""
        self.scores: dict[str, float] = {}
        """What `scores` said of the last validation."""
        self.scored_state: dict[str, Tensor] = {}
        """The weights of `scored_network` that the last validation scored."""
        self.scored_epoch: int | None = None
        """The epoch of the last validation, from 1."""

    @property
    def scored_network(self) -> nn.Module:
        """The network that is the result: validated, saved, drawn, and loaded by predict."""
        return self.network

    def training_loss(self, batch: Batch) -> tuple[Tensor, ...]:
        """The loss of a batch, for the gradient, and how many labelled pixels it is the mean of.

        Args:
            batch: `image`, `target`, and whatever else the data give; with `views = 2` also `image_strong`.

        Returns:
            A scalar with a gradient, and a scalar count. A third one is added to the loss: a mean over all pixels,
            labelled or not, which ranks of DDP weigh by their images.
        """
        image, target = batch["image"], batch["target"]
        logits = self.moved(self.network(image), batch)
        return self.loss(logits, target, image=image), (target != IGNORE_INDEX).sum()

    def use_shares(self, shares: Shares) -> None:
        """Train with logits that are moved by the shares of the classes, so that the network says the ground's."""
        self.shares, self.present = shares, shares.present
        self.offsets = None
        if not isinstance(shares, RunningShares) and bool((shares.offsets != 0).any()):
            self.offsets = shares.offsets

    def moved(self, logits: Tensor, batch: Batch) -> Tensor:
        """Logits (B, C, H, W) of a training batch as the loss on its labelled pixels takes them.

        With `RunningShares` it is noted what they say of the images.
        """
        if self._said is not None and self.present is not None:
            present = self.present[batch["index"]][..., None, None]
            # Some pixels stand for the view: all of them would cost a tenth of a step.
            among = logits.detach()[..., ::SEEN, ::SEEN].float().masked_fill(~present, -torch.inf)
            self._said[batch["index"]] = among.softmax(1).mean((2, 3)).nan_to_num(0)  # NaN: no class is present
        if self.offsets is None:
            return logits
        return logits + self.offsets[batch["index"]][..., None, None]

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, C, H, W) of `scored_network`, as it is now."""
        logits: Tensor = self.scored_network(self._laid_out(image))
        return logits

    def scored_logits(self, image: Tensor) -> Tensor:
        """Logits (B, C, H, W) of `scored_network` with the weights that were scored last."""
        state = self.scored_state or dict(self.scored_network.state_dict())
        logits: Tensor = torch.func.functional_call(self.scored_network, state, (self._laid_out(image),))
        return logits

    def _laid_out(self, image: Tensor) -> Tensor:
        return image.contiguous(memory_format=torch.channels_last) if self.channels_last else image

    def whole_batch(self, batch: Batch) -> Batch:
        """A batch as `training_loss` gets it: with a target, and images in the memory format of the network."""
        whole = {k: self._laid_out(v) if k.startswith("image") else v for k, v in batch.items()}
        if "target" not in whole:
            if "mask" not in whole:
                raise UserError(f"a batch needs a target (or torchgeo's mask), got {', '.join(batch)}")
            mask = whole["mask"]
            whole["target"] = (mask.squeeze(1) if mask.ndim == 4 else mask).long()
        return whole

    def on_train_epoch_start(self) -> None:
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=self._sum_device)
        self.label_sum = torch.zeros_like(self.loss_sum)
        if isinstance(self.shares, RunningShares) and not self.shares.is_known:
            self.follow_shares(self.global_step >= self.shares.start * self.trainer.estimated_stepping_batches)

    def follow_shares(self, moves: bool) -> None:
        """Note from now on what the network says of the images. moves: whether the shares so far move its logits."""
        assert self.shares is not None
        assert self.present is not None
        self._said = torch.zeros(self.present.shape, device=self.device)
        if moves:
            self.offsets = self.shares.offsets.to(self.device)

    def on_train_batch_end(self, *_: Any) -> None:
        # Not at the epoch's end: callbacks come before the module there, and draw what the shares are.
        if self.trainer.is_last_batch and isinstance(self.shares, RunningShares) and self._said is not None:
            self.shares = self.shares.after(self._sum_over_ranks(self._said))  # an image is shown on one rank
            self._said = None

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
        loss, n_labelled, *others = self.training_loss(self.whole_batch(batch))
        value, other = (self._as_double(v) for v in (sum(others, loss), sum(others, torch.zeros_like(loss))))
        labelled, images = (torch.as_tensor(n).to(value) for n in (n_labelled, len(batch["image"])))
        all_labelled, all_values, all_images = self._sum_over_ranks(torch.stack([labelled, value, images]))
        if not torch.isfinite(all_values):  # on whichever rank: all of them stop here, and the first one says why
            raise UserError(
                f"the loss is {all_values.item()} at step {self.global_step + 1} (epoch {self.current_epoch + 1}); "
                "training stopped and the last good checkpoint is kept. Lower optimizer.lr, or check the loss"
            )
        self.label_sum += labelled
        self.log("loss", value.float(), prog_bar=True, logger=False)
        if (world := self.trainer.world_size) == 1:
            self.loss_sum += value * labelled
        else:
            mine = images / all_images
            self.loss_sum += (value - other) * labelled + other * mine * all_labelled
            loss = loss * (labelled * world / all_labelled.clamp(min=1)).to(loss)
            others = [term * (mine * world).to(loss) for term in others]
        total: Tensor = sum(others, loss)
        return total

    def _as_double(self, value: Tensor) -> Tensor:
        value = value.detach()
        return value.cpu().double() if self.device.type == "mps" else value.double()

    def _sum_over_ranks(self, values: Tensor) -> Tensor:
        if self.trainer.world_size > 1:
            torch.distributed.all_reduce(values)
        return values

    def train_loss(self) -> float:
        """Σ loss·n ÷ Σ n over the epoch's labelled pixels of all ranks; every rank must call it. NaN without labels."""
        sums = self._sum_over_ranks(torch.stack([self.loss_sum, self.label_sum]))
        return (sums[0] / sums[1]).item() if sums[1] > 0 else float("nan")

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        if batch_index == 0:
            # Here, not at the end: callbacks that swap averaged weights in have done so, and swap them out too soon.
            self.scored_state = {k: v.detach().clone() for k, v in self.scored_network.state_dict().items()}
        batch = self.whole_batch(batch)
        logits, target = self(batch["image"]), batch["target"]
        self.confusion.update(logits.max(1).indices, target)  # a tenth of the time of argmax(1) on a CPU
        for metric in self.score_metrics.values():
            metric.update(logits, target)

    def on_validation_epoch_end(self) -> None:
        self.confusion_matrix = self.confusion.compute().cpu().tolist()
        self.confusion.reset()
        said: dict[str, Any] = {name: metric.compute() for name, metric in self.score_metrics.items()}
        for metric in self.score_metrics.values():
            metric.reset()
        said |= {name: score(self.confusion_matrix, self.class_names) for name, score in self.score_functions.items()}
        self.scores = {}
        for name, numbers in said.items():
            self.scores |= numbers_of(name, numbers)
        if not self.trainer.sanity_checking:
            self.scored_epoch = self.current_epoch + 1
        # The ranks agree already; sync_dist says so to Lightning, which warns otherwise.
        self.log("miou", metrics.mean_iou(self.confusion_matrix), prog_bar=True, logger=False, sync_dist=True)
        self.log_dict(self.scores, logger=False, sync_dist=True)

    @property
    def circumstances(self) -> dict[str, Any]:
        """What a method found out that belongs into result.json: plain values. Of a probe that estimated the shares,
        the strength of its L2 term and the seconds that reading its features took.
        """
        fit = None if self.shares is None else self.shares.probe
        return {} if fit is None else found_out(fit)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.scored_epoch is not None and self.scored_epoch <= self.current_epoch:  # this epoch was not validated
            checkpoint["scored"] = {"state": self.scored_state, "epoch": self.scored_epoch}
        if isinstance(self.shares, RunningShares):
            checkpoint["ground"] = self.shares.ground

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if scored := checkpoint.get("scored"):
            self.scored_state, self.scored_epoch = scored["state"], scored["epoch"]
        if isinstance(self.shares, RunningShares):
            self.shares = replace(self.shares, ground=checkpoint["ground"])

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = self.optimizer(self.parameters())  # of the loss, too, if it has any
        if self.scheduler is None:
            return optimizer
        schedule: Any = self.scheduler(optimizer, total_steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
