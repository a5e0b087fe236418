"""Files that are there whole or not at all, and what tells two of them apart."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from sparse_seg.errors import UserError

WHOLE = 2**26
"""Bytes of a file up to which its content is hashed; of larger ones size, time and both ends."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a name beside `path` to write to; at the end that file is flushed to the disk and renamed to `path`.

    A reader sees the old file or the new one. After an error the old one stays, and nothing is left beside it.

    Raises:
        UserError: the file cannot be written; made of the OSError that was raised, within the block, too.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replacing(Path(folder, "a.txt")) as beside:
        ...         _ = beside.write_text("whole")
        ...     Path(folder, "a.txt").read_text()
        'whole'
    """
    beside = path.with_name(f".{path.stem[:100]}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield beside
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole file of UTF-8, as `replacing` does. Raises UserError if it cannot be written."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="")


@cache
def _digest(path: Path, size: int, changed: int) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        if size <= WHOLE:
            return hashlib.file_digest(file, "sha256").digest()
        digest.update(f"{size} {changed}".encode() + file.read(2**20))
        file.seek(-(2**20), 2)
        digest.update(file.read())
    return digest.digest()


def digest(path: Path) -> bytes:
    """SHA-256 of a file, or what stands for it. Raises UserError if it cannot be opened."""
    try:
        stat = path.stat()
        return _digest(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise UserError(f"cannot open {path}: {error.strerror}") from error
