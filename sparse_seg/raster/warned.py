"""What is only known of a file once its pixels are read. Each kind is a warning, for whoever reads a single file; the
cache collects them, and says them of all files together.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class OffPaletteWarning(UserWarning):
    """A mask holds colours or numbers that are neither a class nor unlabelled; these pixels are taken as unlabelled.

    Args:
        path: the mask.
        count: how many pixels.
        values: the most frequent of them, number or (R, G, B) → pixels.
    """

    def __init__(self, path: Path, count: int, values: Mapping[Any, int] | None = None) -> None:
        super().__init__(path, count)
        self.path = path
        self.count = count
        self.values = Counter(values or {})

    def __str__(self) -> str:
        return f"{self.path}: {self.count:,} pixels hold no class and are taken as unlabelled"


class BlurredWarning(UserWarning):
    """Pixels of a mask that is compressed with loss are too far from the value of every class: taken as unlabelled.

    Args:
        path: the mask.
        count: how many pixels.
    """

    def __init__(self, path: Path, count: int) -> None:
        super().__init__(path, count)
        self.path = path
        self.count = count

    def __str__(self) -> str:
        return f"{self.path}: {self.count:,} pixels lie between the values of classes and are taken as unlabelled"


class HiddenClassWarning(UserWarning):
    """The nodata value that a mask states is the number of a class: its pixels are taken as unlabelled.

    Args:
        path: the mask.
        count: how many pixels.
        value: the number.
    """

    def __init__(self, path: Path, count: int, value: int) -> None:
        super().__init__(path, count, value)
        self.path = path
        self.count = count
        self.value = value

    def __str__(self) -> str:
        return f"{self.path}: {self.count:,} pixels hold {self.value}, its nodata value, and are taken as unlabelled"


class AlphaWarning(UserWarning):
    """An alpha band hides pixels of an image.

    Args:
        path: the image.
        count: how many pixels.
        levels: whether the band takes more than two values, as near infrared does that is marked as alpha.
    """

    def __init__(self, path: Path, count: int, levels: bool) -> None:
        super().__init__(path, count, levels)
        self.path = path
        self.count = count
        self.levels = levels

    def __str__(self) -> str:
        way_out = "; if that band is none, such as near infrared, train with data.alpha=false" if self.levels else ""
        return f"{self.path}: {self.count:,} pixels are transparent by its alpha band and are left out{way_out}"
