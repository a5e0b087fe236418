"""Where an image lies on the map: what the file says, or what lies beside it."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sparse_seg.errors import UserError

BY_GCPS = "its ground control points place it, by a plane through them (order 1)"
FEW_GCPS = "its ground control points are not used: they are too few to place it"
BY_WORLD_FILE = "the world file beside it places it"
OTHER_WORLD_FILE = "the world file beside it is not used: what says itself where it lies says otherwise"
RPCS = "its RPCs are not used: nothing else says where it lies"
LONGEST = 2**16
"""Bytes of a world file or of a .prj, of which one holds six numbers and the other one CRS."""


class Position(NamedTuple):
    """crs: rasterio's or None. transform: of stored pixels (column, row) to the CRS, None where nothing says.
    gcps: rasterio's ground control points, where the transform is made of them. notes: as `Header`'s.
    """

    crs: Any = None
    transform: Any = None
    gcps: tuple[Any, ...] = ()
    notes: tuple[str, ...] = ()


def beside(path: Path, *suffixes: str) -> Path | None:
    """The first file beside an image that has one of these suffixes, in small letters or in capitals, as for GDAL."""
    for suffix in suffixes:
        for each in (suffix, suffix.upper()):
            if (other := path.with_suffix(f".{each}")).is_file():
                return other
    return None


def world_suffixes(path: Path) -> tuple[str, ...]:
    """Suffixes of the world files of an image: `a.tfw`, `a.tifw` and `a.wld` of `a.tif`."""
    own = path.suffix.lower().removeprefix(".")
    return tuple(dict.fromkeys((f"{own[:1]}{own[-1:]}w", f"{own}w", "wld")))


def position_of(path: Path, file: Any = None) -> Position:
    """Where an image lies.

    Args:
        path: the image.
        file: it, open in rasterio; None where nothing but a world file can say it.

    Raises:
        UserError: a world file or a .prj that is needed cannot be understood.
    """
    from rasterio.transform import from_gcps

    transform = None if file is None or not _says_something(file.transform) else file.transform
    crs = None if file is None else file.crs
    world = beside(path, *world_suffixes(path)) if path.suffix.lower() != ".vrt" else None
    if transform is not None:
        own = None if world is None else _world_transform(world, strict=False)
        if own is not None and own.almost_equals(transform, 1e-6 * abs(own.determinant) ** 0.5):
            return Position(crs or _prj(path), transform, notes=(BY_WORLD_FILE,))
        return Position(crs, transform, notes=() if world is None else (OTHER_WORLD_FILE,))
    gcps, gcps_crs = ([], None) if file is None else file.gcps
    if gcps:
        if not (_span_plane([(g.col, g.row) for g in gcps]) and _span_plane([(g.x, g.y) for g in gcps])):
            return Position(crs, notes=(FEW_GCPS,))
        return Position(gcps_crs, from_gcps(gcps), tuple(gcps), (BY_GCPS,))
    if world is not None:
        return Position(crs or _prj(path), _world_transform(world), notes=(BY_WORLD_FILE,))
    return Position(crs, notes=(RPCS,) if file is not None and file.rpcs is not None else ())


def _says_something(transform: Any) -> bool:
    """Whether a transform is none that GDAL gives where there is none, made of numbers, and spans a plane."""
    return not transform.is_identity and all(map(math.isfinite, tuple(transform))) and not transform.is_degenerate


def _span_plane(points: list[tuple[float, float]]) -> bool:
    """Whether points do not lie on one line, for which GDAL's fit gives numbers without a meaning."""
    far = np.asarray(points) - np.mean(points, 0)
    return bool(np.isfinite(far).all() and np.linalg.matrix_rank(far, tol=1e-9 * np.abs(far).max()) == 2)


def _world_transform(path: Path, strict: bool = True) -> Any:
    """The transform in a world file, which is of the centre of the upper left pixel. strict: else None if broken."""
    from affine import Affine

    try:
        # A comma is the decimal point of some programs, and GDAL takes it, too.
        a, d, b, e, c, f = (float(word.replace(",", ".")) for word in _text(path).split()[:6])
        if not all(map(math.isfinite, (a, b, c, d, e, f))) or a * e == b * d:
            raise ValueError
    except ValueError:
        if not strict:
            return None
        raise UserError(
            f"{path} is no world file: it must hold six numbers, one a line, that span a plane; mend it or move it away"
        ) from None
    return Affine(a, b, c - (a + b) / 2, d, e, f - (d + e) / 2)


def _prj(path: Path) -> Any:
    from rasterio.crs import CRS
    from rasterio.errors import RasterioError

    prj = beside(path, "prj")
    if prj is None:
        return None
    try:
        return CRS.from_wkt(_text(prj), morph_from_esri_dialect=True)
    except (RasterioError, ValueError) as error:  # CRSError is a ValueError
        raise UserError(f"{prj} holds no CRS that can be understood (WKT); mend it or move it away") from error


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(LONGEST).decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot open {path}: {error.strerror}") from error
