"""PNG files chunk by chunk, of depths that Pillow does not write."""

import struct
import zlib
from pathlib import Path

import numpy as np

COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""PNG's number for grey, grey and alpha, RGB, RGBA, by the number of bands."""


def chunk(name: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + check


def write_png(
    path: Path, values: np.ndarray, depth: int = 16, clear: tuple[int, ...] = (), exif: bytes = b"", late: bool = False
) -> Path:
    """values: (H, W, bands). clear: the values of the transparent colour. exif: EXIF data; late: behind the pixels."""
    height, width, bands = values.shape
    if depth >= 8:
        rows = [row.astype(f">u{depth // 8}").tobytes() for row in values]
    else:
        bits = np.unpackbits(values.astype(np.uint8), axis=-1)[..., 8 - depth :].reshape(height, -1)
        rows = [np.packbits(row).tobytes() for row in bits]
    header = struct.pack(">IIBBBBB", width, height, depth, COLOUR_TYPES[bands], 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header)]
    parts += [chunk(b"tRNS", struct.pack(f">{len(clear)}H", *clear))] if clear else []
    parts += [chunk(b"eXIf", exif)] if exif and not late else []
    parts += [chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))]
    parts += [chunk(b"eXIf", exif)] if exif and late else []
    path.write_bytes(b"".join([*parts, chunk(b"IEND", b"")]))
    return path
