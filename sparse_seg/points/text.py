"""Text as other programs write it: its encoding, told for sure or refused, and names in one Unicode form."""

import codecs
import unicodedata
from pathlib import Path

from sparse_seg.errors import UserError

MOST = 2**26
"""Bytes of a file that is read as text: 64 MiB, more than a million points."""
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before that of UTF-16, which it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def nfc(name: str) -> str:
    """A name in the form that all names are compared in: macOS writes ü as u and two dots, other programs as one.

    Example:
        >>> nfc("u" + chr(0x308)) == chr(0xFC)
        True
    """
    return unicodedata.normalize("NFC", name)


def read_text(path: Path, kind: str, most: int = MOST) -> str:
    """Read a text file: UTF-8, or UTF-16 and UTF-32 with a byte order mark.

    Args:
        path: the file.
        kind: what it should be, for the message: "table".
        most: bytes that it may have.

    Returns:
        Its text, line ends as they are.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it cannot be read, is larger, or of another encoding.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > most:
        raise UserError(f"{path} is too large for a {kind}: more than {most / 2**20:g} MiB")
    encoding = next((name for mark, name in MARKS if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and len(data) > 3 and b"\0" in (data[:1], data[1:2]) and data[:4].count(0) == 2:
        raise UserError(f"{path} cannot be read as a UTF-8 {kind}: it seems to be UTF-16 without a mark; {_save()}")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        if encoding != "utf-8":
            raise UserError(f"{path} cannot be read as a {kind}: its {encoding} text is damaged") from None
        shown = data.splitlines()[line - 1][:60].decode("cp1252", "replace").strip()
        raise UserError(
            f"{path} cannot be read as a UTF-8 {kind}: line {line} is in another encoding, in Windows-1252 it would be "
            f"{shown!r}; {_save()}"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(f"{path}, line {line}: a zero byte, which no text has; save the file anew")
    return text


def _save() -> str:
    return 'save it as UTF-8 (Excel: "CSV UTF-8")'
