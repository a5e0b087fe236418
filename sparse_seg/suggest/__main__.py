"""Where to click next: `python -m sparse_seg.suggest RUN IMAGES… --n 20 --out DIR`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from tabulate import tabulate

from sparse_seg.errors import UserError
from sparse_seg.files import write_text
from sparse_seg.predict.commands import check, make_writable, message, open_predictor, parser, said_in_a_line
from sparse_seg.predict.inputs import find_images, find_masks
from sparse_seg.predict.windows import Refused
from sparse_seg.suggest.choice import suggested
from sparse_seg.suggest.records import CRITERIA, Suggestion
from sparse_seg.suggest.tables import COLUMNS, TABLES, csv_of, geojson, rows_of, unique_names

if TYPE_CHECKING:
    from sparse_seg.networks.trained import Trained

DESCRIPTION = """\
Choose the pixels that a person should label next.

RUN is a run's folder or one of its checkpoints. The network goes over each image as `python -m sparse_seg.predict`
does. Suggested are the pixels of which it is least certain, by its predictive entropy, but spread out: over the images,
over the classes that it predicts, and within each image.

Written to DIR:
  suggest.csv       image, row, col in pixels, class for you to fill in; then what the network says of the pixel
  suggest.geojson   the same as points that QGIS opens: longitude and latitude, where images have a map position
  suggest.png       what lies around each of the first 40 pixels
  STEM.suggest.png  each image that has suggestions, with their numbers, and the network's entropy

Fill in the column or the property class, add the points to those that you have, and train again, with a larger
points=N: it takes the first N points of each class and image. The names of images are those that data=folder knows.
"""


def _parser() -> argparse.ArgumentParser:
    p = parser("suggest", DESCRIPTION)
    p.add_argument("--n", type=int, default=20, metavar="N", help="how many pixels, over all images; default 20")
    p.add_argument("--by", choices=CRITERIA, default="entropy", help="errors: most confident but wrong, by the masks")
    p.add_argument("--masks", type=Path, metavar="DIR", help="fill in the classes from masks of the same stems")
    return p


def main(words: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, or 1 if anything could not be done."""
    options = _parser().parse_args(words)
    try:
        with said_in_a_line():
            return _suggest(options)
    except UserError as e:
        print(f"error: {message(e)}", file=sys.stderr)
        return 1


def _suggest(options: argparse.Namespace) -> int:
    if options.n < 1:
        raise Refused("n", options.n, "must be at least 1")
    if options.by == "errors" and not options.masks:
        raise Refused("by", "errors", "needs --masks DIR: what is wrong only a mask can say")
    images = find_images(options.images, options.out)
    _check_out(options.out, list(images))
    masks = find_masks(options.masks, images) if options.masks else {}
    checkpoint = check(options)

    from sparse_seg.suggest.look import look_at  # from here on with torch, which takes seconds

    predictor = open_predictor(checkpoint, options)
    classes = predictor.classes
    if len(classes) < 2:
        raise UserError("the network knows one class only: it is never uncertain")
    make_writable(options.out)
    names, seen = unique_names(list(images)), []
    share = -(-options.n // len(images))
    for image in images:
        try:
            seen.append(look_at(image, names[image], predictor, options.by, share, masks.get(image)))
        except UserError as e:  # the other images are worth a suggestion
            print(f"error: {message(e)}", file=sys.stderr)
    failed = len(images) - len(seen)
    suggestions = suggested(seen, options.n, classes.names)
    if not suggestions:
        raise UserError(f"none of {len(images)} images has a pixel to suggest ({failed} could not be read)")
    _write_all(suggestions, predictor.trained, options.out, predictor.flips)
    if len(suggestions) < options.n:
        print(f"{len(suggestions)} of {options.n} pixels found: there are no more candidates in what could be read")
    return int(failed > 0)


def _check_out(out: Path, images: Sequence[Path]) -> None:
    """Raises UserError if the folder holds images, which the pictures would join, or classes that were filled in."""
    if any(p.resolve().parent == out.resolve() for p in images):
        raise Refused("out", out, "holds the images: pictures written there would be taken for images; give another")
    if kept := [out / name for name in TABLES if (out / name).exists()]:
        raise UserError(f"{kept[0]} is there already and may hold classes that you filled in: give another --out")


def _write_all(suggestions: Sequence[Suggestion], trained: "Trained", out: Path, flips: bool) -> None:
    from sparse_seg.suggest.pictures import draw_crops, draw_image  # matplotlib, for whoever gets this far

    classes = trained.classes
    rows = rows_of(suggestions, classes.names)
    write_text(out / "suggest.csv", csv_of(rows))
    placed = [s for s in suggestions if s.place is not None]
    write_text(out / "suggest.geojson", json.dumps(geojson(placed or suggestions, classes.names), indent=1))
    draw_crops(out / "suggest.png", suggestions, trained)
    for path in dict.fromkeys(s.seen.path for s in suggestions):
        mine = [s for s in suggestions if s.seen.path == path]
        name = mine[0].seen.name
        short = str(PurePath(name).with_suffix(""))
        same = {s.seen.name for s in suggestions if str(PurePath(s.seen.name).with_suffix("")) == short}
        title = (short if len(same) == 1 else name).replace("/", "_")
        draw_image(out / f"{title}.suggest.png", mine, classes)
    if flips:
        print("certainty is that of the average over flips and rotations")
    print(tabulate([(s.number, *row) for s, row in zip(suggestions, rows, strict=True)], ["", *COLUMNS]))
    if 0 < len(placed) < len(suggestions):
        print(f"suggest.geojson has the {len(placed)} pixels of images with a map position; suggest.csv has all")
    print(
        f"written to {out}: {', '.join(TABLES)} and pictures. Fill in class, add them to your points, and train with\n"
        "a larger points=N, which takes the first N points of a class and image"
    )


if __name__ == "__main__":
    sys.exit(main())
