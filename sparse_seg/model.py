"""U-Net with any encoder of segmentation_models_pytorch, and its pretrained weights."""

import re
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor, nn

from sparse_seg.errors import UserError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class NormalisedNetwork(nn.Module):
    """A network behind its encoder's input normalisation.

    forward: image float32 (B, 3, H, W) in 0..1 → logits (B, C, H, W). Mean and standard deviation are buffers, so a
    checkpoint carries them.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.network((image - self.mean) / self.std)


def unet(classes: int, encoder: str = "resnet34", encoder_weights: str | None = "imagenet") -> NormalisedNetwork:
    """Build a U-Net.

    classes: number of output channels. encoder: a name of segmentation_models_pytorch, `tu-…` for timm's.
    encoder_weights: "imagenet" (downloaded), None, or a local `.safetensors` or `.pth` file with smp's or timm's key
    names. Only "imagenet" touches the network. Raises UserError for an unknown encoder, weights that cannot be had,
    or a file of another network.
    """
    local = encoder_weights is not None and encoder_weights != "imagenet"
    if local and not Path(str(encoder_weights)).is_file():
        raise UserError(
            f"model.encoder_weights={encoder_weights} is neither imagenet, nor null, nor a file that exists"
        )
    try:
        network = smp.Unet(encoder, encoder_weights=None, in_channels=3, classes=classes)
    except (KeyError, RuntimeError) as e:
        raise UserError(f"model.encoder={encoder} is not an encoder of segmentation_models_pytorch: {_line(e)}") from e
    if local:
        load_encoder_weights(network.encoder, Path(str(encoder_weights)), encoder)
    elif encoder_weights == "imagenet":
        network.encoder = _imagenet_encoder(encoder)
    return NormalisedNetwork(network, *_normalisation(encoder))


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _imagenet_encoder(encoder: str) -> nn.Module:
    try:
        return smp.encoders.get_encoder(encoder, in_channels=3, depth=5, weights="imagenet")
    except Exception as e:  # every kind of network error of two download libraries, and "no such weights"
        raise UserError(
            f"the ImageNet weights of {encoder} cannot be loaded ({type(e).__name__}: {_line(e)}).\n"
            "Train without them by model.encoder_weights=null, or name a local file: model.encoder_weights=FILE"
        ) from e


def _normalisation(encoder: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if encoder.startswith("tu-") and (cfg := timm.get_pretrained_cfg(encoder[3:])) is not None:
        return cfg.mean, cfg.std
    return IMAGENET_MEAN, IMAGENET_STD


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
        with torch.device("meta"):
            whole = timm.create_model(encoder_name[3:], pretrained=False).state_dict()
        return [k for k in spare if k.removeprefix("encoder.").removeprefix("model.") not in whole]
    stages = {k.removeprefix("encoder.").split(".")[0] for k in used}
    return [k for k in spare if k.removeprefix("encoder.").split(".")[0] in stages]


def load_encoder_weights(encoder: nn.Module, path: Path, encoder_name: str) -> None:
    """Load every tensor of an encoder from a file; all or nothing.

    encoder_name: its name in segmentation_models_pytorch. The file may hold more: a classifier, a decoder. Raises
    UserError if it cannot be read as tensors, lacks a tensor, has one of another shape, or holds a deeper network,
    naming the first ones.
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
        elif given[name].shape != own.shape:
            other_shape.append(f"{key} {tuple(given[name].shape)} instead of {tuple(own.shape)}")
        else:
            state[key] = given[name]
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
