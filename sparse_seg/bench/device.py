"""Where this machine computes, how, and by which clock."""

import time

import torch

from sparse_seg.training.hardware import channels_last, native_precision

Variant = tuple[str, bool]
"""Lightning's name of a precision, and whether the memory format is channels last."""
BEGAN = time.perf_counter()


def device() -> torch.device:
    """The accelerator that a run uses, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def now() -> float:
    """perf_counter once the device has done all that it was given."""
    if (kind := device().type) != "cpu":
        getattr(torch, kind).synchronize()
    return time.perf_counter()


def say(text: str) -> None:
    print(f"{time.perf_counter() - BEGAN:5.0f} s  {text}", flush=True)


def automatic() -> Variant:
    """What a run with the default configuration computes in on this machine."""
    precision = native_precision("auto")
    return precision, channels_last("auto", precision)


def variant_name(variant: Variant) -> str:
    return f"{variant[0]}, {'channels last' if variant[1] else 'contiguous'}"
