"""How much of each image its classes cover."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparse_seg.classes import IGNORE_INDEX, Classes
from sparse_seg.raster.readers import Raster

COLUMNS = ("image", "class", "pixels", "share", "m2")


def pixel_area(raster: Raster) -> float | None:
    """Square metres of a pixel, in the plane of a projected CRS.

    None without one, and for Mercator, in which a metre is no metre away from the equator; Web Mercator, under all of
    its codes, is one.
    """
    if raster.transform is None or raster.crs is None or not raster.crs.is_projected:
        return None
    if raster.crs.to_dict().get("proj") in ("merc", "webmerc"):
        return None
    t, (_, metres) = raster.transform, raster.crs.linear_units_factor
    return float(abs(t.a * t.e - t.b * t.d) * metres**2)


class Area(NamedTuple):
    """name: a class, or "unlabelled". share: of the image's labelled pixels. m2: square metres. None where unknown."""

    name: str
    pixels: int
    share: float | None
    m2: float | None


def areas(counts: NDArray[np.int64], classes: Classes, pixel: float | None) -> list[Area]:
    """What each class covers of an image, and what is unlabelled.

    Args:
        counts: (256,) pixels per class index.
        classes: what the indices mean.
        pixel: square metres of a pixel, None if unknown.

    Example:
        >>> counts = np.bincount([0, 0, 0, 1, 255], minlength=256)
        >>> areas(counts, Classes(("Water", "Land"), ((0, 0, 255), (0, 255, 0))), 0.25)[0]
        Area(name='Water', pixels=3, share=0.75, m2=0.75)
    """
    labelled = int(counts[: len(classes)].sum())
    rows = []
    for name, index in zip([*classes.names, "unlabelled"], [*range(len(classes)), IGNORE_INDEX], strict=True):
        n = int(counts[index])
        share = n / labelled if labelled and index != IGNORE_INDEX else None
        rows.append(Area(name, n, share, None if pixel is None else n * pixel))
    return rows


def areas_csv(images: Iterable[tuple[str, Sequence[Area]]], flips: bool = False) -> str:
    """The text of areas.csv. images: name and areas of each. flips: whether they were averaged over; then a column
    says so.
    """
    rows = [(name, a.name, a.pixels, _text(a.share, ".6f"), _text(a.m2, ".6g")) for name, each in images for a in each]
    text, more = io.StringIO(), (("yes",) if flips else ())
    columns = (*COLUMNS, *(("flips",) if flips else ()))
    csv.writer(text, lineterminator="\n").writerows([columns, *((*row, *more) for row in rows)])
    return text.getvalue()


def _text(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
