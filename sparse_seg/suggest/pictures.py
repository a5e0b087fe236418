"""Pictures of where to click: each image with its numbers and its entropy, and what lies around each pixel."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sparse_seg.classes import Classes
from sparse_seg.files import replacing
from sparse_seg.networks.trained import Trained
from sparse_seg.palette import rgb_of
from sparse_seg.raster.readers import Raster, open_raster
from sparse_seg.suggest.records import Suggestion

CROPS, COLUMNS = 40, 8
"""Most pixels in suggest.png, and how many in a row."""
CROP = 96
"""Pixels of the image in the side of a crop."""


def draw_image(path: Path, suggestions: Sequence[Suggestion], classes: Classes) -> None:
    """The image with the numbers of its suggestions, beside its entropy. Raises UserError if it cannot be written."""
    thumbnail = suggestions[0].seen.thumbnail
    height, width = thumbnail.image.shape[:2]
    figure = Figure(figsize=(12, 12 * min(2.0, height / width) / 2 + 1.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(thumbnail.image)
    shown = right.imshow(thumbnail.entropy, vmin=0, vmax=1, cmap="cividis")
    figure.colorbar(shown, ax=right, shrink=0.8, label="entropy, 0 = certain, 1 = all classes alike")
    for s in suggestions:
        for axes in (left, right):
            _ring(axes, s, classes, s.col / thumbnail.every, s.row / thumbnail.every)
    figure.suptitle(f"{suggestions[0].seen.name}: where to click next")
    _legend(figure, classes)
    _save(figure, path)


def draw_crops(path: Path, suggestions: Sequence[Suggestion], trained: Trained) -> None:
    """What lies around each of the first CROPS pixels, enlarged. Raises UserError if it cannot be written."""
    few = suggestions[:CROPS]
    rows = -(-max(len(few), 1) // COLUMNS)
    figure = Figure(figsize=(1.7 * COLUMNS, 2 * rows + 0.8), layout="constrained")
    grid = figure.subplots(rows, COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    panes = dict(zip((s.number for s in few), grid.flat, strict=False))
    for source in dict.fromkeys(s.seen.path for s in few):
        with open_raster(source, trained.bands, trained.scale, trained.alpha) as raster:
            for s in few:
                if s.seen.path == source:
                    _draw_crop(panes[s.number], s, raster, trained.classes)
    more = f", the first {len(few)} of {len(suggestions)}" if len(few) < len(suggestions) else ""
    figure.suptitle(f"Which class is the pixel in the ring? Image, row, column{more}", fontsize=10)
    _legend(figure, trained.classes)
    _save(figure, path)


def _draw_crop(axes: Axes, s: Suggestion, raster: Raster, classes: Classes) -> None:
    size = min(CROP, raster.height), min(CROP, raster.width)
    top = min(max(0, s.row - size[0] // 2), raster.height - size[0])
    first = min(max(0, s.col - size[1] // 2), raster.width - size[1])
    image, _ = raster.read(top, first, *size)
    axes.imshow(rgb_of(image))
    _ring(axes, s, classes, s.col - first, s.row - top)
    axes.set_title(f"{Path(s.seen.name).stem[-16:]}\n{s.row}, {s.col}", fontsize=7)


def _ring(axes: Axes, s: Suggestion, classes: Classes, x: float, y: float) -> None:
    colour = np.divide(classes.colours[s.predicted], 255)
    axes.plot(x, y, "o", ms=11, mfc="none", mec="white", mew=3.5)
    axes.plot(x, y, "o", ms=11, mfc="none", mec=colour, mew=1.8)
    style = {"facecolor": "black", "alpha": 0.6, "pad": 1, "linewidth": 0}
    axes.annotate(str(s.number), (x, y), (7, 6), textcoords="offset points", color="white", fontsize=7, bbox=style)
    axes.axis("off")


def _legend(figure: Figure, classes: Classes) -> None:
    patches = [Patch(facecolor=(r / 255, g / 255, b / 255), edgecolor="black") for r, g, b in classes.colours]
    figure.legend(
        patches,
        classes.names,
        loc="outside lower center",
        ncols=8,
        fontsize=8,
        title="ring: class predicted",
        title_fontsize=8,
    )


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as beside:
        figure.savefig(beside, dpi=110)
