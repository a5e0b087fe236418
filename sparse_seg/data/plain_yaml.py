"""YAML as people mean it: every value is text. No types, no references, no tags; each wrong line is named."""

import re
from pathlib import Path
from typing import TypeAlias

import yaml

from sparse_seg.errors import UserError
from sparse_seg.points.text import nfc, read_text

Value: TypeAlias = "str | list[Value] | dict[str, Value] | None"
"""None: nothing stands there."""
MOST = 2**20
"""Bytes of such a file."""
MANY = 20_000
"""Values, brackets and indents of such a file; 255 classes take some 4,000."""
DEEPEST = 8
COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
"""In place of a value and without quotes, YAML takes it for a comment."""


class Quoted(str):
    """Text that stands in quotes."""


def read_plain_yaml(path: Path) -> Value:
    """Read a YAML file with every value as text.

    Args:
        path: the file.

    Returns:
        Lists, dicts and text; keys are NFC.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it cannot be read, is no YAML, larger than 1 MiB, of more than 20,000 values, nested deeper than 8,
            refers within itself, has a key twice, or a colour without quotes.
    """
    text = read_text(path, "YAML file", MOST)
    try:
        depth = 0
        for count, event in enumerate(yaml.parse(text, Loader=yaml.BaseLoader)):
            line = event.start_mark.line + 1 if event.start_mark else 0
            if count > MANY:
                raise UserError(f"{path}, line {line}: more than {MANY} values, which no list of classes needs")
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise UserError(f"{path}, line {line}: references (& and *) are not read; write the value out")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise UserError(f"{path}, line {line}: nested deeper than {DEEPEST} levels")
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        if bare := _bare_colour(text, ":,[-"):
            raise UserError(f"{path}, {bare}") from None
        raise UserError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if bare := _bare_colour(text, ",["):
        raise UserError(f"{path}, {bare}")
    return None if node is None else _value(path, node, text)


def _value(path: Path, node: yaml.Node, text: str) -> Value:
    where = f"{path}, line {node.start_mark.line + 1}"
    if isinstance(node, yaml.SequenceNode):
        return [_given(path, child, text) for child in node.value]
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Value] = {}
        for key, child in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise UserError(f"{where}: a key must be a word")
            name = nfc(key.value)
            if name in found:
                raise UserError(f"{path}, line {key.start_mark.line + 1}: {name!r} is there twice; leave one out")
            found[name] = _given(path, child, text)
        return found
    if isinstance(node, yaml.ScalarNode) and re.search("[\ud800-\udfff]", node.value):
        raise UserError(f"{where}: half a character, which no file can hold; write it out")
    if isinstance(node, yaml.ScalarNode) and node.style in ("'", '"'):
        return Quoted(node.value)
    return str(node.value) or None


def _given(path: Path, node: yaml.Node, text: str) -> Value:
    """A value, which is not what a colour without quotes leaves: nothing."""
    value = _value(path, node, text)
    if value is None and (bare := COLOUR.match(text[node.start_mark.index :].lstrip(" \t"))):
        raise UserError(f"{path}, {_lost(node.start_mark.line + 1, bare[0])}")
    return value


def _bare_colour(text: str, before: str) -> str:
    """What to do about the first comment that is a colour and stands after one of some characters, "" without one."""
    for number, line in enumerate(text.splitlines(), 1):
        start, mark, comment = re.sub("""\"[^\"]*\"|'[^']*'""", "''", line).partition("#")
        if mark and start.rstrip()[-1:] in list(before) and (bare := COLOUR.match(mark + comment)):
            return _lost(number, bare[0])
    return ""


def _lost(line: int, colour: str) -> str:
    return f'line {line}: YAML takes {colour} for a comment; put quotes around it: "{colour}"'
