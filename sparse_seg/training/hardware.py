"""What this machine computes fast. Each rule was measured: see `make bench`."""

import ctypes

import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""glibc's names in malloc.h of what mallopt(3) sets."""


def _on_gpu(accelerator: str) -> bool:
    return accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


def native_precision(accelerator: str) -> str:
    """Lightning's name of the fastest precision that the device has in hardware: bf16-mixed, else 32-true."""
    if _on_gpu(accelerator):
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    if accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return "32-true"
    # A torch before 2.6 has no such questions. 32-true is right on every CPU, if slower on some.
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    native = any(getattr(torch.cpu, question, bool)() for question in asked)
    return "bf16-mixed" if native else "32-true"


def channels_last(accelerator: str, precision: str) -> bool:
    """Whether the network runs faster with channels last: on GPUs, and on CPUs in 32 bits, but not in bf16."""
    return _on_gpu(accelerator) or precision == "32-true"


def keep_freed_memory(accelerator: str) -> None:
    """Have this process keep what it frees for the next step, where that step is computed on a CPU under Linux.

    glibc gives each large block back to the kernel, and a training step asks for hundreds of them. To fetch them anew,
    page by page, is a fifth of a step of U-Net/EfficientNet-lite0 on one thread, a twentieth of ResNet-34's, and next
    to nothing of that on two threads. The process grows by some 7 %. Other allocators are left alone.
    """
    if _on_gpu(accelerator):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)  # large blocks come from the heap, too
        mallopt(M_TRIM_THRESHOLD, -1)  # whose end is never given back
