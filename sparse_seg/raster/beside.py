"""What a file of pixels says, with what lies beside it and changes how it is read."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from sparse_seg.files import digest
from sparse_seg.raster.position import beside, world_suffixes
from sparse_seg.raster.vrt import sources


def content(path: Path) -> bytes:
    """A digest of an image or mask, and of the files beside it that GDAL reads with it.

    Those are masks (`a.tif.msk`), statistics, palettes and no-data values (`a.tif.aux.xml`), world files (`a.tfw`,
    `a.tifw`, `a.wld`), `a.prj` and `a.tab`. Overviews (`a.tif.ovr`) repeat the pixels and do not count. A VRT's content
    is that of the images which it names, too.

    Args:
        path: the image or mask. Of a file of more than 64 MB the size, the time and both ends count, as of any that
            `files.digest` reads.

    Returns:
        32 bytes; the digest of the file alone where nothing lies beside it.

    Raises:
        UserError: a file cannot be opened, or a VRT names what it must not.
    """
    others = [p for p in _beside(path) if p.is_file()]
    images = sources(path) if path.suffix.lower() == ".vrt" else []
    if not others and not images:
        return digest(path)
    whole = hashlib.sha256(digest(path))
    for other in others:
        whole.update(repr(other.suffix.lower()).encode() + digest(other))
    for image in images:
        whole.update(content(image))
    return whole.digest()


def _beside(path: Path) -> Iterator[Path]:
    for suffix in (".msk", ".aux.xml"):
        yield path.with_name(path.name + suffix)
    for suffix in (*world_suffixes(path), "prj", "tab"):
        # GDAL looks for both; on a file system that knows no case they are one file.
        if (other := beside(path, suffix)) is not None:
            yield other
