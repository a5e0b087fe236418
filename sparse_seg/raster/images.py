"""Images that Pillow reads, decoded whole and turned as they are shown."""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import PIL.ImageFile
from numpy.typing import NDArray

from sparse_seg.classes import Image
from sparse_seg.errors import UserError
from sparse_seg.raster.trap import DECODED, WAY_OUT, refuse_large, refuse_trap
from sparse_seg.raster.turned import TURNS, UPRIGHT, Turn

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
"""What is looked for, whatever the suffix. Others of Pillow's start programs."""
STRIP = 2**22
"""Pixels that are converted at once."""
LONGEST = 2**20
"""Pixels of a side."""
PROGRESSIVE, DEEP = 9 * 10**7, 2**27
"""Pixels of a progressive JPEG, and samples of 16 bits of a PNG, whose decoding takes some ten bytes of each."""
ORIENTATION = 274
"""The tag in EXIF and in TIFF."""
METHODS = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}


def rgb_of_image(file: PIL.Image.Image) -> Image:
    """Pillow's image as (H, W, 3) RGB, without a second copy of a large one."""
    out = np.empty((file.height, file.width, 3), np.uint8)
    step = max(1, STRIP // max(file.width, 1))
    for row in range(0, file.height, step):
        end = min(row + step, file.height)
        out[row:end] = np.asarray(file.crop((0, row, file.width, end)).convert("RGB"))
    return out


def open_image(path: Path, any_depth: bool = False) -> PIL.Image.Image:
    """Open and decode an image, turned as its EXIF orientation says.

    Whatever goes wrong is a UserError, more than 8 bits too unless any_depth. Then a single band keeps its 16 bits, of
    several Pillow keeps the upper 8 alone; `read_deep` has all.
    """
    with opened(path) as file:
        deep, orientation = deep_bands(file), orientation_of(file, path)
        file.load()
    if deep and not any_depth:
        raise UserError(
            f"{path} has more than 8 bits per pixel and band: say which values are black and white, "
            "data.scale=[low,high], or convert it to 8-bit RGB"
        )
    return file.transpose(METHODS[orientation]) if orientation in METHODS else file


@contextmanager
def opened(path: Path) -> Iterator[PIL.ImageFile.ImageFile]:
    """An image whose header is read, and whose pixels are not. Raises UserError, within the block, too."""
    try:
        with warnings.catch_warnings():
            # Pillow refuses what is twice as large.
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", module="PIL")  # of an animation that is none
            with PIL.Image.open(path, formats=FORMATS) as file:
                if file.format == "TIFF" and not path.suffix.lower().startswith(".tif"):
                    raise ValueError("it is a TIFF, whose name must end in .tif")
                if max(file.size) > LONGEST:
                    raise ValueError(f"it claims {file.width}×{file.height} pixels")
                if file.format in ("JPEG", "MPO"):
                    refuse_trap(path, file.height, file.width, *DECODED, len(file.getbands()))
                    if "progressive" in file.info:
                        refuse_large(path, file.height, file.width, PROGRESSIVE)
                yield file
    except UserError:
        raise
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise UserError(f"cannot open {path}: {error.strerror}") from error
    except PIL.Image.DecompressionBombError as error:
        raise UserError(f"{path} is too large, {WAY_OUT}: {error}") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise UserError(
            f"{path} is damaged or no image: {error}\nreplace it by an intact copy (`make data` does so for Dubai)"
        ) from error


def deep_bands(file: PIL.ImageFile.ImageFile) -> int:
    """How many bands of 16 bits an image has whose pixels are not read yet, 0 where it has 8 or fewer."""
    raw = file.tile[0][3] if file.format == "PNG" and file.tile else None
    return len(raw.removesuffix(";16B")) if isinstance(raw, str) and raw.endswith(";16B") else 0


def orientation_of(file: PIL.ImageFile.ImageFile, path: Path) -> int | None:
    """What the EXIF data of an image says, 1 (upright) without; None where it is damaged.

    Of a PNG whose EXIF data stands behind the pixels these are read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged EXIF data, which is told by None
            if file.format == "PNG" and _has_late_exif(path):
                file.load()
            value = PIL.Image.Image.getexif(file).get(ORIENTATION, 1)  # PNG's own decodes the image
    except Exception:  # Pillow's parser of EXIF data raises any kind; no viewer refuses a picture for it
        return None
    return int(value) if isinstance(value, int) else None


def turn_of(orientation: int | None) -> Turn:
    """The turn of an orientation; upright where there is none that means anything."""
    return TURNS.get(orientation or 1, UPRIGHT)


def read_deep(path: Path) -> NDArray[np.uint16]:
    """The pixels of a PNG of 16 bits, (H, W, bands), turned as its EXIF orientation says.

    Raises:
        UserError: the file is damaged.
    """
    with opened(path) as file:
        raw, orientation = file.tile[0][3], orientation_of(file, path)
        refuse_large(path, file.height, file.width, DEEP // max(deep_bands(file), 1))
        file.load()  # which says what is damaged
        if raw == "I;16B":
            values = np.asarray(file)[..., None]
        else:
            decoded = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
            if decoded is None or decoded.dtype != np.uint16 or decoded.ndim != 3:
                raise ValueError("16 bits per band that cannot be decoded")
            order = {"LA;16B": [0, 3], "RGB;16B": [2, 1, 0], "RGBA;16B": [2, 1, 0, 3]}[str(raw)]
            values = decoded[..., order]
    return np.ascontiguousarray(turn_of(orientation).show(values.transpose(2, 0, 1)).transpose(1, 2, 0))


def _has_late_exif(path: Path) -> bool:
    """Whether a PNG has EXIF data, or text that may hold some, behind its pixels."""
    with path.open("rb") as file:
        file.seek(8)
        behind = False
        while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
            if behind and head[4:] in (b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
                return True
            behind |= head[4:] == b"IDAT"
            file.seek(int.from_bytes(head[:4], "big") + 4, 1)
    return False
