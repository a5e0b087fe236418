"""The maps that a trained network wrote, as the check points meet them. No torch."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sparse_seg.errors import UserError
from sparse_seg.raster.aligned import open_held

Place = tuple[str, int, int]


def written(areas: Path, maps: Mapping[str, Path], places: Iterable[Place], names: Sequence[str]) -> dict[Place, int]:
    """Look places up in the maps of `sparse_seg.predict`.

    Args:
        areas: its areas.csv, which names the classes in the order of their numbers.
        maps: image → its map.
        places: image, row and column of pixels.
        names: of the classes today.

    Returns:
        The class at each place that is mapped; nothing without the table.

    Raises:
        UserError: the maps know other classes, or are not those of the table and the images.
    """
    try:
        with areas.open(newline="", encoding="utf-8") as file:
            rows = [(row["image"], row["class"]) for row in csv.DictReader(file)]
        known = [name for image, name in rows if image == rows[0][0]][:-1]  # the last one is "unlabelled"
        if not set(known) <= set(names):
            raise UserError(f"{areas} has other classes: {', '.join(known)}")
        label_of = {k: names.index(name) for k, name in enumerate(known)}
        labels = {}
        for image, row, col in places:
            if image in maps:
                with open_held(maps[image]) as held:
                    values, _ = held.read(row, col, 1, 1)
                if int(values[0, 0]) in label_of:
                    labels[image, row, col] = label_of[int(values[0, 0])]
    except FileNotFoundError:
        return {}
    except (OSError, LookupError, ValueError, csv.Error) as error:
        raise UserError(f"{areas} and the maps beside it are not what predict writes: {error}") from error
    return labels
