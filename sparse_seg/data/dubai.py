"""The Dubai set: where its files are, and which belong together.

`dubai.sha256` lists the published files. It was made with, and checks with `sha256sum -c`, in the data's folder:

    LC_ALL=C sha256sum "Tile "[1-8]/images/*.jpg "Tile "[1-8]/masks/*.png classes.json
"""

import os
import shlex
from pathlib import Path

from sparse_seg.classes import LAND_COVER
from sparse_seg.data.pairs import pair_sample
from sparse_seg.data.sample import ImageSet, Sample
from sparse_seg.errors import UserError


def default_root() -> Path:
    """Where the data are unless said otherwise: $SPARSE_SEG_DATA, else `data/dubai` in the current folder."""
    return Path(os.environ.get("SPARSE_SEG_DATA") or "data/dubai")


def read_registry() -> dict[str, str]:
    """Path within the data's folder → SHA-256, for every published file."""
    lines = Path(__file__).with_name("dubai.sha256").read_text().splitlines()
    return {path: digest for digest, path in (line.split("  ", 1) for line in lines)}


def locate(folder: Path) -> Path | None:
    """The folder with `Tile 1` … `Tile 8`: `folder` itself or one up to two levels below it; None if there is none.

    Of several, the one with the most tiles. Hidden folders (unfinished downloads) do not count.
    """
    tiles = [tile for up in ("", "*/", "*/*/") for tile in sorted(folder.glob(f"{up}Tile [1-8]")) if tile.is_dir()]
    roots = [tile.parent for tile in tiles if not any(p.startswith(".") for p in tile.relative_to(folder).parts)]
    return max(dict.fromkeys(roots), key=roots.count, default=None)


def find_root(root: str | Path | None) -> Path:
    """The folder with `Tile 1` … `Tile 8`, given it or one up to two levels above; None means `default_root()`.

    Raises:
        UserError: there is none.
    """
    folder = (Path(root) if root else default_root()).expanduser()
    found = locate(folder)
    if found is None:
        what = "not in there, nor one or two levels below" if folder.is_dir() else "no such folder"
        raise UserError(
            f"no Dubai data in {folder.absolute()}: looked for the folders `Tile 1` … `Tile 8`: {what}\n"
            "download them with `make data`, or say where they are with data.root=FOLDER or SPARSE_SEG_DATA=FOLDER"
        )
    return found


def dubai_samples(root: Path) -> list[Sample]:
    """The 72 samples below `root` (from `find_root`), sorted by id; a sample's group is its tile.

    Raises:
        UserError: a published image or mask is missing.
    """
    images = sorted(path for path in read_registry() if "/images/" in path)
    masks = [path.replace("/images/", "/masks/").replace(".jpg", ".png") for path in images]
    no_image = [path for path in images if not (root / path).is_file()]
    no_mask = [path for path in masks if not (root / path).is_file()]
    if no_image:
        raise _incomplete(f"{len(no_image + no_mask)} of {len(images + masks)} files are missing", no_image, root)
    if no_mask:
        raise _incomplete(f"images without mask ({len(no_mask)})", no_mask, root)
    return [
        pair_sample(
            root / image,
            root / mask,
            image_id=image.replace("/images/", "/").removesuffix(".jpg"),
            group=image.split("/")[0].removeprefix("Tile "),
            classes=LAND_COVER,
        )
        for image, mask in zip(images, masks, strict=True)
    ]


def _incomplete(what: str, missing: list[str], root: Path) -> UserError:
    command = f"python -m sparse_seg.data download --root {shlex.quote(str(root))}"
    first = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
    return UserError(f"the Dubai data in {root} are incomplete: {what}: {first}\ncomplete them with `{command}`")


def dubai(root: str | Path | None = None) -> ImageSet:
    """The Dubai set: 72 images of 8 tiles with full masks.

    Args:
        root: the folder with `Tile 1` … `Tile 8`, or one up to two levels above; None: $SPARSE_SEG_DATA, or data/dubai.

    Returns:
        The samples in the order of their ids; a sample's group is its tile.

    Raises:
        UserError: there is no such folder, or a published image or mask is missing.
    """
    return ImageSet(LAND_COVER, dubai_samples(find_root(root)))
