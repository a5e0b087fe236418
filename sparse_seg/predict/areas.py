"""How much of each image its classes cover."""

import csv
import io

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


class Areas:
    """Rows of areas.csv: image, class, pixels, share of the image's labelled pixels, m2 (empty where unknown)."""

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self.rows: list[tuple[object, ...]] = []

    def add(self, image: str, counts: NDArray[np.int64], area: float | None) -> None:
        """counts: (256,) pixels per class index. area: square metres of a pixel."""
        labelled = int(counts[: len(self.classes)].sum())
        names = [*self.classes.names, "unlabelled"]
        for name, index in zip(names, [*range(len(self.classes)), IGNORE_INDEX], strict=True):
            n = int(counts[index])
            share = f"{n / labelled:.6f}" if labelled and index != IGNORE_INDEX else ""
            self.rows.append((image, name, n, share, "" if area is None else f"{n * area:.6g}"))

    def csv(self) -> str:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([COLUMNS, *self.rows])
        return text.getvalue()
