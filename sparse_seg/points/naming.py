"""What a file of points may call an image or a class: in any Unicode form, and as other programs write paths."""

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from sparse_seg.errors import brief
from sparse_seg.points.text import nfc

LONGEST = 4096
"""Characters of a path, on Linux."""


class Names:
    r"""The images that there are, by what they may be called.

    A name is looked up as it is; else with blanks around it left out; else as a path of Windows or another computer, of
    which the end counts; else in any case of letters. What fits two images fits none.

    Args:
        names: name → id.

    Example:
        >>> names = Names({"a": "a", "a.png": "a", "images/a.png": "a"})
        >>> [names.find(said) for said in ("A.PNG", "C:\\data\\images\\a.png", "b.png")]
        ['a', 'a', None]
        >>> names.note()
        "2 names of images are not written as the files are: 'A.PNG' is taken for a"
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._ids = tuple(dict.fromkeys(names.values()))
        self._exact = {nfc(name): key for name, key in names.items()}
        self._folded: dict[str, set[str]] = {}
        for name, key in self._exact.items():
            self._folded.setdefault(name.casefold(), set()).add(key)
        self._found: dict[str, str | None] = {}
        self._loose: dict[str, str] = {}

    def find(self, said: str) -> str | None:
        """The id of an image, None if there is none or more than one."""
        if len(said) > LONGEST:
            return None
        if said not in self._found:
            name = nfc(said)
            found = self._exact.get(name, self._exact.get(name.strip()))
            if found is None and (found := self._loosely(name.strip())) is not None:
                self._loose[said] = found
            self._found[said] = found
        return self._found[said]

    def _loosely(self, name: str) -> str | None:
        path = name.replace("\\", "/")
        parts = [part for part in path.split("/") if part not in ("", ".")]
        absolute = path.startswith("/") or re.match(r"[A-Za-z]:", path)
        for start in range(len(parts)):
            tail = "/".join(parts[start:])
            found = self._folded.get(tail.casefold(), set())
            if tail in self._exact:
                found = {self._exact[tail]}
            # The end of a path must name the image's own sub-folders; of a path from here, a folder at least.
            needed = {key for key in found if tail.count("/") >= (0 if start == 0 else key.count("/"))}
            if len(needed) == 1 and (start == 0 or absolute or "/" in tail):
                return needed.pop()
        return None

    def why_not(self, said: str) -> str:
        """Why `find` finds nothing."""
        stem = _stem(nfc(said).strip())
        close = [key for key in self._ids if _stem(key) == stem]
        if len(close) > 1:
            return f"the image {brief(said.strip())} may be {_some(close, ' or ')}: name its sub-folder, too"
        return f"no image {brief(said.strip())}; names look like {_some(self._ids, ', ')}"

    def note(self) -> str:
        """One sentence on names that fit, but not as they are; "" if there are none."""
        if not self._loose:
            return ""
        name, key = next(iter(self._loose.items()))
        count = f"{len(self._loose)} names of images are" if len(self._loose) > 1 else "one name of an image is"
        return f"{count} not written as the files are: {brief(name)} is taken for {key}"


def _stem(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).stem.casefold()


def _some(names: Iterable[str], between: str) -> str:
    return between.join(list(names)[:3])


def find_label(labels: Mapping[str, int], said: str) -> int | None:
    """What a class name or index stands for, None if unknown.

    labels: NFC names and indices → class. said: as a file has it; blanks around it are its own only where a class is
    called so, and a table's 1.0 is the index 1.
    """
    name = nfc(said)
    found = labels.get(name, labels.get(name.strip()))
    return labels.get(whole(name.strip())) if found is None else found


def whole(label: str) -> str:
    """An index without the decimals that a table gives to numbers: "1.0" is "1"; anything else as it is."""
    return label.partition(".")[0] if re.fullmatch(r"[0-9]+\.0*", label) else label
