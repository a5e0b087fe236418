"""What the commands that run a trained network over images share: their words, and what becomes of them."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress, TimeRemainingColumn
from torch import Tensor

from sparse_seg.errors import UserError
from sparse_seg.networks.trained import Trained, find_checkpoint, load_trained
from sparse_seg.predict.sliding import Strip, Windows, blended
from sparse_seg.raster.readers import SUFFIXES, Raster
from sparse_seg.training.hardware import native_precision

SCALE = """\
pixels of the network per pixel of the image, default 1. Training resizes whole images to data.size, so a network
trained at 256 on images of 800 pixels has seen everything at 0.32 of its size: give --scale 0.32 for images of that
resolution. 1 is right where training images were not resized.
"""


def parser(command: str, description: str) -> argparse.ArgumentParser:
    """A parser of RUN, IMAGES and how the network goes over them."""
    p = argparse.ArgumentParser(
        f"python -m sparse_seg.{command}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("run", type=Path, metavar="RUN", help="a run's folder, or a .ckpt file")
    p.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help=f"files or folders ({', '.join(SUFFIXES)})")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    p.add_argument("--final", action="store_true", help="the last epoch's weights instead of the best epoch's")
    p.add_argument("--window", type=int, metavar="PIXELS", help="side of a window, default: the training size")
    p.add_argument("--overlap", type=int, metavar="PIXELS", help="of neighbouring windows, default: a quarter of one")
    p.add_argument("--scale", type=float, default=1.0, metavar="FACTOR", help=SCALE)
    p.add_argument("--batch-size", type=int, default=4, metavar="N", help="windows at a time, default 4")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps; default auto")
    p.add_argument("--precision", choices=["auto", "32", "bf16"], default="auto", help="auto: the fastest in hardware")
    return p


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The files named, and the images that lie directly in the folders named, each once."""
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
            if not inside:
                raise UserError(f"{path} holds no image: a file's name must end in {', '.join(SUFFIXES)}")
            found |= dict.fromkeys(inside)
        elif path.is_file():
            found[path] = None
        else:
            raise UserError(f"no such image or folder: {path}")
    return list(found)


class Labeller:
    """A trained network on its device, and how it goes over an image.

    Raises UserError if the run, a window or the device cannot be used.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.trained = load_trained(find_checkpoint(options.run, options.final))
        self.windows = _windows(options, self.trained.size)
        self.batch_size: int = options.batch_size
        self.device = _device(options.device)
        self.network = _network(self.trained, self.device, options.precision)

    @contextmanager
    def strips(self, raster: Raster, name: str) -> Iterator[Iterator[Strip]]:
        """What `blended` yields of an image, beside a progress bar on the terminal that is called `name`."""
        size, classes = (raster.height, raster.width), len(self.trained.classes)
        columns = (*Progress.get_default_columns()[:3], TimeRemainingColumn())
        console = Console(stderr=True)
        with Progress(*columns, console=console, disable=not sys.stderr.isatty(), transient=True) as progress:
            bar = progress.add_task(name, total=self.windows.count(*size, classes))
            yield blended(
                raster.read,
                self.network,
                size,
                classes,
                self.windows,
                self.batch_size,
                self.device,
                lambda n: progress.advance(bar, n),
            )


def _windows(options: argparse.Namespace, size: int) -> Windows:
    window = options.window if options.window is not None else size
    if window < 32 or window % 32:
        raise UserError(f"--window {window} must be a positive multiple of 32, as the network halves it five times")
    if options.batch_size < 1:
        raise UserError(f"--batch-size {options.batch_size} must be at least 1")
    return Windows(window, options.overlap if options.overlap is not None else window // 4, options.scale)


def _device(name: str) -> torch.device:
    if name == "auto":
        mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as e:
        line = (str(e).splitlines() or ["?"])[0]
        raise UserError(f"--device {name} cannot be used: {line}") from e
    return device


def _network(trained: Trained, device: torch.device, precision: str) -> Callable[[Tensor], Tensor]:
    module = trained.network.to(device)
    if precision == "auto":
        fast = native_precision("cpu" if device.type == "cpu" else "auto") == "bf16-mixed"
    else:
        fast = precision == "bf16"

    def network(image: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            logits: Tensor = module(image)
        return logits

    return network


def make_writable(out: Path) -> None:
    """Create the folder. Raises UserError if nothing can be written there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as e:
        raise UserError(f"--out {out} cannot be written: {e.strerror}") from e
