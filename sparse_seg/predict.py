"""Label images of any size with a trained network: `python -m sparse_seg.predict RUN IMAGES… --out DIR`."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sparse_seg.areas import Areas, pixel_area
from sparse_seg.data.sample import Mask
from sparse_seg.errors import UserError
from sparse_seg.hardware import native_precision
from sparse_seg.maps import NODATA, Map, Overlay, new_map, written_whole
from sparse_seg.raster import GEO_SUFFIXES, SUFFIXES, open_raster
from sparse_seg.scoring import Scores, Truth, find_masks
from sparse_seg.sliding import Windows, blended
from sparse_seg.trained import Trained, find_checkpoint, load_trained

DESCRIPTION = """\
Label images of any size with a trained network.

RUN is a run's folder or one of its checkpoints. Everything else comes from there: classes, colours, bands, size.
The network goes over each image in overlapping windows at the image's own resolution. Memory depends on the window,
not on the size of a GeoTIFF; a PNG or JPEG is held as a whole.

Written to DIR, STEM being the image's name without its suffix:
  STEM.png             class index in the colours of the classes, 255 = unlabelled (for a PNG or JPEG)
  STEM.tif             the same as cloud-optimised GeoTIFF, CRS and transform of the image, nodata 255 (for a GeoTIFF)
  STEM.overlay.png     with --overlay: the image under the colours, at most 4096 pixels wide or high
  STEM.confidence.png  or .tif, with --confidence: the winning class's probability in percent, uint8, 255 = unlabelled
  areas.csv            pixels, share and, where the CRS is projected, square metres per image and class
  scores.json          with --masks: IoU per class, their mean and the confusion matrix over all images
"""

SCALE = """\
pixels of the network per pixel of the image, default 1. Training resizes whole images to data.size, so a network
trained at 256 on images of 800 pixels has seen everything at 0.32 of its size: give --scale 0.32 for images of that
resolution. 1 is right where training images were not resized.
"""


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        "python -m sparse_seg.predict", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
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
    p.add_argument("--overlay", action="store_true", help="also the image under the colours of its classes")
    p.add_argument("--confidence", action="store_true", help="also the probability of the winning class in percent")
    p.add_argument("--masks", type=Path, metavar="DIR", help="score against colour-coded masks of the same stems")
    return p


def main(words: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, or 1 if anything could not be done."""
    options = _parser().parse_args(words)
    try:
        return _predict_all(options)
    except UserError as e:
        print(f"error: {e}", file=sys.stderr)
        return 1


@dataclass
class Job:
    """What holds for every image of a call."""

    trained: Trained
    network: Callable[[Tensor], Tensor]
    windows: Windows
    device: torch.device
    batch_size: int
    overlay: bool
    confidence: bool
    areas: Areas
    scores: Scores | None


def _predict_all(options: argparse.Namespace) -> int:
    images = find_images(options.images)
    masks = find_masks(options.masks, images) if options.masks else {}
    targets = _targets(images, options.out)
    trained = load_trained(find_checkpoint(options.run, options.final))
    windows = _windows(options, trained.size)
    device = _device(options.device)
    network = _network(trained, device, options.precision)
    scores = Scores(trained.classes) if options.masks else None
    _make_writable(options.out)
    areas = Areas(trained.classes)
    job = Job(trained, network, windows, device, options.batch_size, options.overlay, options.confidence, areas, scores)
    failed = 0
    for image in images:
        try:
            predict_image(image, targets[image], job, masks.get(image))
        except UserError as e:  # the other images are worth having
            print(f"error: {e}", file=sys.stderr)
            failed += 1
    _write(options.out / "areas.csv", areas.csv())
    if scores is not None:
        _write(options.out / "scores.json", scores.json())
        print(scores.table())
    print(f"{len(images) - failed} of {len(images)} images labelled: {options.out}")
    return int(failed > 0)


def predict_image(path: Path, target: Path, job: Job, mask: Path | None = None) -> None:
    """Label one image and write what there is to write.

    Raises:
        UserError: the image or its mask cannot be read, or an output cannot be written.
    """
    from rich.console import Console
    from rich.progress import Progress, TimeRemainingColumn

    classes = job.trained.classes
    counts, scores = np.zeros(256, np.int64), Scores(classes)
    with ExitStack() as stack:
        raster = stack.enter_context(open_raster(path, job.trained.bands, job.trained.scale))
        truth = Truth(mask, raster, classes) if mask is not None else None
        progress = Progress(
            *Progress.get_default_columns()[:3],
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        stack.enter_context(progress)
        total = job.windows.count(raster.height, raster.width, len(classes))
        bar = progress.add_task(path.name, total=total)
        maps: list[Map] = [stack.enter_context(new_map(target, raster, classes))]
        overlay = Overlay(raster, classes) if job.overlay else None
        confidence = None
        if job.confidence:
            name = target.with_name(f"{target.stem}.confidence{target.suffix}")
            confidence = stack.enter_context(new_map(name, raster))
        maps += [overlay] if overlay is not None else []
        for row, col, logits, valid in blended(
            raster.read,
            job.network,
            (raster.height, raster.width),
            len(classes),
            job.windows,
            job.batch_size,
            job.device,
            lambda n: progress.advance(bar, n),
        ):
            labels = _labels(logits, valid)
            counts += np.bincount(labels.ravel(), minlength=256)
            for each in maps:
                each.write(row, col, labels)
            if confidence is not None:
                confidence.write(row, col, _percent(logits, valid))
            if truth is not None:
                scores.add(truth.read(row, col, *labels.shape), labels)
        if truth is not None and job.scores is not None:
            truth.check()
            job.scores.include(path.name, scores)
        if overlay is not None:
            overlay.save(target.with_name(f"{target.stem}.overlay.png"))
        area = pixel_area(raster)
    job.areas.add(path.name, counts, area)


def _labels(logits: Tensor, valid: np.ndarray) -> Mask:
    labels = logits.argmax(0).to(torch.uint8).cpu().numpy()
    labels[~valid] = NODATA
    return labels


def _percent(logits: Tensor, valid: np.ndarray) -> Mask:
    percent = (100 * logits.softmax(0).amax(0)).round().to(torch.uint8).cpu().numpy()
    percent[~valid] = NODATA
    return percent


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


def _targets(images: list[Path], out: Path) -> dict[Path, Path]:
    """Where each image's class map goes. Raises UserError if two would be one, or one an input."""
    targets: dict[Path, Path] = {}
    source: dict[Path, Path] = {}
    inputs = {p.resolve() for p in images}
    for image in images:
        target = out / f"{image.stem}{'.tif' if image.suffix.lower() in GEO_SUFFIXES else '.png'}"
        if target in source:
            raise UserError(f"{source[target]} and {image} would both become {target}: label them in two calls")
        if target.resolve() in inputs:
            raise UserError(f"the class map of {image} would replace the image {target}: choose another --out")
        source[target], targets[image] = image, target
    return targets


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


def _make_writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as e:
        raise UserError(f"--out {out} cannot be written: {e.strerror}") from e


def _write(path: Path, text: str) -> None:
    with written_whole(path) as beside:
        beside.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
