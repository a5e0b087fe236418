"""A data source that fails as a file says, before torch is imported."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from sparse_seg.data.sample import ImageSet
from sparse_seg.data.synthetic import synthetic


def fragile(seed: int = 0, **options: Any) -> ImageSet:
    """Synthetic scenes, unless `fate` in the working directory holds "SEED die", "SEED raise" or "SEED hang"."""
    fate = Path("fate")
    who, what = fate.read_text().split() if fate.exists() else ("", "")
    if who == str(seed):
        if what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "hang":
            Path("hanging").write_text(str(os.getpid()))
            time.sleep(600)
        raise RuntimeError(f"scene {seed} is {what}")
    return synthetic(seed=seed, **options)


def picked(root: str, **options: Any) -> ImageSet:
    """Synthetic scenes of the seed that lies in a folder."""
    return synthetic(seed=int((Path(root) / "seed").read_text()), **options)
