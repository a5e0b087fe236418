"""A trained network, rebuilt from its checkpoint alone."""

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sparse_seg.classes import IGNORE_INDEX, Classes
from sparse_seg.data.folder import MOST_BANDS
from sparse_seg.data.sample import ImageSet
from sparse_seg.errors import UserError, brief
from sparse_seg.names import current
from sparse_seg.networks.build import create

LARGEST = 2**14
"""Pixels of the side of a training image."""


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch thinks of a damaged file
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # errors of the disk, of zip and of unpickling
        line = (str(e).splitlines() or [type(e).__name__])[0][:200]
        raise UserError(f"{path} is damaged or no checkpoint: {line}") from e
    try:
        model, state = content["model"], _weights(content["state_dict"])
        config, classes = model["config"], Classes.from_dict(model)
        size, epoch = int(model["size"]), content.get("epoch")
        bands, scale = _bands(model.get("bands")), _scale(model.get("scale"))
        target, encoder = str(config["_target_"]), str(config["encoder"])
        arch = str(config.get("arch", "unet"))  # older code had no other
        if len(classes) > IGNORE_INDEX:
            raise ValueError(f"{len(classes)} classes")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as e:
        raise UserError(
            f"{path} does not say what network it belongs to ({type(e).__name__}: {str(e)[:200]})\n"
            "give a run's folder, or its checkpoints/best.ckpt or final.ckpt"
        ) from e
    if current(target) != "sparse_seg.networks.create":
        raise UserError(
            f"{path} holds a network of {target[:200]}: only sparse_seg.networks.create is rebuilt from a file"
        )
    if not re.fullmatch(r"[\w.-]{1,100}", encoder):  # timm takes hf-hub:NAME, and asks the network for it
        raise UserError(f"{path} names an encoder that is not taken from a file: {brief(encoder)}")
    try:
        network = create(
            arch[:100], encoder, None, classes=len(classes), in_channels=3 if bands is None else len(bands)
        )
    except UserError as e:
        raise UserError(f"{path} names a network that cannot be built: {e}") from e
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as e:
        line = " ".join(str(e).split())[:200]
        raise UserError(f"{path} does not fit the network it names, {arch} with {encoder}: {line}") from e
    if not all(values.isfinite().all() for values in network.state_dict().values()):
        raise UserError(f"{path} holds weights that are no finite numbers: its training has failed; give another run")
    if not 0 < size <= LARGEST or size % network.size_multiple:
        raise UserError(
            f"{path} says that it was trained at {size} pixels, which is no multiple of {network.size_multiple} "
            f"up to {LARGEST}"
        )
    return Trained(network.eval(), classes, size, bands, scale, epoch, bool(model.get("alpha", True)))


def _weights(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Raises ValueError or AttributeError if these are no real numbers."""
    for name, values in state.items():
        if values.is_complex() or values.is_meta:
            raise ValueError(f"the weights {str(name)[:100]} are no real numbers")
    return state


def _bands(given: Sequence[Any] | None) -> tuple[int, ...] | None:
    bands = None if given is None else tuple(int(b) for b in given)
    if bands is not None and not (1 <= len(bands) <= MOST_BANDS and min(bands) > 0):
        raise ValueError(f"bands {brief(bands)}")
    return bands


def _scale(given: Sequence[Any] | None) -> tuple[float, float] | None:
    if given is None:
        return None
    low, high = (float(v) for v in given)
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"scale {[low, high]}")
    return low, high
