"""Small files that claim more pixels than a picture of their size can have: decompression bombs."""

from pathlib import Path

from sparse_seg.errors import UserError

WHOLE, DEFLATED = 2**25, 900
"""Of what is decoded as a whole: pixels that any file may have, and samples for each of its bytes in a larger one.
Deflate makes 1032 of a byte, but only of one value throughout.
"""
WINDOWS, SPARSE = 2**28, 10_000
"""The same of what is read by windows, where blocks of a GeoTIFF may be left out."""


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
    size = path.stat().st_size
    if height * width > most and height * width * bands > share * size:
        raise UserError(
            f"{path} claims {width}×{height} pixels in {size:,} bytes, which no picture fits into: it is taken for a "
            "decompression bomb\nif its pixels are meant, cut it into tiles"
        )
