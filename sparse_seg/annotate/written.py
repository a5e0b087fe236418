"""The maps that a trained network wrote, as the check points meet them. No torch."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sparse_seg.errors import UserError
from sparse_seg.raster.aligned import open_held

Place = tuple[str, int, int]


class Written(NamedTuple):
    """labels: class at each place that was asked for and is mapped. pixels: of each class in all maps."""

    labels: dict[Place, int]
    pixels: list[int]


def written(areas: Path, maps: Mapping[str, Path], places: Iterable[Place], names: Sequence[str]) -> Written | None:
    """Look the places up in the maps of `sparse_seg.predict`.

    Args:
        areas: its areas.csv, which names the classes in the order of their numbers.
        maps: image → its map.
        places: image, row and column of pixels.
        names: of the classes today.

    Returns:
        None without the table or maps, or where they know other classes.
    """
    try:
        with areas.open(newline="", encoding="utf-8") as file:
            rows = [(row["image"], row["class"], int(row["pixels"])) for row in csv.DictReader(file)]
        known = [name for image, name, _ in rows if image == rows[0][0]][:-1]  # the last one is "unlabelled"
        if not known or not set(known) <= set(names):
            return None
        label_of = {k: names.index(name) for k, name in enumerate(known)}
        pixels = [sum(n for _, name, n in rows if name == wanted) for wanted in names]
        labels = {}
        for image, row, col in places:
            if image in maps:
                with open_held(maps[image]) as held:
                    values, _ = held.read(row, col, 1, 1)
                if int(values[0, 0]) in label_of:
                    labels[image, row, col] = label_of[int(values[0, 0])]
    except (OSError, KeyError, ValueError, UserError, csv.Error):  # of another program, or being written
        return None
    return Written(labels, pixels)
