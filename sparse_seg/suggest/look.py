"""The network's pass over one image, and what is kept of it."""

import math
from pathlib import Path

from sparse_seg.predict.predictor import Predictor
from sparse_seg.predict.scoring import Truth
from sparse_seg.suggest.candidates import Candidates
from sparse_seg.suggest.records import Seen
from sparse_seg.suggest.thumbnail import Thumbnail

CELLS = 32
"""Candidates per side of a window: one for each cell of 8 pixels in a window of 256."""

CANDIDATES = 250_000
"""Most candidates of an image; in a large one cells are larger."""


def look_at(path: Path, name: str, predictor: Predictor, by: str, share: int, mask: Path | None = None) -> Seen:
    """Run the network over one image.

    Args:
        path: the image.
        name: what tables call it.
        predictor: the network.
        by: criterion, as `Candidates` has it.
        share: how many pixels the image is likely to be asked for.
        mask: its mask, if the classes are to be filled in.

    Raises:
        UserError: the image or its mask cannot be read.
    """
    with predictor.open(path) as raster, predictor.strips(raster, path.name) as strips:
        truth = Truth(mask, raster, predictor.classes) if mask is not None else None
        most = math.isqrt(raster.height * raster.width // CANDIDATES)
        cell = max(1, predictor.windows.extent // CELLS, most)
        found = Candidates((raster.height, raster.width), cell, by)
        thumbnail = Thumbnail(raster)
        for row, col, logits, valid in strips:
            height, width = valid.shape
            found.add(row, col, logits, valid, truth.read(row, col, height, width) if truth is not None else None)
            thumbnail.add(row, col, logits, valid)
        if truth is not None:
            truth.check()
        # Points on a square grid with so many of them would lie twice as far from each other.
        apart = (raster.height * raster.width / share) ** 0.5 / 2
        return Seen(path, name, thumbnail, found.best(), apart, raster.crs, raster.transform)
