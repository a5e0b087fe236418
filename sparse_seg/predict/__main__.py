"""Label images of any size with a trained network: `python -m sparse_seg.predict RUN IMAGES… --out DIR`."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sparse_seg.classes import Mask
from sparse_seg.errors import UserError
from sparse_seg.files import write_text
from sparse_seg.predict.areas import Areas, pixel_area
from sparse_seg.predict.predictor import Labeller, find_images, make_writable, parser
from sparse_seg.predict.scoring import Scores, Truth, find_masks
from sparse_seg.raster.readers import GEO_SUFFIXES, open_raster
from sparse_seg.raster.write import NODATA, Map, Overlay, new_map

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

MASKS = """\
score against masks of the same stems: PNG or GeoTIFF in the colours of the classes or with a class number per pixel,
those of classes.yaml or else 0, 1, 2 in order; class maps of this command, too
"""


def _parser() -> argparse.ArgumentParser:
    p = parser("predict", DESCRIPTION)
    p.add_argument("--overlay", action="store_true", help="also the image under the colours of its classes")
    p.add_argument("--confidence", action="store_true", help="also the probability of the winning class in percent")
    p.add_argument("--masks", type=Path, metavar="DIR", help=MASKS)
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

    labeller: Labeller
    overlay: bool
    confidence: bool
    areas: Areas
    scores: Scores | None


def _predict_all(options: argparse.Namespace) -> int:
    images = find_images(options.images)
    masks = find_masks(options.masks, images) if options.masks else {}
    targets = _targets(images, options.out)
    labeller = Labeller(options)
    classes = labeller.trained.classes
    scores = Scores(classes) if options.masks else None
    make_writable(options.out)
    areas = Areas(classes)
    job = Job(labeller, options.overlay, options.confidence, areas, scores)
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
    trained = job.labeller.trained
    classes = trained.classes
    counts, scores = np.zeros(256, np.int64), Scores(classes)
    with ExitStack() as stack:
        raster = stack.enter_context(open_raster(path, trained.bands, trained.scale))
        truth = Truth(mask, raster, trained.classes) if mask is not None else None
        maps: list[Map] = [stack.enter_context(new_map(target, raster, classes))]
        overlay = Overlay(raster, classes) if job.overlay else None
        confidence = None
        if job.confidence:
            name = target.with_name(f"{target.stem}.confidence{target.suffix}")
            confidence = stack.enter_context(new_map(name, raster))
        maps += [overlay] if overlay is not None else []
        for row, col, logits, valid in stack.enter_context(job.labeller.strips(raster, path.name)):
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


def _write(path: Path, text: str) -> None:
    write_text(path, text)


if __name__ == "__main__":
    sys.exit(main())
