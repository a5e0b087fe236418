"""Segmentation networks of segmentation_models_pytorch, and the pretrained weights of their encoders."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import segmentation_models_pytorch as smp
import timm
import torch
from timm.models import adapt_input_conv
from torch import Tensor, nn

from sparse_seg.errors import UserError
from sparse_seg.networks.probe import Probe, encoder_of
from sparse_seg.networks.sizes import USUAL

ARCHITECTURES = tuple(smp.MODEL_ARCHITECTURES_MAPPING)
PROBE = "probe"
FITTING = {"dpt": "a tu- encoder, such as tu-vit_tiny_patch16_224"}
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
INCEPTION = ("inception", "xception", "timm-tf_efficientnet_lite")
"""Encoders of segmentation_models_pytorch whose ImageNet weights take images from −1 to 1."""


class NormalisedNetwork(nn.Module):
    """A network behind its encoder's input normalisation.

    forward: image float32 (B, in_channels, H, W) in 0..1 → logits (B, C, H, W). Mean and standard deviation, one of
    each per channel, are buffers, so a checkpoint carries them.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], pretrained: bool = False
    ) -> None:
        super().__init__()
        self.network = network
        self.pretrained = pretrained
        """Whether the encoder began with weights of its own."""
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    @property
    def size_multiple(self) -> int:
        """What height and width of an image must be a multiple of: the encoder's output stride, or its patch."""
        stride = int(getattr(getattr(self.network, "encoder", None), "output_stride", USUAL))
        # DPT halves the grid of a ViT's patches once more, and adds what it doubles again to that grid.
        return 2 * stride if isinstance(self.network, smp.DPT) and stride < USUAL else stride

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.network((image - self.mean) / self.std)
        return logits


def create(
    arch: str = "unet",
    encoder: str = "resnet34",
    encoder_weights: str | None = "imagenet",
    *,
    classes: int,
    in_channels: int = 3,
) -> NormalisedNetwork:
    """Build a segmentation network.

    Pretrained weights are of red, green and blue. For other bands they become what smp and timm make of them: band k,
    from 0, has the weights of channel k mod 3 in the first convolution, all times 3 ÷ in_channels so that the sum over
    the bands keeps its size; a single band has the sum over the three channels. The input is normalised alike, with or
    without pretrained weights: band k by mean and standard deviation of channel k mod 3, a single band by their
    averages.

    Args:
        arch: an architecture of segmentation_models_pytorch, or "probe": a linear layer on all levels of the encoder.
        encoder: a name of its encoders, `tu-…` for timm's.
        encoder_weights: "imagenet" (downloaded), None, or a local `.safetensors` or `.pth` file with smp's or timm's
            key names. Only "imagenet" touches the internet.
        classes: number of output channels.
        in_channels: the image's bands, at least 1.

    Returns:
        float32 (B, in_channels, H, W) in 0..1 → logits (B, classes, H, W), H and W multiples of its `size_multiple`.

    Raises:
        UserError: an unknown architecture or encoder, two that do not fit, weights that cannot be had, or a file of
            another network.

    Example:
        >>> create("unet", "resnet18", None, classes=5)(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 5, 64, 64])
    """
    local = encoder_weights is not None and encoder_weights != "imagenet"
    if local and not Path(str(encoder_weights)).is_file():
        raise UserError(
            f"model.encoder_weights={encoder_weights} is neither imagenet, nor null, nor a file that exists"
        )
    if arch == PROBE:
        return _probe(encoder, encoder_weights, classes, in_channels)
    if arch.lower() not in ARCHITECTURES:
        raise UserError(f"model.arch={arch} is unknown; choose {', '.join(ARCHITECTURES)}")
    shape = {"in_channels": in_channels, "classes": classes}
    try:
        network = smp.create_model(arch, encoder, encoder_weights=None, **shape)
        if getattr(network.encoder, "is_fixed_input_size", False):  # a ViT, which takes other sizes if it is told so
            shape |= {"dynamic_img_size": True}
            network = smp.create_model(arch, encoder, encoder_weights=None, **shape)
    except (KeyError, RuntimeError) as e:
        raise UserError(f"model.encoder={encoder} is not an encoder of segmentation_models_pytorch: {_line(e)}") from e
    except (ValueError, TypeError, NotImplementedError, AttributeError) as e:
        raise UserError(
            f"model.encoder={encoder} does not fit model.arch={arch}: {_line(e).rstrip('.')}. "
            f"Choose {FITTING.get(arch.lower(), 'another encoder, such as resnet34, or model.arch=dpt for a tu-vit_…')}"
        ) from e
    if local:
        load_encoder_weights(network.encoder, Path(str(encoder_weights)), encoder, in_channels)
    elif encoder_weights == "imagenet":
        network.encoder = _imagenet_encoder(arch, encoder, shape)
    return NormalisedNetwork(network, *_normalisation(encoder, in_channels), encoder_weights is not None)


def _probe(encoder: str, encoder_weights: str | None, classes: int, in_channels: int) -> NormalisedNetwork:
    built = encoder_of(encoder, in_channels)
    if encoder_weights == "imagenet":
        built = _imagenet_encoder("unet", encoder, {"in_channels": in_channels, "classes": classes})
    elif encoder_weights is not None:
        load_encoder_weights(built, Path(str(encoder_weights)), encoder, in_channels)
    return NormalisedNetwork(Probe(built, classes), *_normalisation(encoder, in_channels), encoder_weights is not None)


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _imagenet_encoder(arch: str, encoder: str, shape: Mapping[str, Any]) -> nn.Module:
    try:
        built: nn.Module = smp.create_model(arch, encoder, encoder_weights="imagenet", **shape).encoder
        return built
    except Exception as e:  # every kind of network error of two download libraries, and "no such weights"
        raise UserError(
            f"the ImageNet weights of {encoder} cannot be loaded ({type(e).__name__}: {_line(e)}).\n"
            "Name a local file, model.encoder_weights=FILE, or train without them, model.encoder_weights=null, which "
            "method=probe cannot"
        ) from e


def _normalisation(encoder: str, in_channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    if encoder.startswith(INCEPTION):
        mean, std = timm.data.IMAGENET_INCEPTION_MEAN, timm.data.IMAGENET_INCEPTION_STD
    elif encoder.startswith("dpn"):
        mean, std = timm.data.IMAGENET_DPN_MEAN, timm.data.IMAGENET_DPN_STD
    elif encoder.startswith("tu-") and (cfg := timm.get_pretrained_cfg(encoder[3:])) is not None:
        mean, std = cfg.mean, cfg.std
    return _per_band(mean, in_channels), _per_band(std, in_channels)


def _per_band(values: tuple[float, ...], in_channels: int) -> tuple[float, ...]:
    if in_channels == 1:
        return (sum(values) / len(values),)
    return tuple(values[k % len(values)] for k in range(in_channels))


def _other_names(key: str) -> list[str]:
    """The names under which a file may hold an encoder's tensor: smp's own, a whole smp model's, timm's."""
    timm_key = key.removeprefix("model.")
    # timm's features-only networks flatten the first level: stem.0 becomes stem_0.
    return [key, f"encoder.{key}", timm_key, re.sub(r"^([a-z]+)_(\d+)\.", r"\1.\2.", timm_key)]


def _foreign(spare: list[str], used: set[str], encoder_name: str) -> list[str]:
    """Of the keys that an encoder has no use for, those that show a deeper network than it.

    A classifier is no such sign. For timm's networks: what the whole network lacks. For others: what belongs to a
    stage that is used, layer1.2 beside layer1.0 and layer1.1.
    """
    spare = [k for k in spare if not k.endswith("num_batches_tracked")]
    if encoder_name.startswith("tu-"):
        # Not on the device "meta", on which timm builds all its networks only since 1.0.22.
        whole = timm.create_model(encoder_name[3:], pretrained=False).state_dict()
        return [k for k in spare if k.removeprefix("encoder.").removeprefix("model.") not in whole]
    stages = {k.removeprefix("encoder.").split(".")[0] for k in used}
    return [k for k in spare if k.removeprefix("encoder.").split(".")[0] in stages]


def _for_bands(weight: Tensor, shape: torch.Size, in_channels: int) -> Tensor:
    """The weights (out, 3, h, w) of a convolution that sees the image, for in_channels bands; all others as they are.

    shape: what the encoder has there.
    """
    sees_rgb = weight.ndim == 4 and weight.shape[1] == 3
    if sees_rgb and shape == (weight.shape[0], in_channels, *weight.shape[2:]):
        return adapt_input_conv(in_channels, weight)
    return weight


def load_encoder_weights(encoder: nn.Module, path: Path, encoder_name: str, in_channels: int = 3) -> None:
    """Load every tensor of an encoder from a file; all or nothing.

    encoder_name: its name in segmentation_models_pytorch. in_channels: the encoder's; convolutions that see the image
    are adapted as `create` says, unless the file has them for as many. The file may hold more: a classifier, a decoder.
    Raises UserError if it cannot be read as tensors, lacks a tensor, has one of another shape, or holds a deeper
    network, naming the first ones.
    """
    try:
        if path.suffix == ".safetensors":
            given: Mapping[str, Tensor] = safetensors.torch.load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
            given = content.get("state_dict", content)
    except Exception as e:  # safetensors, zip and unpickling errors
        raise UserError(f"model.encoder_weights={path} cannot be read as weights: {_line(e)}") from e
    state, missing, other_shape, used = {}, [], [], set()
    for key, own in encoder.state_dict().items():
        name = next((n for n in _other_names(key) if n in given), None)
        if name is None:
            if not key.endswith("num_batches_tracked"):  # files older than PyTorch 0.4.1 lack this counter
                missing.append(key)
        elif (fitting := _for_bands(given[name], own.shape, in_channels)).shape != own.shape:
            other_shape.append(f"{key} {tuple(given[name].shape)} instead of {tuple(own.shape)}")
        else:
            state[key] = fitting
            used.add(name)
    spare = [k for k in given if k not in used]
    foreign = [k for k in _foreign(spare, used, encoder_name) if not k.startswith(("decoder.", "segmentation_head."))]
    if missing or other_shape or foreign:
        raise UserError(
            f"model.encoder_weights={path} holds another network than model.encoder: "
            f"{len(missing)} tensors missing ({', '.join(missing[:3])}), "
            f"{len(other_shape)} of another shape ({', '.join(other_shape[:2])}); "
            f"the file's first unused keys: {', '.join((foreign or spare)[:3]) or 'none'}"
        )
    encoder.load_state_dict(state, strict=False)
