"""Label images of any size with a trained network: `python -m sparse_seg.predict RUN IMAGES… --out DIR`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sparse_seg.errors import UserError
from sparse_seg.files import write_text
from sparse_seg.predict.areas import areas_csv
from sparse_seg.predict.commands import check, make_writable, message, open_predictor, parser, said_in_a_line
from sparse_seg.predict.inputs import find_images, find_masks, find_targets, make_folders

DESCRIPTION = """\
Label images of any size with a trained network.

RUN is a run's folder or one of its checkpoints. Everything else comes from there: classes, colours, bands, size.
The network goes over each image in overlapping windows at the image's own resolution. Memory depends on the window,
not on the size of a GeoTIFF; a PNG or JPEG is held as a whole.

Folders are searched with all below them; hidden files, DIR and folders of earlier calls are left out. Maps of images in
a sub-folder go to DIR/SUB-FOLDER, and a mask lies in the sub-folder of its image, or all lie in one folder.

Written to DIR, STEM being the image's name without its suffix:
  STEM.png             class index in the colours of the classes, 255 = unlabelled (for a PNG or JPEG), with a world
                       file, .prj and .aux.xml where the image has a position
  STEM.tif             the same as cloud-optimised GeoTIFF, CRS and transform of the image, nodata 255 (for a GeoTIFF,
                       a JPEG 2000 or a VRT)
  STEM.overlay.png     with --overlay: the image under the colours, at most 4096 pixels wide or high
  STEM.confidence.png  or .tif, with --confidence: the winning class's probability in percent, uint8, 255 = unlabelled
  areas.csv            pixels, share and, where the CRS is projected, square metres per image and class
  scores.json          with --masks: IoU and boundary IoU per class, their means, the confusion matrix over all images
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
        with said_in_a_line():
            return _predict_all(options)
    except UserError as e:
        print(f"error: {message(e)}", file=sys.stderr)
        return 1


def _predict_all(options: argparse.Namespace) -> int:
    images = find_images(options.images, options.out)
    masks = find_masks(options.masks, images) if options.masks else {}
    targets = find_targets(images, options.out)
    checkpoint = check(options)

    from sparse_seg.predict.scoring import Scores  # from here on with torch, which takes seconds

    predictor = open_predictor(checkpoint, options)
    make_writable(options.out)
    make_folders(targets.values())
    scores = Scores(predictor.classes, predictor.flips)
    areas = {}
    for image in images:
        target = targets[image]
        try:
            done = predictor.predict_file(
                image,
                target,
                overlay=target.with_name(f"{target.stem}.overlay.png") if options.overlay else None,
                confidence=target.with_name(f"{target.stem}.confidence{target.suffix}") if options.confidence else None,
                mask=masks.get(image),
            )
        except UserError as e:  # the other images are worth having
            print(f"error: {message(e)}", file=sys.stderr)
            continue
        areas[image] = done.areas
        if done.scores is not None:
            scores.include(images[image], done.scores)
    listed = areas_csv([(images[image], rows) for image, rows in areas.items()], predictor.flips)
    write_text(options.out / "areas.csv", listed)
    if options.masks:
        write_text(options.out / "scores.json", scores.json())
        print(scores.table())
    print(f"{len(areas)} of {len(images)} images labelled: {options.out}")
    return int(len(areas) < len(images))


if __name__ == "__main__":
    sys.exit(main())
