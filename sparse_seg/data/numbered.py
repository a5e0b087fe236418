"""Points that name classes by numbers, beside masks whose palettes have numbers, too."""

from collections.abc import Iterable
from pathlib import Path

from sparse_seg.classes import Classes
from sparse_seg.errors import UserError
from sparse_seg.points.formats import used_labels
from sparse_seg.raster.coding import by_palette


def check_numbers(points: Path, masks: Iterable[Path], classes: Classes) -> None:
    """Check that numbers in a file of points, which without indices are the classes' order, are not those of a palette.

    Args:
        points: the file.
        masks: their files.
        classes: as classes.yaml has them.

    Raises:
        UserError: a number means one class by order, and another in the palette of a mask.
    """
    if classes.indices is not None:
        return
    said = [int(label) for label in used_labels(points) if label.isdecimal() and label not in classes.names]
    said = sorted(k for k in said if k < len(classes))
    for path in masks if said else ():
        meant = by_palette(path, classes)
        both = [k for k in said if meant.get(k, len(classes)) < len(classes)]
        if any(meant[k] != k for k in both):
            order = ", ".join(f"{k} {classes.names[k]}" for k in both)
            palette = ", ".join(f"{k} {classes.names[meant[k]]}" for k in both)
            raise UserError(
                f"{points} names classes by numbers, which mean two things: in the order of classes.yaml {order},\n"
                f"in the palette of {path} {palette}: give each class its `index` in classes.yaml, or name classes"
            )
