"""Where to click next: `python -m sparse_seg.suggest RUN IMAGES… --n 20 --out DIR`."""

import argparse
import csv
import io
import json
import math
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path, PurePath
from typing import Any

from tabulate import tabulate

from sparse_seg.classes import IGNORE_INDEX
from sparse_seg.errors import UserError
from sparse_seg.files import replacing
from sparse_seg.predict.predictor import Labeller, find_images, make_writable, parser
from sparse_seg.predict.scoring import Truth, find_masks
from sparse_seg.raster.readers import gdal_env, import_rasterio, open_raster
from sparse_seg.suggest.candidates import CRITERIA, Candidates, choose
from sparse_seg.suggest.pictures import draw_crops, draw_image
from sparse_seg.suggest.records import Seen, Suggestion
from sparse_seg.suggest.thumbnail import Thumbnail

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

CELLS = 32
"""Candidates per side of a window: one for each cell of 8 pixels in a window of 256."""

CANDIDATES = 250_000
"""Most candidates of an image; in a large one cells are larger."""

TABLES = ("suggest.csv", "suggest.geojson")
COLUMNS = ("image", "row", "col", "class", "predicted", "entropy", "confidence")


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
        return _suggest(options)
    except UserError as e:
        print(f"error: {e}", file=sys.stderr)
        return 1


def _suggest(options: argparse.Namespace) -> int:
    if options.n < 1:
        raise UserError(f"--n {options.n} must be at least 1")
    if options.by == "errors" and not options.masks:
        raise UserError("--by errors needs --masks DIR: what is wrong only a mask can say")
    images = find_images(options.images)
    _check_out(options.out, images)
    masks = find_masks(options.masks, images) if options.masks else {}
    labeller = Labeller(options)
    if len(labeller.trained.classes) < 2:
        raise UserError("the network knows one class only: it is never uncertain")
    make_writable(options.out)
    names, seen, failed = unique_names(images), [], 0
    share = -(-options.n // len(images))
    for image in images:
        try:
            seen.append(look_at(image, names[image], labeller, options.by, share, masks.get(image)))
        except UserError as e:  # the other images are worth a suggestion
            print(f"error: {e}", file=sys.stderr)
            failed += 1
    suggestions = _chosen(seen, options.n, labeller)
    if not suggestions:
        raise UserError(f"none of {len(images)} images has a pixel to suggest ({failed} could not be read)")
    _write_all(suggestions, labeller, options.out)
    if len(suggestions) < options.n:
        print(f"{len(suggestions)} of {options.n} pixels found: there are no more candidates in what could be read")
    return int(failed > 0)


def _check_out(out: Path, images: Sequence[Path]) -> None:
    """Raises UserError if the folder holds images, which the pictures would join, or classes that were filled in."""
    if any(p.resolve().parent == out.resolve() for p in images):
        raise UserError(f"--out {out} holds the images: pictures written there would be taken for images; give another")
    if kept := [out / name for name in TABLES if (out / name).exists()]:
        raise UserError(f"{kept[0]} is there already and may hold classes that you filled in: give another --out")


def unique_names(images: Sequence[Path]) -> dict[Path, str]:
    """What the table calls each image: its file's name, with as many folders before it as set it apart."""
    parts = {p: Path(os.path.abspath(p)).parts for p in images}  # not resolve(): a link is called what it is called
    every = set(parts.values())
    k = next(k for k in range(1, max(map(len, every)) + 1) if len({q[-k:] for q in every}) == len(every))
    return {p: PurePath(*q[-k:]).as_posix() for p, q in parts.items()}


def look_at(path: Path, name: str, labeller: Labeller, by: str, share: int, mask: Path | None = None) -> Seen:
    """Run the network over one image. share: how many pixels it is likely to be asked for.

    Raises:
        UserError: the image or its mask cannot be read.
    """
    trained = labeller.trained
    with open_raster(path, trained.bands, trained.scale) as raster, ExitStack() as stack:
        truth = Truth(mask, raster, trained.classes) if mask is not None else None
        most = math.isqrt(raster.height * raster.width // CANDIDATES)
        cell = max(1, labeller.windows.extent // CELLS, most)
        found = Candidates((raster.height, raster.width), cell, by)
        thumbnail = Thumbnail(raster)
        for row, col, logits, valid in stack.enter_context(labeller.strips(raster, path.name)):
            height, width = valid.shape
            found.add(row, col, logits, valid, truth.read(row, col, height, width) if truth is not None else None)
            thumbnail.add(row, col, logits, valid)
        if truth is not None:
            truth.check()
        # Points on a square grid with so many of them would lie twice as far from each other.
        apart = (raster.height * raster.width / share) ** 0.5 / 2
        return Seen(path, name, thumbnail, found.best(), apart, raster.crs, raster.transform)


def _chosen(seen: list[Seen], n: int, labeller: Labeller) -> list[Suggestion]:
    names = labeller.trained.classes.names
    chosen = choose([s.candidates for s in seen], n, [s.apart for s in seen])
    suggestions = [
        Suggestion(
            number=number,
            seen=seen[image],
            row=int(pixel["row"]),
            col=int(pixel["col"]),
            label="" if pixel["truth"] == IGNORE_INDEX else names[int(pixel["truth"])],
            predicted=int(pixel["predicted"]),
            entropy=float(pixel["entropy"]),
            confidence=float(pixel["confidence"]),
        )
        for number, (image, pixel) in enumerate(chosen, 1)
    ]
    for each in suggestions:
        if each.seen.crs is not None and each.seen.transform is not None:
            each.place = _position(each)
    return suggestions


def _position(each: Suggestion) -> tuple[float, float] | None:
    t, (x, y) = each.seen.transform, (each.col + 0.5, each.row + 0.5)
    place = [t.a * x + t.b * y + t.c], [t.d * x + t.e * y + t.f]
    import_rasterio()
    with gdal_env():
        try:
            (longitude,), (latitude,) = import_module("rasterio.warp").transform(each.seen.crs, "OGC:CRS84", *place)[:2]
        except Exception:  # PROJ's errors have no public class: a local CRS, a place outside of the projection
            return None
    return (float(longitude), float(latitude)) if math.isfinite(longitude) and math.isfinite(latitude) else None


def _write_all(suggestions: list[Suggestion], labeller: Labeller, out: Path) -> None:
    classes = labeller.trained.classes
    rows = [
        (s.seen.name, s.row, s.col, s.label, classes.names[s.predicted], f"{s.entropy:.4f}", f"{s.confidence:.4f}")
        for s in suggestions
    ]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    with replacing(out / "suggest.csv") as beside:
        beside.write_text(text.getvalue(), encoding="utf-8")
    placed = [s for s in suggestions if s.place is not None]
    with replacing(out / "suggest.geojson") as beside:
        beside.write_text(json.dumps(geojson(placed or suggestions, classes.names), indent=1), encoding="utf-8")
    draw_crops(out / "suggest.png", suggestions, labeller.trained)
    for path in dict.fromkeys(s.seen.path for s in suggestions):
        mine = [s for s in suggestions if s.seen.path == path]
        name = mine[0].seen.name
        short = str(PurePath(name).with_suffix(""))
        same = {s.seen.name for s in suggestions if str(PurePath(s.seen.name).with_suffix("")) == short}
        title = (short if len(same) == 1 else name).replace("/", "_")
        draw_image(out / f"{title}.suggest.png", mine, classes)
    print(tabulate([(s.number, *row) for s, row in zip(suggestions, rows, strict=True)], ["", *COLUMNS]))
    if 0 < len(placed) < len(suggestions):
        print(f"suggest.geojson has the {len(placed)} pixels of images with a map position; suggest.csv has all")
    print(
        f"written to {out}: {', '.join(TABLES)} and pictures. Fill in class, add them to your points, and train with\n"
        "a larger points=N, which takes the first N points of a class and image"
    )


def geojson(suggestions: Sequence[Suggestion], names: Sequence[str]) -> dict[str, Any]:
    """A FeatureCollection of Points: longitude and latitude, or column and row of the pixel's centre where there are
    none, which the member crs says. `data=folder` reads it back once the property class is filled in.
    """
    features = []
    for s in suggestions:
        properties = {
            "number": s.number,
            "image": s.seen.name,
            "class": s.label or None,
            "predicted": names[s.predicted],
            "entropy": round(s.entropy, 4),
            "confidence": round(s.confidence, 4),
        }
        x, y = s.place or (s.col + 0.5, s.row + 0.5)
        geometry = {"type": "Point", "coordinates": [round(x, 9), round(y, 9)]}
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    pixels = {} if any(s.place for s in suggestions) else {"crs": {"type": "name", "properties": {"name": "pixel"}}}
    return {"type": "FeatureCollection", **pixels, "features": features}


if __name__ == "__main__":
    sys.exit(main())
