"""What the files of a data set turned out to hold once their pixels were read, kept beside the cache."""

import json
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sparse_seg.classes import Classes
from sparse_seg.palette import hex_colour
from sparse_seg.raster.warned import (
    AbsentWarning,
    AlphaWarning,
    BlurredWarning,
    HiddenClassWarning,
    OffPaletteWarning,
    PixelsWarning,
)

FOREIGN = 0.01
"""Share of the labelled pixels of all masks that may hold no class."""


@dataclass
class Kind:
    """files: path → pixels. values: what they hold, as text → pixels; of alpha bands whether one takes many levels."""

    files: Counter[str] = field(default_factory=Counter)
    values: Counter[str] = field(default_factory=Counter)

    def add(self, path: Path, count: int) -> None:
        self.files[str(path)] += count

    def pixels_of(self, what: str) -> str:
        (most, count), *_ = self.files.most_common(1)
        return f"{self.files.total():,} pixels of {len(self.files)} {what} (most in {most}: {count:,})"


@dataclass
class Seen:
    """What there is. foreign: pixels of masks that hold no class. blurred: the same of masks that are compressed with
    loss. hidden: those of a class whose number is its mask's nodata value. transparent: pixels of images that an alpha
    band hides. absent: those that hold what programs write where there is no image.
    """

    foreign: Kind = field(default_factory=Kind)
    blurred: Kind = field(default_factory=Kind)
    hidden: Kind = field(default_factory=Kind)
    transparent: Kind = field(default_factory=Kind)
    absent: Kind = field(default_factory=Kind)

    @classmethod
    def of(cls, caught: Sequence[warnings.WarningMessage]) -> "Seen":
        """From the warnings that reading raised; others are raised again."""
        seen = cls()
        kinds = {
            OffPaletteWarning: seen.foreign,
            BlurredWarning: seen.blurred,
            HiddenClassWarning: seen.hidden,
            AlphaWarning: seen.transparent,
            AbsentWarning: seen.absent,
        }
        for w in caught:
            if not isinstance(w.message, PixelsWarning):
                warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)
                continue
            kind = kinds[type(w.message)]
            kind.add(w.message.path, w.message.count)
            if isinstance(w.message, OffPaletteWarning):
                for value, n in w.message.values.items():
                    kind.values[hex_colour(value) if isinstance(value, tuple) else str(value)] += n
            elif isinstance(w.message, HiddenClassWarning):
                kind.values[str(w.message.value)] += w.message.count
            elif isinstance(w.message, AlphaWarning):
                kind.values["levels"] += w.message.levels
        return seen

    @property
    def notes(self) -> list[str]:
        """A line for each kind that there is."""
        lines = []
        if self.foreign.files:
            values = ", ".join(f"{value} ({n:,})" for value, n in self.foreign.values.most_common(3))
            mostly = f", mostly {values}" if values else ""
            lines.append(f"{self.foreign.pixels_of('masks')} hold no class and count as unlabelled{mostly}")
        if self.blurred.files:
            pixels = self.blurred.pixels_of("masks that are compressed with loss")
            lines.append(f"{pixels} lie between the values of classes and count as unlabelled")
        if self.hidden.files:
            value, pixels = ", ".join(self.hidden.values), self.hidden.pixels_of("masks")
            lines.append(f"{pixels} hold {value}, the nodata value that these state, and count as unlabelled")
        if self.absent.files:
            pixels = self.absent.pixels_of("images")
            lines.append(f"{pixels} hold -9999 or its like in all bands, are taken for no image and left out")
        if self.transparent.files:
            line = f"{self.transparent.pixels_of('images')} are transparent by an alpha band and are left out"
            if self.transparent.values["levels"]:
                line += "; the band takes more than two values: if it is none, such as near infrared, data.alpha=false"
            lines.append(line)
        return lines

    def write(self, path: Path) -> None:
        path.write_text(json.dumps({name: vars(kind) for name, kind in vars(self).items()}), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Seen":
        kinds: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{n: Kind(Counter(k["files"]), Counter(k["values"])) for n, k in kinds.items()})


def foreign_problem(foreign: Kind, labelled: int) -> str | None:
    """What is wrong where more than FOREIGN of the pixels that masks label hold the value of no class; else None.

    Args:
        foreign: the pixels of masks that hold no class.
        labelled: how many pixels have one.
    """
    pixels = foreign.files.total()
    if not pixels:
        return None
    share = pixels / (labelled + pixels)
    if share <= FOREIGN:
        return None
    values = ", ".join(f"{value} ({n:,} pixels)" for value, n in foreign.values.most_common(3))
    (first, _), *_ = foreign.files.most_common(1)
    return (
        f"{share:.1%} of the labelled pixels of {len(foreign.files)} masks, such as {first}, hold no class: {values}\n"
        "give the class that it is this colour or index in classes.yaml, or list it there under unlabelled"
    )


def without_pixels(empty: Sequence[int], classes: Classes, where: str) -> str:
    """The sentence on classes that have no labelled pixel, by their indices."""
    names = ", ".join(classes.names[k] for k in empty)
    what = f"class {names} has" if len(empty) == 1 else f"classes {names} have"
    return f"{what} no labelled pixel in {where}"
