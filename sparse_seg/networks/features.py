"""The levels of a frozen encoder, kept on the disk: an image is read once, not once per run."""

import hashlib
import os
import time
import warnings
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sparse_seg.errors import UserError
from sparse_seg.files import replacing
from sparse_seg.networks.probe import Probe

FORMAT = "1"
"""Part of the key: raise it when what is kept, or how it is computed, changes."""
LIMIT = 2**32
"""Bytes of all files together."""


class Features:
    """What `Probe.levels` says of one image after another, computed or read from the disk: the same bits.

    A file holds the encoder's levels of one image in float32. Its name is a digest of all that they depend on: weights
    and structure of the encoder, normalisation, pixels, PyTorch's version, device, and number of threads. A file that
    is damaged is made anew. Beyond `LIMIT` the files that were not used for longest make room; where nothing older than
    this object is left, or the disk is full, no more are kept.

    Args:
        probe: whose levels are computed, on the device where it is now.
        mean, std: (1, bands, 1, 1), what images are normalised with.
        folder: where the files lie; None: nothing is kept.

    Example:
        >>> from sparse_seg.networks import create
        >>> network = create("probe", "resnet18", None, classes=5)
        >>> features = Features(network.network, network.mean, network.std, None)
        >>> [tuple(level.shape) for level in features(torch.zeros(3, 64, 64))][:3]
        [(9, 64, 64), (64, 32, 32), (64, 16, 16)]
    """

    def __init__(self, probe: Probe, mean: Tensor, std: Tensor, folder: Path | None) -> None:
        self.probe = probe
        self.mean, self.std = mean.cpu(), std.cpu()
        self.folder = folder
        self._since = time.time()
        self._used: int | None = None
        """Bytes in the folder, once they are counted."""
        if folder is not None:
            said = [
                FORMAT,
                torch.__version__,
                probe.weight.device.type,
                str(torch.get_num_threads()),
                repr(probe.encoder),
            ]
            state = {**probe.encoder.state_dict(), "mean": self.mean, "std": self.std}
            named = (part for name, value in state.items() for part in (name.encode(), *_bytes(value)))
            self._key = _digest([part.encode() for part in said], named)

    def __call__(self, image: Tensor) -> list[Tensor]:
        """The levels of an image.

        Args:
            image: float32 (bands, H, W) in 0..1.

        Returns:
            (width, h, w) float32 each, on the CPU, from the largest to the smallest.
        """
        image = image.cpu().contiguous()
        shown = (image[None] - self.mean) / self.std
        return [self.probe.around(shown)[0], *self._deeper(image, shown)]

    def _deeper(self, image: Tensor, shown: Tensor) -> list[Tensor]:
        if self.folder is None:
            return self._computed(shown)
        path = self.folder / f"{_digest([self._key], _bytes(image)).hex()[:40]}.safetensors"
        levels = _read(path)
        if levels is None or [len(level) for level in levels] != self.probe.widths[1:]:
            levels = self._computed(shown)
            self._keep(path, levels)
        else:
            with suppress(OSError):  # another user's, say: the file only seems less used than it is
                os.utime(path)
        return levels

    def _computed(self, shown: Tensor) -> list[Tensor]:
        # In one layout and precision, since they decide the last bits.
        device = self.probe.weight.device
        given = shown.to(device).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, enabled=False):
            return [level[0].float().cpu().contiguous() for level in self.probe.deeper(given)]

    def _keep(self, path: Path, levels: list[Tensor]) -> None:
        named = {str(k): level for k, level in enumerate(levels)}
        content = safetensors.torch.save(named, {"crc32": _sum(levels)})
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not self._has_room(path.parent, len(content)):
                return
            with replacing(path) as beside:
                beside.write_bytes(content)
                beside.chmod(0o644)  # other users may share the cache
        except (OSError, UserError) as e:
            warnings.warn(f"features are not kept for the next run: {e}", stacklevel=2)
            self.folder = None

    def _has_room(self, folder: Path, wanted: int) -> bool:
        if self._used is None or self._used + wanted > LIMIT:
            files = sorted((stat.st_mtime, stat.st_size, Path(entry)) for entry, stat in _files(folder))
            self._used = sum(size for _, size, _ in files)
            if self._used + wanted > LIMIT:
                for used_at, size, path in files:
                    if used_at >= self._since or self._used + wanted <= LIMIT * 3 / 4:
                        break
                    path.unlink(missing_ok=True)
                    self._used -= size
            if self._used + wanted > LIMIT:
                self.folder = None
                return False
        self._used += wanted
        return True


def _files(folder: Path) -> Iterable[tuple[os.DirEntry[str], os.stat_result]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # another process has made room
                yield entry, entry.stat()


def _bytes(tensor: Tensor) -> Iterable[bytes | memoryview]:
    """What tells a tensor from others: type, shape, values."""
    yield f"{tensor.dtype} {tuple(tensor.shape)}".encode()
    yield tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _digest(*parts: Iterable[bytes | memoryview]) -> bytes:
    digest = hashlib.sha256()
    for group in parts:
        for part in group:
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
    return digest.digest()


def _sum(levels: Iterable[Tensor]) -> str:
    total = 0
    for level in levels:
        total = zlib.crc32(level.numpy().data, total)
    return str(total)


def _read(path: Path) -> list[Tensor] | None:
    """None where there is no such file, or a damaged one."""
    try:
        with safe_open(path, "pt") as file:
            levels = [file.get_tensor(str(k)) for k in range(len(file.keys()))]
            whole = (file.metadata() or {}).get("crc32") == _sum(levels)
    except (OSError, SafetensorError):
        return None
    return levels if whole else None
