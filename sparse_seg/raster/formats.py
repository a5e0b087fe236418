"""What reads images: a registry suffix → reader, and what readers share.

A format is a subclass of `Raster`:

    @register(".toy")
    class Toy(Raster): ...

Every list of suffixes is made of what is registered. `raster.readers` has those that are there.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from sparse_seg.errors import UserError

REDUCED = 2**22
"""Pixels that are read at a time to be reduced."""
Scale = tuple[float, float]
Window = tuple[NDArray[np.uint8], NDArray[np.bool_]]


@dataclass(frozen=True)
class Header:
    """Of an image that is not read yet.

    height, width: pixels. crs, transform: as `Raster` has them. kind: pixel type and bands, for people. bands: with
    alpha. notes: what of the file is not used, or is taken otherwise than it stands; sentences without the file's name.
    """

    height: int
    width: int
    crs: Any = None
    transform: Any = None
    has_alpha: bool = False
    kind: str = "uint8 × 3"
    bands: int = 3
    notes: tuple[str, ...] = ()


class Raster(ABC):
    """An image that is open for reading; a format of images is a subclass that is registered.

    A subclass sets the attributes below when it is made and reads a window in `_read`.

    Args:
        path: the file.
        bands: the numbers of the bands to read, None for the usual ones; see `chosen_bands`.
        scale: what becomes black and white of pixels that are not uint8; see `needed_scale` and `to_uint8`.
        alpha: whether a band that is marked as alpha hides pixels.
        stack: closes what is open when the image is no longer read.

    Attributes:
        height, width: pixels.
        count: how many bands `read` returns.
        crs: rasterio's CRS or None.
        transform: the affine transform of pixel (column, row) to the CRS, None where the file has none.
        gcps: rasterio's ground control points that the transform is made of; empty elsewhere.
        absent: pixels read so far that hold in all bands, below the black of `scale`, what programs write where there
            is no image, though the file does not say so; they are not valid.
        whole: of the class: whether the image is decoded as a whole when it is opened, and nothing stays open.
    """

    whole: ClassVar[bool] = False
    absent: int = 0

    height: int
    width: int
    count: int
    crs: Any = None
    transform: Any = None
    gcps: tuple[Any, ...] = ()

    @abstractmethod
    def __init__(
        self,
        path: Path,
        bands: Sequence[int] | None,
        scale: Sequence[float] | None,
        stack: ExitStack,
        alpha: bool = True,
    ) -> None: ...

    @classmethod
    def header(cls, path: Path) -> Header:
        """What is known of an image before it is read. Raises UserError if it cannot be opened."""
        with ExitStack() as stack:
            file = cls(path, None, None, stack)
            return Header(file.height, file.width, file.crs, file.transform, bands=file.count)

    @classmethod
    def verify(cls, path: Path) -> None:
        """Raise UserError if a file is damaged, as far as that can be told without reading a large one."""
        cls.header(path)

    def read(self, row: int, col: int, height: int, width: int) -> Window:
        """Read a window that lies within the image.

        Returns the image, uint8 (height, width, count), and valid, bool (height, width): False where the nodata value
        in all bands read, an alpha band, a mask or a value that is not finite says that there is no image. The image is
        0 there.

        Raises:
            UserError: the file is damaged.
            ValueError: the window reaches beyond the image.
        """
        self._check(row, col, height, width)
        image, valid = self._read(row, col, height, width)
        image[~valid] = 0
        return image, valid

    def read_reduced(self, row: int, col: int, height: int, width: int, factor: int) -> Window:
        """Read a window at 1 ÷ factor of its size, for a look at it.

        Returns image and valid as `read` does, of ceil(height ÷ factor) × ceil(width ÷ factor) pixels: from overviews
        where the file has them, else the nearest pixel or a mean, as the format has it. Where a side is no multiple of
        factor, pixels are up to one of the reduced ones away. Raises as `read` does.
        """
        self._check(row, col, height, width)
        if factor == 1:
            return self.read(row, col, height, width)
        image, valid = self._read_reduced(row, col, height, width, factor)
        image[~valid] = 0
        return image, valid

    @property
    def has_overviews(self) -> bool:
        """Whether the whole image can be seen small without reading all of it."""
        return self.whole

    def _check(self, row: int, col: int, height: int, width: int) -> None:
        if min(row, col) < 0 or min(height, width) < 1 or row + height > self.height or col + width > self.width:
            raise ValueError(f"window {(row, col, height, width)} is not within {self.height}×{self.width} pixels")

    def _read_reduced(self, row: int, col: int, height: int, width: int, factor: int) -> Window:
        """Means of factor × factor pixels, strip by strip."""
        rows = max(1, REDUCED // (width * factor)) * factor
        parts = [self._read(row + top, col, min(rows, height - top), width) for top in range(0, height, rows)]
        images, valids = zip(
            *[(_means(image, factor), _means(valid[..., None] * np.uint8(255), factor)) for image, valid in parts],
            strict=True,
        )
        return np.concatenate(images), np.concatenate(valids)[..., 0] > 127

    def transparency(self, row: int, col: int, height: int, width: int) -> NDArray[Any] | None:
        """The alpha band (height, width) of a window, where it hides pixels; None where no band does."""
        return None

    @abstractmethod
    def _read(self, row: int, col: int, height: int, width: int) -> Window: ...


def _means(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    bands = [np.asarray(PIL.Image.fromarray(band).reduce(factor)) for band in np.moveaxis(image, 2, 0)]
    return np.stack(bands, 2)


Format = TypeVar("Format", bound=type[Raster])
_READERS: dict[str, type[Raster]] = {}
_MASKS: dict[str, None] = {}
SUFFIXES = _READERS.keys()
"""Of all images that can be read, in lower case; a file may have them in any case. Grows with what is registered."""
MASK_SUFFIXES = _MASKS.keys()
"""Of those that `raster.masks` reads as masks."""


def register(*suffixes: str, masks: bool = False) -> Callable[[Format], Format]:
    """Make a decorator that adds a format of images.

    Args:
        suffixes: of its files, in lower case with the dot.
        masks: whether `raster.masks` can read such files as masks.

    Returns:
        The decorator; it returns the class as it is.
    """

    def add(reader: Format) -> Format:
        _READERS.update(dict.fromkeys(suffixes, reader))
        _MASKS.update(dict.fromkeys(suffixes) if masks else {})
        return reader

    return add


def reader_of(path: Path) -> type[Raster]:
    """The reader of an image, by its suffix. Raises UserError if there is none."""
    try:
        return _READERS[path.suffix.lower()]
    except KeyError:
        known = ", ".join(SUFFIXES)
        raise UserError(f"{path} is no image that can be read: its name must end in {known}") from None


@contextmanager
def open_raster(
    path: Path,
    bands: Sequence[int] | None = None,
    scale: Sequence[float] | None = None,
    alpha: bool = True,
) -> Iterator[Raster]:
    """Open an image for reading by windows.

    path: a file with one of SUFFIXES. bands: the numbers of the bands to read, from 1 as in GDAL and in any order; None
    for the first three without alpha, or a single one three times. A band that is marked as alpha is an image like the
    others where `bands` names it: unless told otherwise, GDAL marks the fourth of four uint8 bands so. A palette is
    looked up.
    scale: (low, high), the values that become 0 and 255 with all between in proportion and all beyond clipped. uint8
    is taken as it is, with or without a scale; every other type needs one.
    alpha: False: a band that is marked as alpha is one like the others, and hides nothing.

    Raises:
        UserError: no such file, damaged, no such band, or a type other than uint8 without a scale.
    """
    if scale is not None and not (len(scale) == 2 and scale[0] < scale[1]):
        raise UserError(f"data.scale={list(scale)} must be two numbers, the lower one first")
    with ExitStack() as stack:
        yield reader_of(path)(path, bands, scale, stack, alpha)


def chosen_bands(
    path: Path, bands: Sequence[int] | None, colour: list[int], existing: list[int] | None = None
) -> list[int]:
    """The numbers of the bands to read. colour: those without alpha. existing: those that may be named, if others."""
    if bands is None:
        if len(colour) == 2 or not colour:
            raise Undecided(f"{path} has {len(colour)} bands without alpha", "say which to use, data.bands=[1,2]")
        return colour[:1] * 3 if len(colour) == 1 else colour[:3]
    existing = existing or colour
    for band in bands:
        if band not in existing:
            has = f"{path} has no band {band}, only {', '.join(map(str, existing))}"
            raise Undecided(has, f"data.bands={list(bands)} names it")
    if not bands:
        raise UserError("data.bands=[] names no band: leave it out to use the first three")
    return list(bands)


class Undecided(UserError):
    """An image has other bands or pixels than it is read by: what training is told, a trained network cannot be.

    Args:
        has: what the image has.
        way_out: for training.
    """

    def __init__(self, has: str, way_out: str) -> None:
        self.has = has
        super().__init__(f"{has}: {way_out}")


def needed_scale(path: Path, dtype: str, scale: Sequence[float] | None) -> Scale:
    """The values of black and white of pixels of another type than uint8.

    Raises:
        Undecided: none are given.
        UserError: pixels are complex numbers.
    """
    if "complex" in dtype:
        raise UserError(f"{path} has pixels of type {dtype}: only real numbers can be read")
    if scale is None:
        raise Undecided(
            f"{path} has pixels of type {dtype}, not uint8",
            "say which values are black and white, data.scale=[low,high]",
        )
    return float(scale[0]), float(scale[1])


def to_uint8(values: NDArray[Any], scale: Scale) -> NDArray[np.uint8]:
    """Values of any type → uint8, in proportion between those of black and white; NaN is black."""
    low, high = scale
    with np.errstate(over="ignore", invalid="ignore"):  # of what is beyond any scale, as a float64 of no data
        scaled = np.clip((values.astype(np.float32) - low) * (255 / (high - low)), 0, 255)
    return np.asarray(np.rint(np.nan_to_num(scaled, copy=False)), np.uint8)
