"""Which files of a folder are images and masks, and which belong together: by stem, whatever the suffix."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePath

from sparse_seg.errors import UserError
from sparse_seg.points.text import nfc
from sparse_seg.raster.readers import SUFFIXES


def find(root: Path, pattern: str, suffixes: Iterable[str] = SUFFIXES) -> dict[str, Path]:
    """The images that a pattern names, by id: what the pattern's wildcards and the folders below stand for.

    pattern: a folder within root ("images"), searched with all below it, several ("*/images": the image
    "Tile 1/images/a.jpg" is "Tile 1/a"), or files ("labels/*_mask.png": "labels/a_mask.png" is "a"). Hidden files do
    not count. Ids are NFC, whatever the file system has. Raises UserError if two files have the same id.
    """
    found: dict[str, Path] = {}
    for key, path in _matches(root, pattern, tuple(suffixes)):
        if key in found:
            same = nfc(str(found[key])) == nfc(str(path))
            raise UserError(
                f"{found[key]} and {path} are both called {key!r}: which one is meant?\n"
                + (
                    "their names differ in Unicode form only, as one of macOS and one of Windows: move one away"
                    if same
                    else "move one away, or name a pattern: data.images='images/*.tif', data.masks='masks/*.png'"
                )
            )
        found[key] = path
    return found


def _matches(root: Path, pattern: str, suffixes: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    if "**" in pattern or PurePath(pattern).parts in ((), (PurePath(pattern).anchor,)):
        raise UserError(f"{pattern!r} is no pattern of images: name a folder, it is searched with all below it")
    base, patterns = parts_of(root, pattern)
    for match in sorted(matching(base, patterns)):
        parts = match.relative_to(base).parts
        wild = [part for part, p in zip(parts, patterns, strict=True) if is_wild(p)]
        if match.is_dir():
            for path in sorted(below(match)):
                inside = path.relative_to(match)
                if _is_image(path, suffixes) and not any(p.startswith(".") for p in (*parts, *inside.parts)):
                    yield image_id(PurePath(*wild, inside)), path
        elif _is_image(match, suffixes) and not match.name.startswith("."):
            stem = _stem(nfc(match.name), nfc(patterns[-1]))
            yield nfc(PurePath(*wild[: len(wild) - is_wild(patterns[-1])], stem).as_posix()), match


def parts_of(root: Path, pattern: str) -> tuple[Path, tuple[str, ...]]:
    """Where a pattern starts, root or the root of the file system, and the names that it is made of."""
    parts = PurePath(pattern).parts
    return (Path(parts[0]), parts[1:]) if PurePath(pattern).is_absolute() else (root, parts)


def matching(base: Path, patterns: Sequence[str]) -> list[Path]:
    """What a pattern matches, names compared as NFC."""
    places = [base]
    for pattern in patterns:
        if is_wild(pattern):
            inside = (child for place in places if place.is_dir() for child in place.iterdir())
            places = [child for child in inside if fnmatch(nfc(child.name), nfc(pattern))]
        else:
            places = [path for place in places if os.path.exists(path := existing(place / pattern))]
    return places


def existing(path: Path) -> Path:
    """A path, or what there is instead of it by the same name in another Unicode form.

    Example:
        >>> existing(Path("nowhere/at/all")).as_posix()
        'nowhere/at/all'
    """
    if os.path.exists(path) or path.parent == path or path.name.isascii():
        return path if path.parent == path or os.path.exists(path.parent) else existing(path.parent) / path.name
    folder = existing(path.parent)
    inside = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return folder / next((name for name in inside if nfc(name) == nfc(path.name)), path.name)


def below(folder: Path) -> Iterator[Path]:
    """All files below a folder, in linked folders, too; of folders that are links to each other each one once."""
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(place, name) for name in files)


def image_id(path: PurePath) -> str:
    """What a file of an image or mask is called: its path without suffix, in one Unicode form.

    Example:
        >>> image_id(PurePath("north/a.tif"))
        'north/a'
    """
    return nfc(path.with_suffix("").as_posix())


def is_wild(pattern: str) -> bool:
    """Whether a part of a pattern has wildcards."""
    return bool(re.search(r"[*?\[]", pattern))


def _is_image(path: Path, suffixes: tuple[str, ...]) -> bool:
    return path.suffix.lower() in suffixes and path.is_file()


def _stem(name: str, pattern: str) -> str:
    """What the stars of a file's pattern stand for, without a suffix."""
    if "*" not in pattern:
        return PurePath(name).stem
    match = re.fullmatch("(.*)".join(re.escape(p) for p in pattern.split("*")), name)
    stem = "".join(match.groups()) if match else PurePath(name).stem
    return PurePath(stem).stem if PurePath(stem).suffix.lower() in SUFFIXES else stem


def by_name(images: dict[str, Path], root: Path) -> dict[str, str]:
    """Every name that a file of points may use for an image → its id: the id, the path, the file's name, with or
    without suffix. A name that two images share is left out, unless it is an id.
    """
    names: dict[str, str] = {}
    shared = set()
    for key, path in images.items():
        relative = PurePath(path.relative_to(root)) if path.is_relative_to(root) else PurePath(path)
        for name in {nfc(name) for name in (relative.as_posix(), path.name, path.stem, key + path.suffix)}:
            if names.setdefault(name, key) != key:
                shared.add(name)
    return {n: k for n, k in names.items() if n not in shared} | {key: key for key in images}
