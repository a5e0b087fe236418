"""What is only known of a file once its pixels are read. Each kind is a warning, for whoever reads a single file; the
cache collects them, and says them of all files together.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class PixelsWarning(UserWarning):
    """Pixels of a file are not what they seem.

    Args:
        path: the file.
        count: how many pixels.
        what: of them, for people.
    """

    def __init__(self, path: Path, count: int, what: str) -> None:
        super().__init__(path, count, what)
        self.path = path
        self.count = count
        self.what = what

    def __str__(self) -> str:
        return f"{self.path}: {self.count:,} pixels {self.what}"


class OffPaletteWarning(PixelsWarning):
    """A mask holds colours or numbers that are neither a class nor unlabelled; these pixels are taken as unlabelled.

    Args:
        path: the mask.
        count: how many pixels.
        values: the most frequent of them, number or (R, G, B) → pixels.
    """

    def __init__(self, path: Path, count: int, values: Mapping[Any, int] | None = None) -> None:
        super().__init__(path, count, "hold no class and are taken as unlabelled")
        self.values = Counter(values or {})


class BlurredWarning(PixelsWarning):
    """Pixels of a mask that is compressed with loss are too far from the value of every class: taken as unlabelled."""

    def __init__(self, path: Path, count: int) -> None:
        super().__init__(path, count, "lie between the values of classes and are taken as unlabelled")


class HiddenClassWarning(PixelsWarning):
    """The nodata value that a mask states is the number of a class, `value`: its pixels are taken as unlabelled."""

    def __init__(self, path: Path, count: int, value: int) -> None:
        super().__init__(path, count, f"hold {value}, its nodata value, and are taken as unlabelled")
        self.value = value


class AbsentWarning(PixelsWarning):
    """Pixels of an image hold what programs write where there is none, as -9999, though the file does not say so."""

    def __init__(self, path: Path, count: int) -> None:
        super().__init__(path, count, "hold -9999 or its like in all bands, are taken for no image and left out")


class AlphaWarning(PixelsWarning):
    """An alpha band hides pixels of an image.

    Args:
        path: the image.
        count: how many pixels.
        levels: whether the band takes more than two values, as near infrared does that is marked as alpha.
    """

    def __init__(self, path: Path, count: int, levels: bool) -> None:
        way_out = "; if that band is none, such as near infrared, train with data.alpha=false" if levels else ""
        super().__init__(path, count, f"are transparent by its alpha band and are left out{way_out}")
        self.levels = levels
