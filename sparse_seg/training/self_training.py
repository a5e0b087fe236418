"""Self-training: a teacher that has been trained labels all pixels of the training images, once."""

import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sparse_seg.classes import IGNORE_INDEX, Image, Mask
from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.errors import UserError, brief
from sparse_seg.networks.build import NormalisedNetwork
from sparse_seg.networks.features import Features
from sparse_seg.networks.flips import averaged_posterior
from sparse_seg.networks.found import find_checkpoint
from sparse_seg.networks.probe import Probe
from sparse_seg.networks.trained import Trained, load_trained
from sparse_seg.tensors import to_float
from sparse_seg.training.prior import gather, kept_in
from sparse_seg.training.probe import fit_of, probe_on
from sparse_seg.training.shares import own_shares
from sparse_seg.training.task import Batch, SegmentationTask

PROBE = "probe"
FILLED = 1.5
"""Sum of a pixel's probabilities above which a transform put 255 there; otherwise it is 0, or 1 within rounding."""
log = logging.getLogger("sparse_seg")


class SelfTrainingTask(SegmentationTask):
    """The loss on the points, and on all other pixels the cross-entropy to what a teacher said of them.

    Before the first epoch the teacher's posterior on each training image is averaged over the eight flips and
    rotations; classes without a point in the image become 0, and the rest is divided by its sum. The cross-entropy to
    it, summed over the pixels without a label and divided by all pixels of the batch, joins the loss with `weight`. The
    network is trained anew. Images with full masks have nothing to be labelled. No other pixel of a mask is read.

    The posterior is kept whole, in bytes, not as a class and its probability: a pixel that could be two classes says
    so, and no threshold is to be chosen. With C classes that is C bytes a pixel in memory, 19 MB for 58 images of 256 ×
    256 and five classes.

    A second round is a run with the first one as its teacher.

    Args:
        args, kwargs: as for `SegmentationTask`.
        teacher: "probe", on the encoder as it is before training and with the run's shares; or a finished run's folder,
            or a checkpoint.
        weight: of the second term.
        allow_random: whether a probe on an encoder without pretrained weights will do.

    Raises:
        UserError: there is no encoder to probe.
    """

    wants_shares: ClassVar[bool] = True

    def __init__(
        self,
        network: nn.Module,
        *args: Any,
        teacher: str = PROBE,
        weight: float = 1.0,
        allow_random: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(network, *args, **kwargs)
        self.teacher, self.weight = teacher, weight
        self._probe: list[NormalisedNetwork] = []  # in a list, so that it is no part of this module
        if teacher == PROBE:
            word = "method.teacher=probe"
            self._probe = [probe_on(network, len(self.class_names), allow_random, word)]
        self._made: dict[str, float] = {}

    def on_fit_start(self) -> None:
        data: Any = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, SparsePointsDataModule):
            raise UserError("method=self_training labels a SparsePointsDataModule's images: give one to the trainer")
        if self.shares is None:
            self.use_shares(own_shares(data))
        assert self.present is not None
        started = time.perf_counter()
        teacher = (self._fitted_probe(data) if self.teacher == PROBE else self._of_run(data)).to(self.device).eval()
        targets = soft_targets(teacher, data.training_examples(), self.present, data.size)
        data.add_soft_targets(list(targets))
        seconds, megabytes = time.perf_counter() - started, targets.nbytes / 1e6
        self._made = {"targets_seconds": round(seconds, 1), "targets_megabytes": round(megabytes, 1)}
        if self.trainer.is_global_zero:
            said = (self.teacher, len(targets), seconds, megabytes)
            log.info("%s labelled %d training images in %.0f s; that is %.1f MB of memory", *said)

    def training_loss(self, batch: Batch) -> tuple[Tensor, ...]:
        image, target = batch["image"], batch["target"]
        logits = self.network(image)
        loss = self.loss(self.moved(logits, batch), target, image=image)
        return loss, (target != IGNORE_INDEX).sum(), self.weight * self._taught(logits, batch)

    def _taught(self, logits: Tensor, batch: Batch) -> Tensor:
        said = batch["soft"].float() / 255
        open_pixels = (batch["target"] == IGNORE_INDEX) & (said.sum(1) < FILLED)
        log_posterior = logits.log_softmax(1, dtype=torch.promote_types(logits.dtype, torch.float32))
        return (-(said * log_posterior).sum(1) * open_pixels).mean()

    def _fitted_probe(self, data: SparsePointsDataModule) -> nn.Module:
        network = self._probe[0]
        probe = network.network
        assert isinstance(probe, Probe)
        fit = None if self.shares is None else self.shares.probe
        if fit is None:
            features = Features(probe, network.mean, network.std, kept_in(network, data))
            gathered = gather(features, data.training_examples(), count=0)
            fit = fit_of(gathered, len(self.class_names), self.shares)
        probe.take(fit)
        return network

    def _of_run(self, data: SparsePointsDataModule) -> nn.Module:
        trained = load_trained(find_checkpoint(Path(self.teacher), final=True))
        if problem := _mismatch(trained, data):
            raise UserError(f"method.teacher={self.teacher} {problem}")
        return trained.network

    @property
    def circumstances(self) -> dict[str, Any]:
        return self._made


def soft_targets(
    network: nn.Module, examples: Iterable[tuple[str, Image, Mask, bool]], present: Tensor, size: int
) -> NDArray[np.uint8]:
    """What a network says of the training images, as bytes.

    Args:
        network: in evaluation mode, on the device of `present`.
        examples: the training images in order, as `SparsePointsDataModule.training_examples` has them.
        present: (N, C) bool, the classes that an image has labelled pixels of; no other one is said.
        size: height and width of the images.

    Returns:
        (N, size, size, C) probabilities × 255; 0 for an image with its full mask.
    """
    made = np.zeros((len(present), size, size, present.shape[1]), np.uint8)
    with torch.no_grad():
        for out, (_, image, _, whole_mask), classes in zip(made, examples, present, strict=True):
            if whole_mask:
                continue
            said = averaged_posterior(network, to_float(image, present.device)[None])[0] * classes[:, None, None]
            said /= said.sum(0).clamp(min=torch.finfo(said.dtype).tiny)
            out[:] = (said * 255).round().to(torch.uint8).movedim(0, -1).cpu().numpy()
    return made


def _mismatch(trained: Trained, data: SparsePointsDataModule) -> str | None:
    """Why a trained network cannot label the images of a run, as the end of a sentence; None if it can."""
    theirs, ours = trained.classes.names, data.classes.names
    if theirs != ours:
        return f"was trained on the classes {brief(', '.join(theirs))}, and these are {brief(', '.join(ours))}"
    for name, theirs_, ours_ in (("bands", trained.bands, data.bands), ("pixels from", trained.scale, data.scale)):
        if (theirs_ and list(theirs_)) != (ours_ and list(ours_)):
            return f"was trained on {name} {theirs_ or 'as usual'}, and these images have {ours_ or 'the usual ones'}"
    if trained.size != data.size:
        return f"was trained at {trained.size} pixels, and data.size is {data.size}: give the same to both"
    if not bool((torch.as_tensor(getattr(trained.network, "std", 1.0)) > 0).all()):
        return "normalises by a deviation that is not positive: it is no usable network"
    return None
