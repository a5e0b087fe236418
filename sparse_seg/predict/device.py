"""A network on a device, in a precision."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sparse_seg.networks.flips import averaged_posterior
from sparse_seg.predict.windows import Refused
from sparse_seg.training.hardware import native_precision

TINY = torch.finfo(torch.float32).tiny
"""Least probability that has a logarithm."""


def device_of(name: str) -> torch.device:
    """The device of that name, "auto" for the fastest there is.

    Raises:
        Refused: there is no such device here.
    """
    if name == "auto":
        mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as e:
        raise Refused("device", name, f"cannot be used: {(str(e).splitlines() or ['?'])[0]}") from e
    return device


def network_on(
    module: nn.Module, device: torch.device, precision: str, flips: bool = False
) -> Callable[[Tensor], Tensor]:
    """The network on that device, with channels last, in a precision: "32", "bf16", or "auto" for the fastest in
    hardware. flips: its logits become the logarithm of the posterior averaged over flips and rotations.

    Raises:
        Refused: another precision.
    """
    if precision not in ("auto", "32", "bf16"):
        raise Refused("precision", precision, "must be auto, 32 or bf16")
    module = module.to(device)
    if device.type != "mps":  # of which nobody has measured it
        module = module.to(memory_format=torch.channels_last)
    fast = precision == "bf16"
    if precision == "auto":
        fast = native_precision("cpu" if device.type == "cpu" else "auto") == "bf16-mixed"

    def network(image: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            logits: Tensor = module(image)
        return logits

    return (lambda image: averaged_posterior(network, image).clamp_min(TINY).log()) if flips else network
