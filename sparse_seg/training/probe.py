"""A linear probe as a method: the encoder stays as it is, and one linear layer is solved for."""

import copy
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.errors import UserError, check_number
from sparse_seg.networks.build import PROBE, NormalisedNetwork
from sparse_seg.networks.features import Features
from sparse_seg.networks.probe import Fit, Probe, solve
from sparse_seg.training.prior import Gathered, gather, kept_in, readable_encoder
from sparse_seg.training.shares import RunningShares, Shares
from sparse_seg.training.task import Batch, SegmentationTask, found_out


def probe_on(network: nn.Module, classes: int, allow_random: bool, word: str) -> NormalisedNetwork:
    """A probe on a copy of a network's encoder.

    Args:
        network: as `networks.create` makes it.
        classes: C.
        allow_random: whether an encoder without pretrained weights will do.
        word: what asks for it, for the message.

    Returns:
        A network with the same normalisation whose layer is still to be solved for.

    Raises:
        UserError: the network has no encoder, or one that knows nothing.
    """
    encoder = readable_encoder(network)
    if encoder is None or not isinstance(network, NormalisedNetwork):
        raise UserError(f"{word} reads the encoder of model, and this network has none that a probe can read")
    if not network.pretrained and not allow_random:
        raise UserError(
            f"{word} with model.encoder_weights=null reads an encoder that knows nothing\n"
            "give its weights, imagenet or a file; method.allow_random=true goes on without"
        )
    probe = copy.copy(network)
    probe._modules = dict(network._modules)
    probe.network = Probe(copy.deepcopy(encoder), classes)
    return probe


def fit_of(data: Gathered, classes: int, shares: Shares | None, strength: float | None = None) -> Fit:
    """Solve for the layer of a probe.

    Args:
        data: what `gather` read of the training images.
        classes: C.
        shares: by which the logits are moved.
        strength: of the L2 term; None: the one that does best on a fifth of the labelled pixels of each image and
            class.
    """
    strength = data.strength(classes) if strength is None else strength
    offsets = None if shares is None else shares.per_image[data.image]
    return data.fit(solve(data.features, data.labels, classes, strength, offsets), strength, shares)


class ProbeTask(SegmentationTask):
    """Multinomial logistic regression on what a frozen encoder says of the labelled pixels.

    Each epoch reads the features of the training images as they are, without augmentation, and solves; so one epoch is
    all. The strength of the L2 term is the one that does best on a fifth of the labelled pixels of each image and
    class; then all of them are fitted. Loss, optimizer and schedule are not asked.

    Args:
        network: one with an encoder, as `networks.create` makes it; its decoder is left out.
        args, kwargs: as for `SegmentationTask`.
        allow_random: whether an encoder without pretrained weights will do.
        strength: of the L2 term; None: chosen as above.

    Raises:
        UserError: the network has no encoder, or one that knows nothing; strength is negative or no number.
    """

    arch: ClassVar[str | None] = PROBE

    def __init__(
        self,
        network: nn.Module,
        *args: Any,
        allow_random: bool = False,
        strength: float | None = None,
        **kwargs: Any,
    ) -> None:
        probe = probe_on(network, len(kwargs["class_names"]), allow_random, "method=probe")
        super().__init__(probe, *args, **kwargs)
        if strength is not None:
            check_number("method.strength", strength)
        self.automatic_optimization = False
        self.strength = strength
        self._features: Features | None = None
        self._gathered: Gathered | None = None
        self._fit: Fit | None = None
        self._found: dict[str, Any] = {}
        """What a run that was interrupted after its epoch had found out."""

    def use_shares(self, shares: Shares) -> None:
        """As for every method. Raises UserError for shares that follow a network while it learns."""
        if isinstance(shares, RunningShares):
            raise UserError("prior=network needs epochs, and method=probe has none: choose prior=estimated")
        super().use_shares(shares)

    @property
    def probe(self) -> Probe:
        probe = self.network.network
        assert isinstance(probe, Probe)
        return probe

    def configure_optimizers(self) -> None:
        """None: the layer is solved for."""

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        data: Any = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, SparsePointsDataModule):
            raise UserError("method=probe reads the images of a SparsePointsDataModule: give one to the trainer")
        network = self.network
        assert isinstance(network, NormalisedNetwork)
        self._features = Features(self.probe, network.mean, network.std, kept_in(network, data))
        self._fit = None if self.shares is None else self.shares.probe
        if self._fit is None or self.strength not in (None, self._fit.strength):
            self._fit, self._gathered = None, gather(self._features, data.training_examples(), count=0)

    def forward(self, image: Tensor) -> Tensor:
        if self._features is None:
            return super().forward(image)
        weight = self.probe.weight
        with torch.autocast(weight.device.type, enabled=False):  # as the levels are
            each = [[level[None].to(weight) for level in self._features(one)] for one in image]
            return torch.cat([self.probe.logits(levels) for levels in each])

    def scored_logits(self, image: Tensor) -> Tensor:
        """As for every method; there is one solution, and the features of the images are kept."""
        logits: Tensor = self(image)
        return logits

    def training_step(self, batch: Batch, batch_index: int) -> None:  # type: ignore[override]
        """Nothing: the epoch's images were read when it began."""

    def on_validation_start(self) -> None:
        if self._gathered is not None:
            self._fit = fit_of(self._gathered, len(self.class_names), self.shares, self.strength)
            self._gathered = None
        if self._fit is None:
            return
        self.probe.take(self._fit)
        self.strength = self._fit.strength
        self.label_sum = torch.full_like(self.label_sum, self._fit.pixels)
        self.loss_sum = self._fit.loss.to(self.label_sum) * self.label_sum

    @property
    def circumstances(self) -> dict[str, Any]:
        return self._found if self._fit is None else found_out(self._fit)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["found"] = self.circumstances

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self._found = checkpoint.get("found", {})
