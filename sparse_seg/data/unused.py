"""What lies where images and masks are looked for, and is not used: people should hear of it."""

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path

from sparse_seg.data.layout import below, is_wild, matching, parts_of
from sparse_seg.points.foreign import KINDS
from sparse_seg.raster.readers import SUFFIXES

NOISE = ("thumbs.db", "desktop.ini", "ehthumbs.db", ".ds_store", ".gitkeep", ".gitignore", ".nomedia", ".localized")
"""Files that systems leave in every folder."""
SIDE = (".xml", ".msk", ".ovr", ".prj", ".tab", ".rrd", ".ige", ".cpg", ".qml", ".qmd", ".rpb", ".rpc", ".imd", ".wld")
WORLD = (".tfw", ".tifw", ".jgw", ".jpgw", ".jpegw", ".pgw", ".pngw", ".j2w", ".jp2w")
"""Files that belong to an image of the same stem."""
PROSE = (".md", ".rst", ".pdf", ".html")
TABLES = (".csv", ".tsv", ".geojson", ".json", ".yaml", ".yml", *KINDS)
"""What may have been meant as points or classes."""
SOME = 3
MOST = 1000
"""Files after which a folder is looked at no longer."""


def unused(root: Path, pattern: str, used: Iterable[Path], suffixes: Collection[str] = SUFFIXES) -> Iterator[str]:
    """Say what lies in the folders of a pattern and is not used.

    Args:
        root: the folder of the data.
        pattern: as `layout.find` has it.
        used: the files that it finds.
        suffixes: of the files that it can find.

    Yields:
        A sentence for each kind of file: with another suffix, hidden, beside the pattern, without the image that it
        belongs to; with counts and the first ones. What systems leave everywhere is not mentioned.
    """
    known = set(used)
    base, patterns = parts_of(root, pattern)
    places = [p for p in matching(base, patterns) if p.is_dir()]
    files = [path for place in places for path in below(place)]
    if not places and is_wild(patterns[-1]):  # a pattern of files: their folders, without what lies below
        places = [p for p in matching(base, patterns[:-1]) if p.is_dir()]
        files = [path for place in places for path in place.iterdir() if path.is_file()]
        deeper = [p.name for place in places for p in _folders(place) if place != root and _holds(p, suffixes)]
        if deeper:
            yield f"{pattern}: folders below are not searched: {_some(deeper)}"
    if not places:
        return
    shown = places[0] if len(places) == 1 else base / "/".join(patterns[:-1] if is_wild(patterns[-1]) else patterns)
    stems = {(path.parent, path.stem.lower()) for path in known}
    suffix: dict[str, list[Path]] = {}
    hidden, beside, lonely = [], [], []
    for path in sorted(set(files) - known):
        name = path.name.lower()
        if name in NOISE or name.startswith("._") or name.endswith(PROSE):
            continue
        if any(part.startswith(".") for part in path.relative_to(base).parts):
            hidden.append(path)
        elif path.suffix.lower() in (*SIDE, *WORLD):
            owners = [
                name.rsplit(".", k)[0] for k in range(1, name.count(".") + 1)
            ]  # a.tif.aux.xml: a.tif.aux, a.tif, a
            if not any((path.parent, owner) in stems for owner in owners):
                lonely.append(path)
        elif path.suffix.lower() in suffixes:
            beside.append(path)
        else:
            suffix.setdefault(path.suffix.lower() or "files without a suffix", []).append(path)
    if suffix:
        kinds = ", ".join(f"{len(paths)} {end} ({paths[0].name})" for end, paths in sorted(suffix.items()))
        yield f"{shown}: not read, since the suffix is none of {', '.join(suffixes)}: {kinds}"
    said = (("hidden", hidden), ("not named by the pattern", beside), ("without the image that they belong to", lonely))
    for why, paths in said:
        if paths:
            yield f"{shown}: {len(paths)} files are left out, {why}: {_some(p.name for p in paths)}"


def unused_in_root(root: Path, used: Iterable[Path]) -> Iterator[str]:
    """Say which files in the folder of the data may have been meant as points or classes, and are not used."""
    there = {p.resolve() for p in used}
    spare = [
        p.name
        for p in sorted(root.iterdir())
        if p.suffix.lower() in TABLES and not p.name.startswith(".") and p.resolve() not in there
    ]
    if spare:
        yield f"{root}: {len(spare)} files are not used: {_some(spare)}"


def instead(root: Path, pattern: str, suffixes: Collection[str] = SUFFIXES) -> str:
    """What there is where no image is found, as the end of a sentence; "" if nothing."""
    base, patterns = parts_of(root, pattern)
    if not any(p.is_dir() for p in (*matching(base, patterns), *matching(base, patterns[:-1])) if p != root):
        others = [p.name for p in _folders(root) if _holds(p, suffixes)]
        here = [p.name for p in root.iterdir() if p.suffix.lower() in suffixes and p.is_file()]
        found = [f"images lie in {_some(others)}"] if others else []
        found += [f"{len(here)} images lie in {root} itself"] if here else []
        return f"there is no such folder{'; ' if found else ''}{' and '.join(found)}"
    return "; ".join(said.removeprefix(f"{root}").lstrip("/") for said in unused(root, pattern, (), suffixes))


def other_folders(root: Path, used: Iterable[Path], suffixes: Collection[str]) -> Iterator[str]:
    """Say which folders hold images or masks that are not looked at."""
    taken = {path.resolve() for path in used}
    others = [p.name for p in _folders(root) if _holds(p, suffixes, taken)]
    if others:
        yield f"{root}: folders with images or masks that are not looked into: {_some(others)}"


def _folders(root: Path) -> list[Path]:
    return [p for p in sorted(root.iterdir()) if p.is_dir() and not p.name.startswith(".")]


def _holds(folder: Path, suffixes: Collection[str], but: Collection[Path] = ()) -> bool:
    return any(p.suffix.lower() in suffixes and p.resolve() not in but for p in islice(below(folder), MOST))


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:SOME]) + (" …" if len(listed) > SOME else "")
