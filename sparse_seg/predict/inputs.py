"""The images and masks that are meant, and where their class maps go. No torch."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sparse_seg.errors import UserError
from sparse_seg.predict.windows import Refused
from sparse_seg.raster.readers import GEO_SUFFIXES, MASK_SUFFIXES, SUFFIXES


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The files named, and the images that lie directly in the folders named, each once.

    Raises:
        UserError: there is no such file or folder, or no image in it.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
            if not inside:
                raise UserError(f"{path} holds no image: a file's name must end in {', '.join(SUFFIXES)}")
            found |= dict.fromkeys(inside)
        elif path.is_file():
            found[path] = None
        else:
            raise UserError(f"no such image or folder: {path}")
    return list(found)


def find_masks(folder: Path, images: Sequence[Path]) -> dict[Path, Path]:
    """Return the mask of each image: the PNG or GeoTIFF of the same stem.

    Raises:
        Refused: `masks` is no folder.
        UserError: an image has no mask, or two images have one together.
    """
    if not folder.is_dir():
        raise Refused("masks", folder, "is no folder")
    stem, count = Counter(p.stem for p in images).most_common(1)[0]
    if count > 1:
        raise UserError(f"{count} images are called {stem}, and {folder} can have one mask for them: give fewer images")
    by_stem = {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in MASK_SUFFIXES}
    missing = [p for p in images if p.stem not in by_stem]
    if missing:
        raise UserError(
            f"{folder} has no mask {missing[0].stem}.png or .tif for {missing[0]}, {len(missing)} of {len(images)} "
            "images lack one: score without the images that have none"
        )
    return {p: by_stem[p.stem] for p in images}


def find_targets(images: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Where each image's class map goes.

    Raises:
        UserError: two maps would be one, or one an input.
    """
    targets: dict[Path, Path] = {}
    source: dict[Path, Path] = {}
    inputs = {p.resolve() for p in images}
    for image in images:
        target = out / f"{image.stem}{'.tif' if image.suffix.lower() in GEO_SUFFIXES else '.png'}"
        if target in source:
            raise UserError(f"{source[target]} and {image} would both become {target}: label them in two calls")
        if target.resolve() in inputs:
            raise UserError(f"the class map of {image} would replace the image {target}: choose another --out")
        source[target], targets[image] = image, target
    return targets
