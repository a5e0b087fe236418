"""A trained network, rebuilt from its checkpoint alone."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sparse_seg.classes import Classes
from sparse_seg.data.sample import ImageSet
from sparse_seg.errors import UserError
from sparse_seg.names import current
from sparse_seg.networks.build import create


@dataclass(frozen=True)
class Trained:
    """network: in evaluation mode, on the CPU. size: pixels that it was trained at. bands, scale, alpha: as
    `open_raster`'s. epoch: after which the weights were saved.
    """

    network: nn.Module
    classes: Classes
    size: int
    bands: tuple[int, ...] | None
    scale: tuple[float, float] | None
    epoch: int | None
    alpha: bool = True


def described(config: Any, images: ImageSet, size: int) -> dict[str, Any]:
    """What a checkpoint says of its network, for `load_trained`, in plain values.

    config: the network's `_target_` and arguments. size: pixels that it is trained at.
    """
    return {
        "config": config,
        **images.classes.to_dict(),
        "size": size,
        "bands": None if images.bands is None else list(images.bands),
        "scale": None if images.scale is None else list(images.scale),
        "alpha": images.alpha,
    }


def load_trained(path: Path) -> Trained:
    """Rebuild the network of best.ckpt or final.ckpt. Nothing but what `create` builds, and no code of the file is run.

    Raises:
        UserError: the file is damaged, no checkpoint of this project, or of a network that `create` does not build.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # errors of the disk, of zip and of unpickling
        line = (str(e).splitlines() or [type(e).__name__])[0][:200]
        raise UserError(f"{path} is damaged or no checkpoint: {line}") from e
    try:
        model, state = content["model"], content["state_dict"]
        config, classes = model["config"], Classes.from_dict(model)
        size, epoch = int(model["size"]), content.get("epoch")
        bands = None if model.get("bands") is None else tuple(int(b) for b in model["bands"])
        scale = None if model.get("scale") is None else (float(model["scale"][0]), float(model["scale"][1]))
        target, encoder = config["_target_"], str(config["encoder"])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as e:
        raise UserError(
            f"{path} does not say what network it belongs to ({type(e).__name__}: {e})\n"
            "give a run's folder, or its checkpoints/best.ckpt or final.ckpt"
        ) from e
    if current(target) != "sparse_seg.networks.create":
        raise UserError(f"{path} holds a network of {target}: only sparse_seg.networks.create is rebuilt from a file")
    if not re.fullmatch(r"[\w.-]+", encoder):  # timm takes hf-hub:NAME, and asks the network for it
        raise UserError(f"{path} names an encoder that is not taken from a file: {encoder!r}")
    arch = str(config.get("arch", "unet"))  # older code had no other
    network = create(
        arch,
        encoder,
        None,
        classes=len(classes),
        in_channels=3 if bands is None else len(bands),
    )
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as e:
        line = " ".join(str(e).split())[:200]
        raise UserError(f"{path} does not fit the network it names, {arch} with {encoder}: {line}") from e
    return Trained(network.eval(), classes, size, bands, scale, epoch, bool(model.get("alpha", True)))
