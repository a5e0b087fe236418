"""Class names, their order and their colours."""

from dataclasses import dataclass

IGNORE_INDEX = 255
"""Value of an unlabelled pixel in every mask and target."""


@dataclass(frozen=True)
class Classes:
    """The classes of a data set, in index order.

    names: one per class. colours: one (R, G, B) of uint8 range per class.
    unlabelled: colours that a mask uses for pixels that nobody labelled.
    """

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    unlabelled: tuple[tuple[int, int, int], ...] = ()

    def __post_init__(self) -> None:
        if len(self.names) != len(self.colours):
            raise ValueError(f"{len(self.names)} class names but {len(self.colours)} colours")

    def __len__(self) -> int:
        return len(self.names)


LAND_COVER = Classes(
    names=("Water", "Land", "Road", "Building", "Vegetation"),
    colours=((0xE2, 0xA9, 0x29), (0x84, 0x29, 0xF6), (0x6E, 0xC1, 0xE4), (0x3C, 0x10, 0x98), (0xFE, 0xDD, 0x3A)),
    unlabelled=((0x9B, 0x9B, 0x9B),),
)
"""Classes of the Dubai masks, in the order of the report. The colours are those of the mask files; the
`classes.json` that comes with the data lists others."""
