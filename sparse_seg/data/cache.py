"""Decode and resize once per (data, size), not once per epoch or per run."""

import hashlib
import json
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from rich.progress import track

from sparse_seg.classes import Mask
from sparse_seg.data.sample import Sample
from sparse_seg.data.seen import Seen
from sparse_seg.data.transforms import resize_image, resize_mask
from sparse_seg.errors import UserError

FORMAT = "2"  # part of the key: raise it when the arrays below change


@dataclass(frozen=True)
class Arrays:
    """All images of a data set at training size, and their masks at native resolution, memory-mapped.

    images: (N, size, size, bands) uint8. masks: (N, size, size) uint8. shapes: native (H, W) of each. seen: what the
    files turned out to hold.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    shapes: list[tuple[int, int]]
    native: NDArray[np.uint8]
    seen: Seen = field(default_factory=Seen)

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *accumulate(h * w for h, w in self.shapes)]

    def native_mask(self, index: int) -> Mask:
        height, width = self.shapes[index]
        start = self._starts[index]
        return self.native[start : start + height * width].reshape(height, width)


def default_cache_dir() -> Path:
    """`SPARSE_SEG_CACHE`, or sparse_seg in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("SPARSE_SEG_CACHE") or Path(base) / "sparse_seg")


def prepare(samples: Sequence[Sample], size: int, cache_dir: Path) -> Arrays:
    """Return the decoded and resized data set, from the cache or made now.

    The key is the content of every sample and the size. The folder is made beside and renamed, under a lock, so that
    several processes may call this at once and a killed one leaves nothing half-made.
    """
    key = hashlib.sha256("\n".join([FORMAT, str(size), *(s.image_id + s.content for s in samples)]).encode())
    folder = cache_dir / f"{size}-{key.hexdigest()[:20]}"
    if not folder.is_dir():
        try:
            cache_dir.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{folder}.lock"):
                if not folder.is_dir():
                    _build(samples, size, folder)
        except OSError as e:
            raise UserError(f"the cache {cache_dir} cannot be written ({e}); set data.cache_dir=...") from e
    shapes = [tuple(s) for s in json.loads((folder / "shapes.json").read_text())]
    arrays = {n: np.load(folder / f"{n}.npy", mmap_mode="r") for n in ("images", "masks", "native")}
    return Arrays(shapes=shapes, seen=Seen.read(folder / "seen.json"), **arrays)


def _build(samples: Sequence[Sample], size: int, folder: Path) -> None:
    beside = Path(tempfile.mkdtemp(prefix=folder.name, dir=folder.parent))
    raw = {name: beside / f"{name}.raw" for name in ("images", "masks", "native")}
    try:
        # To the disk at once: the windows of a large image need not fit into memory.
        shapes, bands = [], 3
        with warnings.catch_warnings(record=True) as caught, ExitStack() as stack:
            warnings.simplefilter("always")
            files = {name: stack.enter_context(path.open("wb")) for name, path in raw.items()}
            for sample in track(samples, "Preparing images", disable=not sys.stdout.isatty(), transient=True):
                image, mask = sample.read()
                files["images"].write(resize_image(image, size).tobytes())
                files["masks"].write(resize_mask(mask, size).tobytes())
                files["native"].write(mask.tobytes())
                shapes.append(mask.shape)
                bands = image.shape[2]
        seen = Seen.of(caught)
        dimensions = {"images": (len(samples), size, size, bands), "masks": (len(samples), size, size), "native": None}
        for name, path in raw.items():
            np.save(beside / f"{name}.npy", np.memmap(path, np.uint8, "r", shape=dimensions[name]))
            path.unlink()
        (beside / "shapes.json").write_text(json.dumps(shapes))
        seen.write(beside / "seen.json")
        for path in beside.iterdir():
            with path.open("rb") as f:
                os.fsync(f.fileno())
        beside.chmod(0o755)  # other users may share the cache
        os.replace(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
