"""Files that are opened through rasterio, by the driver of their suffix and none else."""

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_seg.errors import UserError
from sparse_seg.raster.images import ORIENTATION, opened, orientation_of, turn_of
from sparse_seg.raster.position import position_of
from sparse_seg.raster.trap import refuse_blocks
from sparse_seg.raster.turned import UPRIGHT, Turn
from sparse_seg.raster.vrt import local_vrt

GEO_SUFFIXES = (".tif", ".tiff", ".jp2", ".vrt")
DRIVERS = {
    ".tif": ("GTiff", "GeoTIFF"),
    ".tiff": ("GTiff", "GeoTIFF"),
    ".jp2": ("JP2OpenJPEG", "JPEG 2000"),
    ".vrt": ("VRT", "VRT"),
    ".png": ("PNG", "PNG"),
    ".jpg": ("JPEG", "JPEG"),
    ".jpeg": ("JPEG", "JPEG"),
}
"""GDAL's driver for a suffix, and what people call the format. Other drivers follow what a file says to files
elsewhere."""
MOST_PAGES = 512
MOST_BANDS = 4096
PAGES = "its pages are read as bands, one after the other"
OTHER_PAGES = "its pages of another size than the first are not used"
TURNED = "it is turned as its orientation says"
LOCAL = {
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "none",
    "GDAL_HTTP_PROXY": "http://127.0.0.1:9",
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "GDAL_VRT_ENABLE_RAWRASTERBAND": "NO",
}
"""What keeps GDAL from the network, and from code in a VRT."""
READING = Lock()
"""Held while pixels are read: a file, and Python's filters of warnings, are for one thread at a time."""


def import_rasterio() -> Any:
    """The rasterio module. Raises UserError if it is not installed."""
    try:
        import rasterio
    except ImportError as e:
        raise UserError(f"GeoTIFF files need rasterio ({e}): pip install -e '.[geo]'") from e
    return rasterio


def _gdal_errors() -> type[Exception]:
    """What GDAL says and rasterio passes on as it is; it has no public name."""
    from rasterio._err import CPLE_BaseError

    return CPLE_BaseError  # type: ignore[no-any-return]


def gdal_env() -> Any:
    """A context without the network, and with 256 MB for GDAL's cache of decoded blocks.

    By itself that cache takes 5 % of the machine's memory.
    """
    own = {} if "GDAL_CACHEMAX" in os.environ else {"GDAL_CACHEMAX": 256}
    return import_rasterio().Env(**own, **LOCAL)


class GeoFile:
    """An open raster as it is shown: turned as its orientation says, its pages one after the other as bands.

    What is not named here is that of rasterio's dataset, of the first page.

    Attributes:
        height, width: pixels that are shown.
        count: bands over all pages.
        dtypes, nodatavals, colorinterp, mask_flag_enums: of each band, as rasterio's.
        crs, transform: as `Raster`'s.
        gcps: rasterio's ground control points that the transform is made of; empty elsewhere.
        notes: as `Header`'s.
    """

    def __init__(self, path: Path, pages: Sequence[Any], turn: Turn, notes: Sequence[str]) -> None:
        self._path, self._pages, self._turn = path, pages, turn
        self._first = first = pages[0]
        self.height, self.width = turn.size(first.height, first.width)
        self._size = self.height, self.width
        self._bands = [(page, band) for page in pages for band in page.indexes]
        self.count = len(self._bands)
        self.dtypes = self._each("dtypes")
        self.nodatavals = self._each("nodatavals")
        self.colorinterp = self._each("colorinterp")
        self.mask_flag_enums = self._each("mask_flag_enums")
        place = position_of(path, first)
        self.crs, self.transform = place.crs, place.transform
        if self.transform is not None:
            self.transform = turn.transform(place.transform, self._size)
        self.gcps = tuple(_turned(point, turn, self._size) for point in place.gcps)
        self.notes = (*notes, *place.notes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._first, name)

    def _each(self, what: str) -> tuple[Any, ...]:
        return tuple(value for page in self._pages for value in getattr(page, what))

    def read(
        self, bands: int | Sequence[int] | None = None, window: Any = None, shape: tuple[int, int] | None = None
    ) -> NDArray[Any]:
        """Pixels (bands, height, width), or (height, width) of a band that is named by its number.

        bands: numbers from 1, None for all. window: rasterio's, or ((row, row), (column, column)); None for all.
        shape: height and width to read it at, of each pixel the nearest, from overviews where the file has them.
        Raises UserError if the file is damaged.
        """
        return self._read("read", bands, window, shape)

    def read_masks(
        self, bands: int | Sequence[int] | None = None, window: Any = None, shape: tuple[int, int] | None = None
    ) -> NDArray[np.uint8]:
        """What GDAL says of the pixels, 0 where there is none; otherwise as `read`."""
        return self._read("read_masks", bands, window, shape)

    def _read(
        self, how: str, bands: int | Sequence[int] | None, window: Any, shape: tuple[int, int] | None = None
    ) -> NDArray[Any]:
        from rasterio.windows import Window

        numbers = [bands] if isinstance(bands, int) else list(bands or range(1, self.count + 1))
        if window is None:
            shown = (0, 0, self.height, self.width)
        elif isinstance(window, Window):
            shown = (window.row_off, window.col_off, window.height, window.width)
        else:
            (top, bottom), (left, right) = window
            shown = (top, left, bottom - top, right - left)
        row, col, height, width = self._turn.window(shown, self._size)
        try:
            with READING, gdal_env(), warnings.catch_warnings():
                # Where nodata is stated, too, what alpha says is read by itself.
                warnings.simplefilter("ignore", import_rasterio().errors.NodataShadowWarning)
                stored = None if shape is None else self._turn.size(*shape)
                values = self._stored(how, numbers, Window(col, row, width, height), stored)
        except (import_rasterio().errors.RasterioError, _gdal_errors()) as error:
            raise _damaged(self._path, error) from error
        values = self._turn.show(values)
        return values[0] if isinstance(bands, int) else values

    def _stored(self, how: str, numbers: list[int], window: Any, shape: tuple[int, int] | None) -> NDArray[Any]:
        if len(self._pages) == 1:
            size = None if shape is None else (len(numbers), *shape)
            return np.asarray(getattr(self._first, how)(numbers, window=window, out_shape=size))
        each = [self._bands[number - 1] for number in numbers]
        return np.stack([getattr(page, how)(band, window=window, out_shape=shape) for page, band in each])


def _turned(point: Any, turn: Turn, size: tuple[int, int]) -> Any:
    from rasterio.control import GroundControlPoint

    row, col = turn.place(point.row, point.col, size)
    return GroundControlPoint(row, col, point.x, point.y, point.z, point.id, point.info)


@contextmanager
def open_geotiff(path: Path) -> Iterator[Any]:
    """An open `GeoFile`, of whatever format `DRIVERS` names.

    Raises:
        UserError: no such file, it cannot be opened, or it names others that it must not.
    """
    rasterio = import_rasterio()
    with ExitStack() as stack:
        if not path.is_file():
            raise UserError(f"cannot open {path}: no such file")
        stack.enter_context(gdal_env())
        try:
            with warnings.catch_warnings():
                # Whether there is a transform, the caller sees.
                warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                file = _opened(path, stack)
        except (rasterio.errors.RasterioError, _gdal_errors()) as error:
            raise _damaged(path, error) from error
        yield file


def _opened(path: Path, stack: ExitStack) -> GeoFile:
    rasterio = import_rasterio()
    suffix = path.suffix.lower()
    driver, _ = DRIVERS[suffix]

    def open_one(name: str | Path) -> Any:
        return rasterio.open(name, driver=driver)

    if driver == "VRT":
        whole = local_vrt(path, _check_source)
        return GeoFile(path, [stack.enter_context(open_one(whole))], UPRIGHT, ())
    # An absolute path is no URL and no connection string.
    first = stack.enter_context(open_one(path.absolute()))
    if first.count > MOST_BANDS:
        raise UserError(f"{path} has {first.count} bands, more than {MOST_BANDS}: save those that you need")
    _check_blocks(path, first)
    if driver != "GTiff":
        return GeoFile(path, [first], UPRIGHT if driver == "JP2OpenJPEG" else _turn_of_image(path), ())
    names, pages, notes = first.subdatasets, [first], []
    with suppress(_gdal_errors()):
        first.colorinterp  # noqa: B018 - raises what was odd in a page above, once, even though it was read
    if len(names) > MOST_PAGES:
        raise UserError(f"{path} has {len(names)} pages, more than {MOST_PAGES}: save those that you need")
    for name in names[1:]:
        page = stack.enter_context(open_one(name))
        if (page.height, page.width) == (first.height, first.width):
            pages.append(page)
    if len(pages) > 1:
        notes.append(PAGES)
        if any(_has_palette(page) for page in pages):
            raise UserError(f"{path} has pages whose colours are those of a palette: save each page as a file")
    if len(names) > len(pages):
        notes.append(OTHER_PAGES)
    turn = turn_of(_tag_of_tiff(path))
    return GeoFile(path, pages, turn, [*notes, *([TURNED] if turn != UPRIGHT else [])])


def _check_blocks(path: Path, file: Any) -> None:
    """Raise UserError if one block cannot be decoded, or if a file is too short for its blocks."""
    held = file.count if file.interleaving == import_rasterio().enums.Interleaving.pixel else 1
    sample = max(np.dtype(kind).itemsize if hasattr(np, kind) else 16 for kind in file.dtypes)
    refuse_blocks(path, (file.height, file.width), file.block_shapes[0], held * sample)


def _check_source(path: Path) -> None:
    """Raise UserError unless a file opens with the driver of its suffix: GDAL would guess another."""
    with open_geotiff(path):
        pass


def _turn_of_image(path: Path) -> Turn:
    with opened(path) as file:
        return turn_of(orientation_of(file, path))


def _has_palette(page: Any) -> bool:
    try:
        return bool(page.colormap(1))
    except ValueError:  # so says rasterio where there is none
        return False


def _tag_of_tiff(path: Path) -> int:
    """The orientation of the first page of a TIFF, of which GDAL says nothing; 1 where the file has none."""
    with path.open("rb") as file:
        head = file.read(16)
        order = "little" if head[:2] == b"II" else "big"

        def number(part: bytes) -> int:
            return int.from_bytes(part, order)  # type: ignore[arg-type]

        big = number(head[2:4]) == 43
        file.seek(number(head[8:16] if big else head[4:8]))
        entries = number(file.read(8 if big else 2))
        size = 20 if big else 12
        tags = file.read(size * min(entries, 2**16))
    for start in range(0, len(tags) - size + 1, size):
        if number(tags[start : start + 2]) == ORIENTATION:
            value = tags[start + (12 if big else 8) :][:2]
            return number(value)
    return 1


def _damaged(path: Path, error: Exception) -> UserError:
    error = error.__cause__ if isinstance(error.__cause__, Exception) else error  # "Read failed" says nothing
    line = (str(error).splitlines() or [type(error).__name__])[0]
    what = DRIVERS[path.suffix.lower()][1]
    return UserError(f"{path} is damaged or no {what}: {line}\nreplace it by an intact copy")
