"""Files that would take more memory or time than there is: refused by their headers, before anything is decoded."""

import math
from pathlib import Path

from sparse_seg.errors import UserError

DECODED = 2**25, 900
"""Of a JPEG: pixels that any may have, and samples for each of its bytes in a larger one; one of a single colour has
some 500.
"""
COUNTED = 2**29, 900
"""The same of a mask that is read by windows, all of which are counted. Deflate makes 1032 of a byte."""
BLOCKS = 2**28
"""Pixels beyond which a file that is read by windows must be long enough to say where its blocks are."""
LARGEST_BLOCK = 2**28
"""Bytes that are decoded for any window of it."""
WAY_OUT = "cut it into tiles, or save it as GeoTIFF"


def refuse_trap(path: Path, height: int, width: int, most: int, share: int, bands: int = 1) -> None:
    """Raise UserError if a file of more than `most` pixels has more than `share` samples for each of its bytes.

    Args:
        path: the file.
        height: pixels that it claims.
        width: likewise.
        most: pixels that any file may have.
        share: samples for a byte of the file.
        bands: samples of a pixel.
    """
    if height * width > most and height * width * bands > share * path.stat().st_size:
        raise _trap(path, height, width)


def refuse_blocks(path: Path, size: tuple[int, int], block: tuple[int, int], sample_bytes: int) -> None:
    """Raise UserError if one block of a raster is too large to be decoded, or its blocks cannot all be there.

    Args:
        path: the file.
        size: height and width that it claims.
        block: height and width of a block.
        sample_bytes: of a pixel, of all bands that a block holds.
    """
    if (room := block[0] * block[1] * sample_bytes) > LARGEST_BLOCK:
        raise UserError(
            f"{path} has blocks of {block[1]}×{block[0]} pixels, {room:,} bytes, each of which is decoded as a whole: "
            "save it in smaller tiles"
        )
    count = math.prod(-(-whole // part) for whole, part in zip(size, block, strict=True))
    if size[0] * size[1] > BLOCKS and 2 * count > path.stat().st_size:
        raise _trap(path, *size)


def refuse_large(path: Path, height: int, width: int, most: int) -> None:
    """Raise UserError if what is decoded whole has more than `most` pixels, which would take a gigabyte."""
    if height * width > most:
        raise UserError(f"{path} has {width}×{height} pixels, more than {most:,}, and is decoded as a whole: {WAY_OUT}")


def _trap(path: Path, height: int, width: int) -> UserError:
    return UserError(
        f"{path} claims {width}×{height} pixels in {path.stat().st_size:,} bytes, which no picture fits into: it is "
        "taken for a decompression bomb\nif its pixels are meant, cut it into tiles"
    )
