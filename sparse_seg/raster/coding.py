"""From what masks hold to classes: by number, by colour, or by the nearest of them where the file is lossy."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sparse_seg.classes import IGNORE_INDEX, RGB, Classes, Mask
from sparse_seg.errors import UserError
from sparse_seg.palette import hex_colour, packed, palette, unpacked
from sparse_seg.raster.aligned import open_held, stamp
from sparse_seg.raster.held import Held, Valid, Values, counted

NEAR = 64
"""Distance in RGB within which a pixel of a lossy mask has the colour of a class; a step of greys is √3. Where the
classes' colours lie further apart than three times that, it is a third of their smallest distance.
"""
APART = 32
"""What the colours of two classes must at least differ by there."""
FAR = 0.05
"""Share of a lossy mask's pixels that may lie further away than NEAR."""

Value = int | RGB
"""A number or a colour."""


@dataclass(frozen=True)
class Code:
    """What the values of a mask mean.

    Args:
        known: value as `Held.read` gives it → class, or 255 for unlabelled.
        by_colour: whether these meanings are those of colours; else of numbers.
        near: the distance within which a value that is not known means what the nearest one does; 0 for none.
    """

    known: Mapping[int, int]
    by_colour: bool
    near: float = 0

    def decode(self, held: Held, values: Values, valid: Valid) -> tuple[Mask, Valid]:
        """Decode a window.

        Args:
            held: the mask.
            values, valid: as its `read` gives them, (H, W).

        Returns:
            class or 255, uint8 (H, W), and where a pixel holds neither a class nor unlabelled, bool (H, W).
        """
        if self.near:
            kinds, where = np.unique(values, return_inverse=True)
            own, foreign = self._nearest(kinds, held.coloured)
            mask, unknown = own[where].reshape(values.shape), foreign[where].reshape(values.shape)
        elif values.dtype in (np.uint8, np.uint16):
            own = np.full(np.iinfo(values.dtype).max + 1, IGNORE_INDEX, np.uint8)
            foreign = np.ones(len(own), np.bool_)
            for value, meaning in self.known.items():
                if 0 <= value < len(own):
                    own[value], foreign[value] = meaning, False
            mask, unknown = own[values], foreign[values]
        else:
            mask, unknown = np.full(values.shape, IGNORE_INDEX, np.uint8), np.ones(values.shape, np.bool_)
            for value, meaning in self.known.items():
                hit = values == value
                np.putmask(mask, hit, np.uint8(meaning))
                unknown &= ~hit
        mask[~valid] = IGNORE_INDEX
        return mask, unknown & valid

    def _nearest(self, kinds: Values, coloured: bool) -> tuple[NDArray[np.uint8], Valid]:
        known = np.array(list(self.known))
        away = np.linalg.norm(_rgb(kinds, coloured)[:, None] - _rgb(known, coloured)[None], axis=-1)
        nearest = np.array(list(self.known.values()), np.uint8)[away.argmin(1)]
        far = away.min(1) > self.near
        return np.where(far, np.uint8(IGNORE_INDEX), nearest), far

    def count(self, held: Held, values: Values) -> Counter[Value]:
        """Count values (N,) of pixels that hold no class, as numbers or colours."""
        kinds, counts = counted(values)
        return Counter({self._shown(held, v): n for v, n in zip(kinds.tolist(), counts.tolist(), strict=True)})

    def _shown(self, held: Held, value: int) -> Value:
        if held.coloured:
            return unpacked(value)
        if self.by_colour and held.table is not None:
            return unpacked(int(held.table[value])) if held.table[value] >= 0 else value
        return (value, value, value) if self.by_colour and 0 <= value < 256 else value


def code_of(held: Held, classes: Classes, by_order: bool = False) -> Code:
    """What the values of a mask mean for these classes.

    A palette has numbers and colours. Where classes have both, that one counts which explains all values of the file.

    Args:
        held: the mask.
        classes: with what masks have for them.
        by_order: whether their indices are but their order, so that colours of a palette that explain all count more.

    Raises:
        UserError: both do and mean something else; or the file is lossy, and the classes lie too close to each other,
            or more than FAR of its pixels are of none.
    """
    if held.lossy:
        _check_lossy(held.path, classes, *stamp(held.path))
    return _code_of(held, classes, by_order)


def _code_of(held: Held, classes: Classes, by_order: bool = False) -> Code:
    if held.coloured or classes.indices is None:
        known = _colours(classes) if held.coloured else _by_colour(held, classes)
        return Code(known, by_colour=True, near=_near(held, known))
    if held.table is None or held.is_ramp:
        known = _by_number(held, classes)
        return Code(known, by_colour=False, near=_near(held, known))
    return _of_palette(held, held.table, classes, by_order)


def _colours(classes: Classes) -> dict[int, int]:
    blank = {_packed(colour): IGNORE_INDEX for colour in classes.unlabelled}
    return blank | {_packed(colour): k for k, colour in enumerate(classes.colours)}


def _packed(colour: RGB) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _by_number(held: Held, classes: Classes) -> dict[int, int]:
    indices = classes.indices or ()
    known = dict.fromkeys((IGNORE_INDEX, *classes.blank), IGNORE_INDEX) | {v: k for k, v in enumerate(indices)}
    if held.nodata is not None and (held.nodata not in indices or not classes.blank):
        known[held.nodata] = IGNORE_INDEX
    if held.lossy and any(3**0.5 * abs(v - IGNORE_INDEX) < APART for v in known if v != IGNORE_INDEX):
        known = {v: k for v, k in known.items() if v != IGNORE_INDEX or v in indices}
    if held.is_binary and IGNORE_INDEX in indices and 1 not in known:
        known[1] = known[IGNORE_INDEX]  # white
    return known


def _by_colour(held: Held, classes: Classes) -> dict[int, int]:
    colours = _colours(classes)
    if held.table is None:
        known = {colour & 255: k for colour, k in colours.items() if colour == (colour & 255) * 0x010101}
    else:
        known = {v: k for colour, k in colours.items() for v in np.flatnonzero(held.table == colour).tolist()}
        known.setdefault(IGNORE_INDEX, IGNORE_INDEX)  # as VOC's void, whatever its colour
    if held.nodata is not None:
        known[held.nodata] = IGNORE_INDEX
    return known


def _of_palette(held: Held, table: NDArray[np.int64], classes: Classes, by_order: bool) -> Code:
    numbers, colours = _by_number(held, classes), _by_colour(held, classes)
    if len(table) == 256 and (table == packed(palette(classes.colours))).all():
        return Code(colours, by_colour=True)  # a class map of these classes, which counts them from 0
    used = _used(held.path, *stamp(held.path))
    off = [sum(n for v, n in used.items() if v not in known) for known in (numbers, colours)]
    if off == [0, 0] and not by_order and any(numbers[v] != colours[v] for v in used):
        said = [
            ", ".join(
                f"{v} {classes.names[k] if (k := known[v]) < len(classes) else 'unlabelled'}" for v in sorted(used)
            )
            for known in (numbers, colours)
        ]
        raise UserError(
            f"{held.path} has a palette, and means two things: by the classes' indices its values are {said[0]},\n"
            f"by their colours {said[1]}: correct the indices or the colours in classes.yaml"
        )
    if off[0] < off[1] or (off[0] == 0 and not by_order):
        return Code(numbers, by_colour=False)
    return Code(colours, by_colour=True)


def by_palette(path: Path, classes: Classes) -> dict[int, int]:
    """Number in the palette of a mask → class of its colour, or 255, of those that it uses; empty without a palette."""
    with open_held(path) as held:
        if held.table is None or held.is_ramp:
            return {}
        known = _by_colour(held, classes)
    return {value: known[value] for value in _used(path, *stamp(path)) if value in known}


@lru_cache(maxsize=1024)
def _used(path: Path, *when: int) -> Counter[int]:
    with open_held(path) as held:
        return held.count()[0]


def _near(held: Held, known: Mapping[int, int]) -> float:
    return max(NEAR, float(_apart(held, known).min()) / 3) if held.lossy else 0


def _apart(held: Held, known: Mapping[int, int]) -> NDArray[np.float64]:
    """The distance of each two values, infinite where they mean the same."""
    rgb, meaning = _rgb(np.array(list(known)), held.coloured), np.array(list(known.values()))
    return np.where(meaning[:, None] == meaning, np.inf, np.linalg.norm(rgb[:, None] - rgb, axis=-1))


@lru_cache(maxsize=1024)
def _check_lossy(path: Path, classes: Classes, *when: int) -> None:
    with open_held(path) as held:
        code = _code_of(held, classes)
        known, apart = list(code.known), _apart(held, code.known)
        if apart.min(initial=np.inf) < APART:
            pair = np.unravel_index(apart.argmin(), apart.shape)
            one, two = (shown(unpacked(known[k]) if held.coloured else known[k]) for k in sorted(map(int, pair)))
            raise UserError(
                f"{path} is compressed with loss, which changes values: {one} and {two} of classes.yaml are too much "
                "alike to be told apart in it; save masks as PNG"
            )
        far = seen = 0
        for values, valid in held.strips():
            far += int(np.count_nonzero(code.decode(held, values, valid)[1]))
            seen += int(np.count_nonzero(valid))
    if far > FAR * seen:
        raise UserError(
            f"{path} is compressed with loss, and {far / seen:.0%} of its pixels differ by more than {code.near:.0f} "
            "from the colour of every class: correct the colours in classes.yaml, or save masks as PNG"
        )


def _rgb(values: Values, coloured: bool) -> NDArray[np.float64]:
    """(N,) values → (N, 3): numbers are taken for greys."""
    channels = [values >> 16 & 255, values >> 8 & 255, values & 255] if coloured else [values] * 3
    return np.stack(channels, axis=-1).astype(np.float64)


def shown(value: Value) -> str:
    """A number or a colour, for people."""
    return str(value) if isinstance(value, int) else hex_colour(value)
