"""What a pixel can be: the classes of a data set, their colours and numbers, and the arrays that hold them."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

IGNORE_INDEX = 255
"""Value of an unlabelled pixel in every mask and target."""

RGB = tuple[int, int, int]
Image = NDArray[np.uint8]
"""(H, W, bands); three are shown and jittered as RGB."""
Mask = NDArray[np.uint8]
"""(H, W) class index, 255 = unlabelled."""


@dataclass(frozen=True)
class Classes:
    """The classes of a data set, in index order, and what masks have for them.

    Args:
        names: one per class.
        colours: one (R, G, B) of uint8 range per class.
        unlabelled: colours that a mask uses for pixels that nobody labelled.
        indices: the number of each class in a mask that holds numbers, None where masks hold colours.
        blank: numbers that mean unlabelled there, beside 255.

    Raises:
        ValueError: colours or indices are not one per class, or a number is out of 0..255.

    Example:
        >>> classes = Classes(("Water", "Land"), ((0, 0, 255), (0, 255, 0)))
        >>> len(classes), Classes.from_dict(classes.to_dict()) == classes
        (2, True)
    """

    names: tuple[str, ...]
    colours: tuple[RGB, ...]
    unlabelled: tuple[RGB, ...] = ()
    indices: tuple[int, ...] | None = None
    blank: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.names) != len(self.colours):
            raise ValueError(f"{len(self.names)} class names but {len(self.colours)} colours")
        if self.indices is not None and len(self.indices) != len(self.names):
            raise ValueError(f"{len(self.names)} classes but {len(self.indices)} indices")
        numbers = [*chain(*self.colours, *self.unlabelled), *(self.indices or ())]
        if wrong := [number for number in numbers if not 0 <= number <= 255]:
            raise ValueError(f"{wrong[0]} is no number from 0 to 255")

    def __len__(self) -> int:
        return len(self.names)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as a checkpoint keeps them."""
        return {
            "classes": list(self.names),
            "colours": [list(c) for c in self.colours],
            "unlabelled": [list(c) for c in self.unlabelled],
            "indices": None if self.indices is None else list(self.indices),
            "blank": list(self.blank),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Classes":
        """From what `to_dict` gave; `unlabelled`, `indices` and `blank` may be missing.

        Raises KeyError, TypeError, ValueError or IndexError for anything else.
        """
        indices = values.get("indices")
        return cls(
            tuple(map(str, values["classes"])),
            _rgb(values["colours"]),
            _rgb(values.get("unlabelled") or ()),
            None if indices is None else tuple(int(i) for i in indices),
            tuple(int(b) for b in values.get("blank") or ()),
        )


def _rgb(colours: Any) -> tuple[RGB, ...]:
    return tuple((int(r), int(g), int(b)) for r, g, b in colours)


LAND_COVER = Classes(
    names=("Water", "Land", "Road", "Building", "Vegetation"),
    colours=((0xE2, 0xA9, 0x29), (0x84, 0x29, 0xF6), (0x6E, 0xC1, 0xE4), (0x3C, 0x10, 0x98), (0xFE, 0xDD, 0x3A)),
    unlabelled=((0x9B, 0x9B, 0x9B),),
)
"""Classes of the Dubai masks, in the order of the report. The colours are those of the mask files; the
`classes.json` that comes with the data lists others."""
