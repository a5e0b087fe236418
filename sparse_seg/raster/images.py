"""Images that Pillow reads, decoded whole."""

import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image

from sparse_seg.classes import Image
from sparse_seg.errors import UserError


def read_image(path: Path) -> Image:
    """Read an image of any 8-bit mode as uint8 (H, W, 3) RGB. EXIF rotation is not applied: masks have none.

    Raises:
        UserError: the file is missing, damaged, no image, or has 16-bit or float pixels in one band.
    """
    return np.array(open_image(path).convert("RGB"))


def open_image(path: Path, any_depth: bool = False) -> PIL.Image.Image:
    """Open and decode an image. Whatever goes wrong is a UserError, more than 8 bits too unless any_depth."""
    try:
        with PIL.Image.open(path) as file:
            file.load()
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise UserError(f"cannot open {path}: {error.strerror}") from error
    except PIL.Image.DecompressionBombError as error:
        raise UserError(f"{path} is too large, cut it into tiles first: {error}") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise UserError(
            f"{path} is damaged or no image: {error}\nreplace it by an intact copy (`make data` does so for Dubai)"
        ) from error
    if file.mode.startswith(("I", "F")) and not any_depth:
        raise UserError(f"{path} has more than 8 bits per pixel and band (mode {file.mode}): convert it to 8-bit RGB")
    return file
