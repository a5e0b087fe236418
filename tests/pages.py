"""The pages of the documentation, what stands in their fences, and a folder in which their commands run."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES.append(ROOT / "docs" / "results" / "README.md")
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    """What stands in a page's fences of a language, without the indentation of a list."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [re.sub(f"^{indent}", "", text, flags=re.MULTILINE) for indent, kind, text in found if kind == language]


def prose(page: Path) -> str:
    """A page without its fences."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def commands(script: str) -> Iterator[list[str]]:
    """The words of each command of a shell script, its variables filled in, without redirections."""
    variables: dict[str, str] = {}
    open_line = ""
    for line in script.replace("\\\n", " ").splitlines():
        open_line += line
        try:
            lexer = shlex.shlex(
                re.sub(r"\$(\w+)", lambda m: variables[m[1]], open_line), posix=True, punctuation_chars=True
            )
            lexer.whitespace_split = True
            words = list(lexer)
        except ValueError:  # a quotation that goes on in the next line
            open_line += " "
            continue
        open_line = ""
        if len(words) == 1 and (assigned := re.fullmatch(r"(\w+)=(.*)", words[0], re.DOTALL)):
            variables[assigned[1]] = assigned[2]
            continue
        yield from _parts(words)
    assert not open_line, open_line


def _parts(words: list[str]) -> Iterator[list[str]]:
    """The commands of a line: those between && and |."""
    part: list[str] = []
    skip = False
    for word in [*words, "&&"]:
        if word in ("&&", "|", ";"):
            if part:
                yield part
            part = []
        elif word == ">" or skip:
            skip = not skip
        else:
            part.append(word)


def checkout(folder: Path) -> Path:
    """Make a folder in which a page's commands find this project and a .venv. Returns the list of Python's calls."""
    for name in ("train.py", "conf", "sparse_seg", "docs"):
        (folder / name).symlink_to(ROOT / name)
    python, called = folder / ".venv" / "bin" / "python", folder / "called.txt"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "$@" >> {shlex.quote(str(called))}\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    return called


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script of bash in a folder made by `checkout`; it stops at the first command that fails."""
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
