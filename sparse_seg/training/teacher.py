"""A teacher: the running average of the network, which labels what nobody clicked."""

import copy
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparse_seg.classes import IGNORE_INDEX
from sparse_seg.errors import check_number
from sparse_seg.training.task import Batch, SegmentationTask


class TeacherTask(SegmentationTask):
    """The loss on the points, and where a slowly following copy is sure, on what it says of the other pixels.

    After each step t the copy's weights become their running average, in which the past weighs
    min(decay, (1 + t) ÷ (10 + t)) (Tarvainen, Valpola 2017, arXiv 1703.01780). From `start` of all steps on it labels
    the view that the network is shown: classes without a point in the image are ruled out, and the pixels whose best
    class has more than `threshold` are kept. Their cross-entropy, summed and divided by all pixels of the batch, joins
    the loss with `weight`; so it grows with the teacher's confidence. The teacher is what is scored, saved and
    predicts. With full masks nothing is left to be labelled, and the result is the average of the weights.

    Args:
        args, kwargs: as for `SegmentationTask`.
        decay: the largest weight of the past.
        start: share of all steps before the teacher is asked.
        threshold: probability.
        weight: of the second term.

    Raises:
        UserError: decay, start or threshold is no number from 0 to 1, or weight none of at least 0.
    """

    wants_shares: ClassVar[bool] = True

    def __init__(
        self,
        *args: Any,
        decay: float = 0.99,
        start: float = 0.2,
        threshold: float = 0.7,
        weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        for name, value in (("decay", decay), ("start", start), ("threshold", threshold)):
            check_number(f"method.{name}", value, most=1)
        check_number("method.weight", weight)
        self.decay, self.start, self.threshold, self.weight = decay, start, threshold, weight
        self._followed = 0
        """The step after which it last followed; none is taken after every batch where gradients are accumulated."""
        self.teacher = copy.deepcopy(self.network).requires_grad_(False).eval()

    @property
    def scored_network(self) -> nn.Module:
        return self.teacher

    def train(self, mode: bool = True) -> "TeacherTask":
        super().train(mode)
        self.teacher.eval()
        return self

    def training_loss(self, batch: Batch) -> tuple[Tensor, ...]:
        image, target = batch["image"], batch["target"]
        logits = self.network(image)
        loss = self.loss(self.moved(logits, batch), target, image=image)
        if self.global_step >= self.start * self.trainer.estimated_stepping_batches:
            return loss, (target != IGNORE_INDEX).sum(), self.weight * self._taught(logits, batch)
        return loss, (target != IGNORE_INDEX).sum()

    def _taught(self, logits: Tensor, batch: Batch) -> Tensor:
        with torch.no_grad():
            said = self.teacher(batch["image"]).float().softmax(1)
            if self.present is not None:
                said = said * self.present[batch["index"]][..., None, None]
            sure, label = said.max(1)
            kept = (sure > self.threshold) & (batch["target"] == IGNORE_INDEX)
        each: Tensor = F.cross_entropy(logits.float(), label, reduction="none") * kept
        return each.mean()

    @torch.no_grad()
    def on_train_batch_end(self, *args: Any) -> None:
        super().on_train_batch_end(*args)
        t = self.global_step
        if t == self._followed:
            return
        self._followed = t
        past = min(self.decay, (1 + t) / (10 + t))
        for mine, other in zip(self.teacher.state_dict().values(), self.network.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(other, 1 - past)
            else:
                mine.copy_(other)
