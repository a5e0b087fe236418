"""What this machine computes fast. Each rule was measured: see `make bench`."""

import torch


def _on_gpu(accelerator: str) -> bool:
    return accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


def native_precision(accelerator: str) -> str:
    """Lightning's name of the fastest precision that the device has in hardware: bf16-mixed, else 32-true."""
    if _on_gpu(accelerator):
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    if accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return "32-true"
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if native else "32-true"


def channels_last(accelerator: str, precision: str) -> bool:
    """Whether the network runs faster with channels last: on GPUs, and on CPUs in 32 bits, but not in bf16."""
    return _on_gpu(accelerator) or precision == "32-true"
