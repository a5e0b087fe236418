"""What a file of pixels says, with what lies beside it and changes how it is read."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from sparse_seg.files import digest


def content(path: Path) -> bytes:
    """A digest of an image or mask, and of the files beside it that GDAL reads with it.

    Those are masks (`a.tif.msk`), statistics, palettes and no-data values (`a.tif.aux.xml`), world files (`a.tfw`,
    `a.tifw`, `a.wld`), `a.prj` and `a.tab`. Overviews (`a.tif.ovr`) repeat the pixels and do not count.

    Args:
        path: the image or mask. Of a file of more than 64 MB the size, the time and both ends count, as of any that
            `files.digest` reads.

    Returns:
        32 bytes; the digest of the file alone where nothing lies beside it.

    Raises:
        UserError: a file cannot be opened.
    """
    beside = [p for p in _beside(path) if p.is_file()]
    if not beside:
        return digest(path)
    whole = hashlib.sha256(digest(path))
    for other in beside:
        whole.update(repr(other.suffix.lower()).encode() + digest(other))
    return whole.digest()


def _beside(path: Path) -> Iterator[Path]:
    for suffix in (".msk", ".aux.xml"):
        yield path.with_name(path.name + suffix)
    own = path.suffix.lower().removeprefix(".")
    for suffix in dict.fromkeys((f"{own[:1]}{own[-1:]}w", f"{own}w", "wld", "prj", "tab")):
        lower = path.with_suffix(f".{suffix}")
        # GDAL looks for both; on a file system that knows no case they are one file.
        yield lower if lower.is_file() else path.with_suffix(f".{suffix.upper()}")
