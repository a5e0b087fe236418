"""Write docs/words.md, every word of `train.py`, from the files of conf/: `python docs/words.py`."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
CONF, PAGE = ROOT / "conf", ROOT / "docs" / "words.md"

HEAD = """\
# Every word of the command line

`python docs/words.py` makes this page from `conf/`. `python train.py --help` prints the same values, and
`python train.py loss=ce --cfg job` those of a run that you have in mind.

| to | write | example |
|---|---|---|
| set a value | `key=value` | `points=50` |
| choose from a group | `group=choice` | `loss=ce` |
| set a value of what was chosen | `group.key=value` | `loss.gamma=1` |
| add what is not there yet | `+key=value` | `+trainer.gradient_clip_val=1` |
| leave something out | `key=null` | `callbacks.panels=null` |
| give a list | `'key=[a,b]'` | `'data.bands=[4,3,2]'` |
| run a grid | `-m` and commas | `-m points=5,20 loss=focal,ce` |
| give a value with `=` or `,` in it | quotes within quotes | `"data.points_file='a=1/points.csv'"` |
| use YAMLs of your own | `--config-dir DIR`, before the words | `--config-dir my_conf loss=mine` |

A word that does not exist is refused with the list of those that do. Commands such as `python -m sparse_seg.predict`
list theirs with `--help`.
"""
STUDIES = """\
## experiment

A whole study in one word. Words beside it narrow or widen its grid. [Studies and tables](studies.md) says more.

| word | what it runs | study | grid |
|---|---|---|---|
"""

Row = tuple[str, str, str]


def head(path: Path) -> str:
    """The comment that a file begins with, as one paragraph; without it, the comment of `_target_`'s line is lost."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if "@package" not in line:
            lines.append(line.removeprefix("#").strip())
    return " ".join(lines)


def values(node: yaml.MappingNode, prefix: str) -> Iterator[tuple[str, yaml.Node]]:
    """Each value of a mapping and of those within it, as the word that sets it."""
    for key, value in node.value:
        word = f"{prefix}{key.value}"
        if isinstance(value, yaml.MappingNode) and value.value:
            yield from values(value, f"{word}.")
        else:
            yield word, value


def rows(path: Path, prefix: str) -> list[Row]:
    """(word, default, comment on its line) for each value of a file that a person may set."""
    text = path.read_text(encoding="utf-8")
    node = yaml.compose(text)
    found = []
    for word, value in values(node, prefix) if isinstance(node, yaml.MappingNode) else ():
        given = text[value.start_mark.index : value.end_mark.index].strip()
        name = word.rsplit(".", 1)[-1]
        fixed = name in ("_partial_", "defaults") or (name == "_target_" and given != "???")
        fixed = fixed or given.startswith("${data.")
        if fixed or (isinstance(value, yaml.SequenceNode) and "_target_" in given):
            continue
        comment = re.search(r"\s# ?(.*)$", text.splitlines()[value.start_mark.line])
        found.append((word, given, comment[1].strip() if comment else ""))
    return found


def table(found: list[Row], meanings: dict[str, str] | None = None) -> str:
    """meanings: what to say of a word without a comment."""
    lines = ["| word | default | meaning |", "|---|---|---|"]
    for word, default, comment in found:
        shown = "to be given" if default == "???" else f"`{default}`"
        meaning = (comment or (meanings or {}).get(word, "")).replace("*", r"\*")
        lines.append(f"| `{word}` | {shown} | {meaning} |")
    return "\n".join(lines) + "\n"


def choices(folder: str) -> list[Path]:
    return sorted((CONF / folder).glob("*.yaml"))


def group(name: str, usual: str | None) -> str:
    """A section on one folder of conf/. usual: the choice without a word."""
    files = sorted(choices(name), key=lambda path: (path.stem != usual, path.stem))
    prefix = "hydra.launcher." if "/" in name else f"{name}."
    found = {
        path: rows(path, "" if "@package _global_" in path.read_text(encoding="utf-8") else prefix) for path in files
    }
    meanings = {word: comment for each in reversed(found.values()) for word, _, comment in each if comment}
    parts = [f"## {name}\n"]
    for path, each in found.items():
        default = " (default)" if path.stem == usual else ""
        parts.append(f"**`{name}={path.stem}`**{default} {head(path)}".strip() + "\n")
        if each:
            parts.append(table(each, meanings))
    return "\n".join(parts)


def studies() -> str:
    text = STUDIES
    for path in choices("experiment"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        grid = content.get("hydra", {}).get("sweeper", {}).get("params", {})
        words = " ".join(f"`{key}={value}`" for key, value in grid.items()) or "one run"
        text += f"| `experiment={path.stem}` | {head(path)} | `{content.get('study', 'runs')}` | {words} |\n"
    return text


def page() -> str:
    config = CONF / "config.yaml"
    defaults = yaml.safe_load(config.read_text(encoding="utf-8"))["defaults"]
    usual = {k: v for entry in defaults if isinstance(entry, dict) for k, v in entry.items()}
    chosen = [name for name in usual if (CONF / name).is_dir() and name != "experiment"]
    own = [row for row in rows(config, "") if not row[0].startswith(("hydra.", "defaults"))]
    parts = [HEAD, "## A run\n\n" + table(own), *(group(name, usual[name]) for name in chosen), studies()]
    return "\n".join([*parts, group("hydra/launcher", None)])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
