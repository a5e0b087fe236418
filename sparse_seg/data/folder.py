"""A folder of one's own imagery as a data set: images, and masks or points or both."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparse_seg.classes import Classes
from sparse_seg.data.classfile import read_classes
from sparse_seg.data.layout import by_name, existing, find
from sparse_seg.data.numbered import check_numbers
from sparse_seg.data.pairs import pair_sample
from sparse_seg.data.sample import ImageSet, Sample
from sparse_seg.data.unused import instead, other_folders, unused, unused_in_root
from sparse_seg.errors import UserError
from sparse_seg.points.formats import default_names, label_names, read_own_points
from sparse_seg.points.records import Bad, Place
from sparse_seg.points.sources import within
from sparse_seg.raster.beside import content
from sparse_seg.raster.masks import Picture, probe, read_sample
from sparse_seg.raster.readers import MASK_SUFFIXES, SUFFIXES

LARGEST, LARGEST_PLAIN = 2**27, 7 * 10**7
"""Pixels of an image that is read as a whole, and of a PNG or a JPEG, which takes nearly twice the memory; a larger one
wants `data.tile`.
"""
MOST_BANDS = 128
"""What OpenCV 5 flips."""


@dataclass(frozen=True)
class Files:
    """The files of a folder. images, masks: id → file."""

    root: Path
    images: Mapping[str, Path]
    masks: Mapping[str, Path]
    points: Path | None
    classes: Path
    patterns: tuple[str, str | None] = ("images", "masks")

    def unused(self) -> list[str]:
        """What lies beside them and is not used, a sentence for each kind."""
        images, masks = self.patterns
        said = [*unused(self.root, images, self.images.values())]
        if masks is not None:
            said += [s for s in unused(self.root, masks, self.masks.values(), MASK_SUFFIXES) if s not in said]
            if not self.masks:
                said += other_folders(self.root, self.images.values(), MASK_SUFFIXES)
        own = [p for p in (self.points, self.classes) if p is not None]
        return [*said, *unused_in_root(self.root, own)]

    @property
    def unpaired(self) -> list[Path]:
        """Masks without an image."""
        return [path for key, path in self.masks.items() if key not in self.images]


def files_of(
    root: str | Path | None,
    images: str = "images",
    masks: str | None = "masks",
    points_file: str | None = None,
    classes: str = "classes.yaml",
) -> Files:
    """Look for the files, without reading any. Names are relative to root; points_file also to the working directory.
    masks: None leaves them out.

    Raises UserError if root is no folder, holds no image, or has two files of points.
    """
    for key, value in (("images", images), ("classes", classes)):
        if value is None:
            raise UserError(f"data.{key}=null names nothing; leave it out for {key} in data.root")
    if not root:
        raise UserError("data=folder needs data.root=FOLDER: a folder with images/ and masks/, points.csv or both")
    folder = existing(Path(str(root)).expanduser())  # 2024 is a number to Hydra
    if not folder.is_dir():
        raise UserError(f"data.root={root} is no folder")
    found = find(folder, str(images))
    if not found:
        there = instead(folder, str(images))
        raise UserError(
            f"no image ({', '.join(SUFFIXES)}) in {folder / images}{there and ': '}{there}\n"
            "name their folder or a pattern, relative to data.root: data.images=FOLDER, data.images='*/images'"
        )
    points = [folder / name for name in default_names() if (folder / name).is_file()]
    if points_file:
        given = existing(Path(points_file).expanduser())
        inside = existing(folder / given)
        points = [given if given.is_file() or not inside.is_file() else inside]
    if len(points) > 1:
        raise UserError(f"{points[0]} and {points[1]} are both there; say which one: data.points_file={points[0]}")
    given_masks = {} if masks is None else find(folder, str(masks), MASK_SUFFIXES)
    patterns = (str(images), None if masks is None else str(masks))
    return Files(folder, found, given_masks, points[0] if points else None, existing(folder / classes), patterns)


def no_labels(files: Files, masks: str | None) -> UserError:
    """What to say of a folder that has images alone."""
    return UserError(
        f"{files.root} has neither masks in {masks} nor points.csv or points.geojson: nothing says what is where\n"
        f"name them: data.masks=FOLDER, data.points_file=FILE{'; '.join(['', *files.unused()])}"
    )


def no_points(files: Files) -> UserError:
    """What to say of a file of points without any."""
    way_out = "\nmove it away, and points are drawn from the masks" if files.masks else ""
    return UserError(f"{files.points} holds no point that can be used{way_out}")


def folder(
    root: str | Path | None = None,
    images: str = "images",
    masks: str | None = "masks",
    points_file: str | None = None,
    classes: str = "classes.yaml",
    bands: Sequence[int] | None = None,
    scale: Sequence[float] | None = None,
    tile: int | None = None,
    empty_windows: bool = False,
    on_bad_point: str = "error",
    points_crs: str | None = None,
    alpha: str | bool = "auto",
) -> ImageSet:
    """The images below `root` with their masks, points or both; nothing but headers is read now.

    Args:
        root: the folder.
        images: a folder or pattern within it, see `layout.find`.
        masks: likewise; images and masks belong together by their ids. None leaves masks out.
        points_file: a file of points; None for points.csv or points.geojson in root, if there.
        classes: a YAML file, see `read_classes`.
        bands: the numbers of the bands to read, see `open_raster`.
        scale: values that become black and white, see `open_raster`.
        tile: cut every image into windows of (tile, tile) pixels; those without points or mask are left out.
        empty_windows: False: windows that a run puts no point into are left out, too.
        on_bad_point: "error" or "skip".
        points_crs: see `read_own_points`.
        alpha: "auto": a band that is marked as alpha hides what is transparent; False: it is a band like the others.

    Returns:
        The samples in the order of their ids; a sample's group is its sub-folder.

    Raises:
        UserError: what is given cannot be used; each message names the file, the value and the way out.
    """
    bands, scale = _check(bands, scale, tile)
    if alpha is not False and alpha != "auto":
        raise UserError(f"data.alpha={alpha!r} is unknown; choose auto or false")
    bad = Bad.of(on_bad_point)
    files = files_of(root, images, masks, points_file, classes)
    if not files.points and not files.masks:
        raise no_labels(files, masks)
    known = read_classes(files.classes)
    pictures = {key: probe(path, files.masks.get(key)) for key, path in files.images.items()}
    notes = files.unused()
    notes += [f"{len(files.unpaired)} masks have no image, such as {files.unpaired[0]}"] if files.unpaired else []
    points: dict[str, NDArray[np.int64]] = {}
    if files.points:
        places = {key: Place(p.height, p.width, p.crs, p.transform, p.path) for key, p in pictures.items()}
        labels = label_names(known.names, known.indices)
        check_numbers(files.points, files.masks.values(), known)
        points = read_own_points(files.points, by_name(dict(files.images), files.root), places, labels, bad, points_crs)
        notes += [note] if (note := bad.note(files.points)) else []
        if not any(len(p) for p in points.values()):
            raise no_points(files)
    used = [key for key in sorted(pictures) if key in files.masks or len(points.get(key, ()))]
    if len(used) < len(pictures):
        notes.append(f"{len(pictures) - len(used)} of {len(pictures)} images have neither mask nor points: left out")
    samples: list[Sample] = []
    for key in used:
        own = points.get(key, np.empty((0, 4), np.int64)) if files.points else None
        samples += _samples(key, pictures[key], known, own, bands, scale, tile, alpha == "auto")
    if not samples:
        raise UserError(f"none of the {len(pictures)} images in {files.root / images} has a mask in {masks} or a point")
    notes += said_once(pictures.values())
    if bands is not None and len(bands) != 3:
        shown = "three" if len(bands) > 3 else "one"
        notes.append(
            f"{len(bands)} bands: pictures show the first {shown}, and augment=report changes brightness and contrast "
            "alone, since saturation and hue are of RGB"
        )
    return ImageSet(
        known,
        samples,
        bands=bands,
        scale=scale,
        alpha=alpha == "auto",
        keep_empty=tile is None or empty_windows,
        notes=tuple(notes),
    )


def said_once(pictures: Iterable[Picture]) -> list[str]:
    """Each note of images and their masks once, with the number of files and the first one."""
    files: dict[str, list[Path]] = {}
    for picture in pictures:
        for note in picture.notes:
            files.setdefault(note, []).append(picture.path)
    return [f"{len(of)} images, such as {of[0]}: {note}" for note, of in files.items()]


def _check(
    bands: Sequence[int] | None, scale: Sequence[float] | None, tile: Any
) -> tuple[tuple[int, ...] | None, tuple[float, float] | None]:
    """Bands and scale as tuples; a single band three times. Raises UserError for values that cannot work."""
    if bands is not None and (
        not isinstance(bands, Sequence)
        or isinstance(bands, str)
        or not all(isinstance(b, int) and b > 0 for b in bands)
    ):
        raise UserError(f"data.bands={bands!r} must be a list of band numbers from 1: [4,3,2]")
    if bands is not None and not 1 <= len(bands) <= MOST_BANDS:
        raise UserError(
            f"data.bands={list(bands)} names {len(bands)} bands, not 1 to {MOST_BANDS}; null: the first three"
        )
    if scale is not None and not (
        isinstance(scale, Sequence) and len(scale) == 2 and all(isinstance(s, int | float) for s in scale)
    ):
        raise UserError(f"data.scale={scale!r} must be two numbers, what becomes black and what white: [0,3000]")
    if scale is not None and not scale[0] < scale[1]:
        raise UserError(f"data.scale={list(scale)}: the first number, black, must be below the second, white")
    if tile is not None and (isinstance(tile, bool) or not isinstance(tile, int) or tile < 32):
        raise UserError(f"data.tile={tile!r} must be a whole number of pixels of at least 32, or null for whole images")
    read = None if bands is None else tuple(bands) * (3 if len(bands) == 1 else 1)
    return read, None if scale is None else (float(scale[0]), float(scale[1]))


def _samples(
    key: str,
    picture: Picture,
    classes: Classes,
    points: NDArray[np.int64] | None,
    bands: tuple[int, ...] | None,
    scale: tuple[float, float] | None,
    tile: int | None,
    alpha: bool,
) -> list[Sample]:
    """One sample, or one for each window that has a mask or a point."""
    group = key.rpartition("/")[0] or key
    if tile is None and picture.height * picture.width > (LARGEST_PLAIN if picture.is_plain else LARGEST):
        raise UserError(
            f"{picture.path} has {picture.width}×{picture.height} pixels, too many to read as a whole: "
            "cut it into windows with data.tile=256"
        )
    plain = picture.is_plain and not picture.has_alpha and bands is None and scale is None and tile is None
    plain = plain and not picture.aligned and classes.indices is None
    if plain and picture.mask and picture.mask.suffix.lower() == ".png":
        sample = pair_sample(picture.path, picture.mask, key, group, classes)  # as Dubai's, and its cache
        return [replace(sample, points=points)]
    how = (classes, bands, scale, *(() if alpha else ("all bands",)))
    whole = hashlib.sha256(repr(how).encode() + content(picture.path))
    whole.update(content(picture.mask) if picture.mask else b"")
    whole.update(b"aligned" if picture.aligned else b"")
    size = (tile or picture.height, tile or picture.width)
    samples = []
    for row in range(0, picture.height, size[0]):
        for col in range(0, picture.width, size[1]):
            mine = None if points is None else within(points, (row, col), size)
            if picture.mask is None and not (mine is not None and len(mine)):
                continue
            own = whole.copy()
            own.update(repr((row, col, size, None if picture.mask or mine is None else mine.tolist())).encode())
            read = partial(read_sample, picture, classes, bands, scale, (row, col, *size), mine, alpha)
            name, scene = (f"{key}@{row},{col}", key) if tile else (key, "")
            samples.append(
                Sample(name, group, own.hexdigest(), read, mine, picture.mask is not None, scene, (row, col))
            )
    return samples
