"""Class maps written to files: part by part, under their name only when they are whole."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sparse_seg.classes import IGNORE_INDEX, Classes
from sparse_seg.errors import UserError
from sparse_seg.files import replacing, write_text
from sparse_seg.palette import palette, rgb_of
from sparse_seg.raster.readers import Raster, gdal_env, import_rasterio

NODATA = IGNORE_INDEX
OVERLAY_SIDE = 4096
"""Longest side of an overlay in pixels."""


class Map(Protocol):
    """One uint8 band of an image's size, in the making."""

    def write(self, row: int, col: int, values: NDArray[np.uint8]) -> None:
        """Fill the rectangle whose upper left pixel is (row, col)."""


@contextmanager
def new_map(path: Path, like: Raster, classes: Classes | None = None) -> Iterator[Map]:
    """Write a PNG or a GeoTIFF, as the suffix of path says; 255 is unlabelled.

    like: the image, for the size, CRS, transform and ground control points. classes: gives the map their colours. The
    GeoTIFF is cloud-optimised: tiles of 512, compressed, with overviews. The PNG is held in memory, one byte per pixel;
    where the image has a position, a world file, a .prj and an .aux.xml say it beside the map.

    Raises:
        UserError: it cannot be written.
    """
    if path.suffix == ".png":
        picture = _Picture(like.height, like.width)
        yield picture
        image = Image.fromarray(picture.values)
        if classes is not None:
            image.putpalette(palette(classes.colours).tobytes())  # makes it a palette image
        with replacing(path) as beside:
            image.save(beside)
        _write_position(path, like)
    else:
        with _new_geotiff(path, like, classes) as file:
            yield file


def _write_position(path: Path, like: Raster) -> None:
    """Beside a PNG: what GDAL, QGIS and others, and this project read where it lies from."""
    if like.transform is None:
        return
    t = like.transform
    numbers = t.a, t.d, t.b, t.e, t.c + (t.a + t.b) / 2, t.f + (t.d + t.e) / 2
    write_text(path.with_suffix(".pgw"), "".join(f"{number!r}\n" for number in map(float, numbers)))
    if like.crs is not None:
        write_text(path.with_suffix(".prj"), like.crs.to_wkt(version="WKT1_ESRI"))
        srs = escape(like.crs.to_wkt())  # GDAL reads no .prj of a PNG
        write_text(path.with_name(f"{path.name}.aux.xml"), f"<PAMDataset><SRS>{srs}</SRS></PAMDataset>\n")


class _Picture:
    def __init__(self, height: int, width: int) -> None:
        self.values = np.full((height, width), NODATA, np.uint8)

    def write(self, row: int, col: int, values: NDArray[np.uint8]) -> None:
        self.values[row : row + values.shape[0], col : col + values.shape[1]] = values


class _GeoTiff:
    def __init__(self, file: Any) -> None:
        self.file = file

    def write(self, row: int, col: int, values: NDArray[np.uint8]) -> None:
        from rasterio.windows import Window

        try:
            self.file.write(values, 1, window=Window(col, row, values.shape[1], values.shape[0]))
        except import_rasterio().errors.RasterioError as e:
            raise UserError(f"{self.file.name} cannot be written: {e}") from e


@contextmanager
def _new_geotiff(path: Path, like: Raster, classes: Classes | None) -> Iterator[Map]:
    rasterio = import_rasterio()
    from rasterio.shutil import copy

    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "height": like.height, "width": like.width}
    profile |= {"crs": like.crs, "nodata": NODATA, "tiled": True, "blockxsize": 512, "blockysize": 512}
    profile |= {"compress": "deflate", "zlevel": 1, "bigtiff": "if_safer"}
    if like.gcps:
        profile["gcps"] = list(like.gcps)
    elif like.transform is not None:
        profile["transform"] = like.transform
    # The overviews of a cloud-optimised file stand before its pixels, so it can only be made of a finished one.
    tiles = path.with_name(f".{path.stem}.{os.getpid()}.tiles.tif")
    try:
        with gdal_env(), warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(tiles, "w", **profile) as file:
                if classes is not None:
                    file.write_colormap(1, dict(enumerate(map(tuple, palette(classes.colours).tolist()))))
                yield _GeoTiff(file)
            with replacing(path) as beside:
                options = {"overview_resampling": "nearest", "bigtiff": "if_safer", "blocksize": 512}
                # Level 2 takes a third of the usual level's time or less, for a file that is some 15 % larger.
                copy(tiles, beside, driver="COG", compress="deflate", level=2, **options)
    except (OSError, rasterio.errors.RasterioError) as e:
        raise UserError(f"{path} cannot be written: {e}") from e
    finally:
        tiles.unlink(missing_ok=True)


class Overlay:
    """The image half covered by the colours of its classes, RGB; of a large one every n-th pixel."""

    def __init__(self, raster: Raster, classes: Classes) -> None:
        self.raster, self.palette = raster, palette(classes.colours)
        self.every = n = -(-max(raster.height, raster.width) // OVERLAY_SIDE)
        self.values = np.zeros((-(-raster.height // n), -(-raster.width // n), 3), np.uint8)

    def write(self, row: int, col: int, values: NDArray[np.uint8]) -> None:
        n, (height, width) = self.every, values.shape
        image, _ = self.raster.read(row, col, height, width)
        part = np.s_[-row % n :: n, -col % n :: n]
        seen, labels = rgb_of(image[part]), values[part]
        mixed = ((seen.astype(np.uint16) + self.palette[labels]) // 2).astype(np.uint8)
        mixed[labels == NODATA] = seen[labels == NODATA]
        top, left = -(-row // n), -(-col // n)
        self.values[top : top + mixed.shape[0], left : left + mixed.shape[1]] = mixed

    def save(self, path: Path) -> None:
        """Write it as PNG. Raises UserError if it cannot be written."""
        with replacing(path) as beside:
            Image.fromarray(self.values).save(beside)
