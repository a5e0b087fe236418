"""Whether the masks hold what the classes say, asked once where training starts."""

from collections.abc import Sequence

import numpy as np

from sparse_seg.classes import IGNORE_INDEX, Classes
from sparse_seg.data.cache import Arrays
from sparse_seg.data.seen import FOREIGN, Kind, Seen, without_pixels
from sparse_seg.palette import hex_colour

CHUNK = 2**22
"""Pixels that are looked at together."""


def labelled_pixels(arrays: Arrays) -> int:
    """How many pixels the masks give a class, at native resolution."""
    native = arrays.native
    return sum(int(np.count_nonzero(native[k : k + CHUNK] != IGNORE_INDEX)) for k in range(0, len(native), CHUNK))


def empty_problem(empty: Sequence[int], classes: Classes, arrays: Arrays, where: str, masks: bool) -> str:
    """What is wrong with classes that have no labelled pixel in training, the likely cause and what to set.

    Args:
        empty: their indices.
        classes: all of them.
        arrays: the data set.
        where: what was looked at.
        masks: whether there are masks, and not points alone.
    """
    cause = _cause(empty[0], classes, arrays) if masks else "\nlabel it, or leave it out of classes.yaml"
    clear: Kind = arrays.seen.transparent
    if clear.files:
        cause = f"; {clear.pixels_of('images')} are hidden by an alpha band: if it is none, data.alpha=false{cause}"
    return f"{without_pixels(empty, classes, where)}{cause}"


def _cause(index: int, classes: Classes, arrays: Arrays) -> str:
    seen: Seen = arrays.seen
    name = classes.names[index]
    number = None if classes.indices is None else classes.indices[index]
    if number is not None and str(number) in seen.hidden.values:
        (first, _), *_ = seen.hidden.files.most_common(1)
        return (
            f": its index {number} is the nodata value that masks such as {first} state, which hides "
            f"{seen.hidden.values[str(number)]:,} pixels\n"
            f"if they are {name}, write `ignore: 255` into classes.yaml, else leave {name} out of it"
        )
    own = f"colour {hex_colour(classes.colours[index])}" if number is None else f"index {number}"
    if seen.foreign.values:
        values = ", ".join(f"{value} ({n:,} pixels)" for value, n in seen.foreign.values.most_common(3))
        return f"\nno mask has its {own}, but there are {values} of no class: mend classes.yaml or leave it out there"
    share = float(np.mean(arrays.native[:CHUNK] == IGNORE_INDEX))
    if classes.indices is not None and share > FOREIGN and IGNORE_INDEX not in classes.indices:
        return (
            f"\nno mask has its {own}, and {share:.0%} of their pixels are unlabelled: if masks have 255 for {name} "
            "as black and white ones do, write `index: 255` and `ignore: 254` into classes.yaml"
        )
    return f"\nlabel it, correct its {own} in classes.yaml, or leave it out there"
