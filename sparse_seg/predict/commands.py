"""What the commands that run a trained network over images are given. No torch: a refused word is refused at once."""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from sparse_seg.errors import UserError
from sparse_seg.networks.found import find_checkpoint
from sparse_seg.predict.windows import Refused, windows_of
from sparse_seg.raster.readers import SUFFIXES
from sparse_seg.raster.warned import AlphaWarning

if TYPE_CHECKING:
    from sparse_seg.predict.predictor import Predictor

SCALE = """\
pixels of the network per pixel of the image, default 1. Training resizes whole images to data.size, so a network
trained at 256 on images of 800 pixels has seen everything at 0.32 of its size: give --scale 0.32 for images of that
resolution. 1 is right where training images were not resized.
"""
FLIPS = "average over the eight flips and rotations of each window: often better, and eight times as slow"


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
    p.add_argument("--flips", action="store_true", help=FLIPS)
    p.add_argument("--precision", choices=["auto", "32", "bf16"], default="auto", help="auto: the fastest in hardware")
    return p


def message(error: UserError) -> str:
    """An error in the words of a command: `--batch-size 0` for what Python calls `batch_size=0`."""
    if isinstance(error, Refused):
        return f"--{error.name.replace('_', '-')} {error.value} {error.why}"
    return str(error)


@contextmanager
def said_in_a_line() -> Iterator[None]:
    """Within it, what an alpha band hides of an image is a line on the screen, once for each image."""
    with warnings.catch_warnings():  # which puts showwarning back, too
        warnings.simplefilter("always", AlphaWarning)
        other = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if isinstance(message, AlphaWarning):
                print(message, file=sys.stderr)
            else:
                other(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        yield


def check(options: argparse.Namespace) -> Path:
    """Return the run's checkpoint.

    Raises:
        UserError: there is none, or the words on windows cannot be used, as far as that can be said without it.
    """
    path = find_checkpoint(options.run, options.final)
    overlap = None if options.window is None else options.overlap  # of a window that only the checkpoint knows
    windows_of(options.window, overlap, options.scale, options.batch_size, size=1 << 30, multiple=1)
    return path


def open_predictor(checkpoint: Path, options: argparse.Namespace) -> "Predictor":
    """The network of a checkpoint, and how it goes over images. This imports torch.

    Raises:
        UserError: the checkpoint, a window or the device cannot be used.
    """
    from sparse_seg.networks.trained import load_trained
    from sparse_seg.predict.predictor import Predictor

    return Predictor(
        load_trained(checkpoint),
        window=options.window,
        overlap=options.overlap,
        scale=options.scale,
        batch_size=options.batch_size,
        device=options.device,
        precision=options.precision,
        flips=options.flips,
        progress=True,
    )


def make_writable(out: Path) -> None:
    """Create the folder.

    Raises:
        Refused: nothing can be written there.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as e:
        raise Refused("out", out, f"cannot be written: {e.strerror}") from e
