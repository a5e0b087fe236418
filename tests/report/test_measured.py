"""docs/results says what its runs say: its tables are made from them, and its text quotes no other figure."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sparse_seg.report.__main__ import main

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"


@pytest.mark.parametrize(
    ("studies", "lines", "table"),
    [([], "runs", "tables"), (["report", "tile_cv"], "cpu", "cpu"), (["splits"], "splits", "splits")],
)
def test_the_tables_are_those_of_the_kept_runs(studies: list[str], lines: str, table: str, tmp_path: Path) -> None:
    words = ["--outputs", str(tmp_path), "--results", str(RESULTS / f"{lines}.jsonl"), "--format", "markdown"]
    assert main([*studies, *words, "--out", str(tmp_path)]) == 0
    kept, made = (path.read_text().split("\n\n", 1) for path in (RESULTS / f"{table}.md", tmp_path / "tables.md"))
    assert kept[1] == made[1]
    assert len(kept[0].splitlines()) == len(made[0].splitlines())  # where each study was read from


@pytest.mark.parametrize(
    ("name", "studies"),
    [
        ("runs", ["report", "tile_cv"]),
        ("cpu", ["report", "tile_cv"]),
        ("splits", ["splits"]),
        ("causes", ["causes"]),
        ("clicks", ["clicks", "clicks-entropy", "clicks-errors"]),
    ],
)
def test_the_csv_is_that_of_the_kept_runs(name: str, studies: list[str], tmp_path: Path) -> None:
    copy = shutil.copy(RESULTS / f"{name}.jsonl", tmp_path)
    words = ["--outputs", str(tmp_path / "none"), "--results", copy, "--keep", copy]
    assert main([*studies, *words]) == 0
    assert (tmp_path / f"{name}.csv").read_text() == (RESULTS / f"{name}.csv").read_text()


@pytest.mark.parametrize(("name", "words"), [("clicks", ["compare", RESULTS / "clicks.jsonl"]), ("pairs", [])])
def test_the_tables_of_differences_are_those_of_their_runs(name: str, words: list[str | Path]) -> None:
    command = [sys.executable, "-W", "error", RESULTS / f"{name}.py", *words]
    made = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert made == (RESULTS / f"{name}.md").read_text()


def test_the_text_quotes_the_tables() -> None:
    """A mean with its ±, or an interval with both ends, must stand in a table as it is quoted."""
    text = re.sub(r"^ {4}.*$|\(\S+\.png\)|arXiv \S+", "", (RESULTS / "README.md").read_text(), flags=re.M)
    made = ("tables.md", "pairs.md", "cpu.md", "splits.md", "clicks.md")
    tables = "".join((RESULTS / name).read_text() for name in made).replace("-", "−")
    text, tables = (" ".join(t.split()) for t in (text, tables))
    quoted = re.findall(r"[+−]?\d+\.\d+(?: (?:±|to) [+−]?\d+\.\d+)*", text)
    assert sum("±" in figure for figure in quoted) > 20
    assert not [figure for figure in quoted if not re.search(rf"(?<![\d.]){re.escape(figure)}(?!\d)", tables)]
