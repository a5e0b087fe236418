"""The images and masks that are meant, and where their class maps go. No torch."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from sparse_seg.data.layout import below, image_id
from sparse_seg.errors import UserError
from sparse_seg.predict.windows import Refused
from sparse_seg.raster.readers import GEO_SUFFIXES, MASK_SUFFIXES, SUFFIXES

WRITTEN = ("areas.csv", "suggest.csv")
"""What the folder of an earlier call holds, of whichever name it is."""


def find_images(paths: Sequence[Path], out: Path | None = None) -> dict[Path, str]:
    """The files named, and the images in the folders named and below them, each once.

    Hidden files do not count, nor what lies below `out` or another folder that this command or `suggest` wrote.

    Args:
        paths: files and folders.
        out: where outputs go.

    Returns:
        Image → its name: the path within the folder that was named, with "/"; of a file that was named itself its own.

    Raises:
        UserError: there is no such file or folder, or no image in it.
    """
    found: dict[Path, str] = {}
    for path in paths:
        if path.is_dir():
            inside = dict(_inside(path, SUFFIXES, out))
            if not inside:
                raise UserError(f"{path} holds no image: a file's name must end in {', '.join(SUFFIXES)}")
            found = inside | found
        elif path.is_file():
            found.setdefault(path, path.name)
        else:
            raise UserError(f"no such image or folder: {path}")
    return found


def _inside(folder: Path, suffixes: Collection[str], out: Path | None = None) -> Iterator[tuple[Path, str]]:
    """The files with one of some suffixes in a folder and below it, and their paths within."""
    files = sorted(below(folder))
    skipped = {path.parent for path in files if path.name in WRITTEN and path.parent != folder}
    if out is not None and out.resolve() != folder.resolve():
        skipped.add(out)
    gone = {path.resolve() for path in skipped}
    for path in files:
        parts = path.relative_to(folder).parts
        if path.suffix.lower() not in suffixes or any(part.startswith(".") for part in parts) or not path.is_file():
            continue
        if gone and any(parent.resolve() in gone for parent in path.parents):
            continue
        yield path, PurePosixPath(*parts).as_posix()


def find_masks(folder: Path, images: Mapping[Path, str]) -> dict[Path, Path]:
    """Return the mask of each image: the one in the same sub-folder and of the same stem; or of the same stem in
    `folder` itself, where one image alone has that stem. Names match whatever their Unicode form is.

    Args:
        folder: of the masks.
        images: image → its name, as `find_images` has it.

    Raises:
        Refused: `folder` is no folder.
        UserError: an image has no mask or two, or two images have one together.
    """
    if not folder.is_dir():
        raise Refused("masks", folder, "is no folder")
    masks: dict[str, list[Path]] = {}
    for path, name in _inside(folder, MASK_SUFFIXES):
        masks.setdefault(image_id(PurePosixPath(name)), []).append(path)
    ids = {path: image_id(PurePosixPath(name)) for path, name in images.items()}
    stems = Counter(PurePosixPath(key).name for key in ids.values())
    chosen = {
        path: key if key in masks or stems[PurePosixPath(key).name] > 1 else PurePosixPath(key).name
        for path, key in ids.items()
    }
    missing = [path for path, key in chosen.items() if key not in masks]
    key, count = Counter(chosen.values()).most_common(1)[0]
    if missing and count == 1:
        stem = PurePosixPath(chosen[missing[0]]).name
        key, count = (stem, stems[stem]) if stem in masks else (key, count)
    if count > 1:
        raise UserError(f"{count} images are called {key}, and {folder} can have one mask for them: give fewer images")
    if missing:
        raise UserError(
            f"{folder} has no mask {chosen[missing[0]]} ({', '.join(MASK_SUFFIXES)}) for {missing[0]}, "
            f"{len(missing)} of {len(images)} images lack one: score without the images that have none"
        )
    if double := [masks[key] for key in chosen.values() if len(masks[key]) > 1]:
        raise UserError(f"{double[0][0]} and {double[0][1]} could both be the mask of one image: move one away")
    return {path: masks[key][0] for path, key in chosen.items()}


def find_targets(images: Mapping[Path, str], out: Path) -> dict[Path, Path]:
    """Where each image's class map goes: below `out`, in the sub-folder that the image's name has.

    Raises:
        UserError: two maps would be one, or one an input.
    """
    targets: dict[Path, Path] = {}
    source: dict[Path, Path] = {}
    inputs = {p.resolve() for p in images}
    for image, name in images.items():
        suffix = ".tif" if image.suffix.lower() in GEO_SUFFIXES else ".png"
        target = out / PurePosixPath(name).with_name(f"{image.stem}{suffix}")
        if target in source:
            raise UserError(f"{source[target]} and {image} would both become {target}: label them in two calls")
        if target.resolve() in inputs:
            raise UserError(f"the class map of {image} would replace the image {target}: choose another --out")
        source[target], targets[image] = image, target
    return targets


def make_folders(targets: Iterable[Path]) -> None:
    """Create the folders that class maps go to. Raises UserError if one cannot be."""
    for folder in {target.parent for target in targets}:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder} cannot be created: {error.strerror}") from error
