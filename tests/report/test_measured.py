"""docs/results says what its runs say: its tables are made from them, and its text quotes no other figure."""

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from cli import configuration

from sparse_seg.report.__main__ import main
from sparse_seg.report.configuration import keys
from sparse_seg.report.results import read_lines
from sparse_seg.runs.identity import FILES, flatten

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"
Printed = Callable[..., str]


CPU = ("report", "tile_cv", "--results", "docs/results/cpu.jsonl")
SPLITS = ("splits", "--results", "docs/results/splits.jsonl")
METHODS = ("methods", "report", "splits", "--results", "docs/results/methods.jsonl")
BRASILIA = ("brasilia", "brasilia-clicks", "--results", "docs/results/brasilia.jsonl")


@pytest.fixture
def printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Printed:
    """What the report prints where no study lies in outputs/, so that every run is a kept line."""
    shutil.copytree(RESULTS, tmp_path / "docs" / "results", ignore=shutil.ignore_patterns("*.png", "*.md"))
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        assert main(words) == 0
        return capsys.readouterr().out

    return run


KEEP = ("report", "tile_cv", "--keep", "docs/results/runs.jsonl", "--out", "docs/results")


def test_the_tables_are_those_that_keeping_writes(printed: Printed) -> None:
    assert printed(*KEEP, "--format", "markdown") == ""
    for name in ("tables.md", "runs.csv", "runs.jsonl"):
        assert Path("docs/results", name).read_bytes() == (RESULTS / name).read_bytes()


@pytest.mark.parametrize(
    ("words", "table"), [(CPU, "cpu"), (SPLITS, "splits"), (METHODS, "methods"), (BRASILIA, "brasilia")]
)
def test_the_tables_are_those_of_the_kept_runs(words: Sequence[str], table: str, printed: Printed) -> None:
    assert printed(*words, "--format", "markdown") == (RESULTS / f"{table}.md").read_text()


@pytest.mark.parametrize(
    ("words", "digest"),
    [
        ((), "402f0467e9ac543912f5fe67263d2443398c15893f1adf9ed4af1bea4b37e75d"),
        (("--format", "csv"), "5c1ccdac9edee69031c578a5b34e92fa761aa33afbbb8427189bca71e066fdb2"),
        (("--format", "latex"), "9e12b1cee763eac620d937b89a582f28ffad2b012210a084810f07e68718200c"),
        (("--budget", "report"), "8a4120db0daef9258b85685cf2a7fde4f471b9065fed726c9ce5c528249bbbff"),
        (CPU, "acd2130363937ffdf046d42b5c9ba3668921cd0f145c9696254f9cd77e1328de"),
    ],
)
def test_the_kept_runs_are_printed_as_ever(words: Sequence[str], digest: str, printed: Printed) -> None:
    """The SHA-256 of `python -m sparse_seg.report WORDS`; who changes a table on purpose puts in the new one."""
    assert hashlib.sha256(printed(*words).encode()).hexdigest() == digest


@pytest.mark.parametrize(
    ("name", "studies"),
    [
        ("runs", ["report", "tile_cv"]),
        ("cpu", ["report", "tile_cv"]),
        ("splits", ["splits"]),
        ("causes", ["causes"]),
        ("self-training", ["self"]),
        ("clicks", ["clicks", "clicks-entropy", "clicks-errors"]),
        ("methods", ["methods", "report", "splits"]),
        ("brasilia", ["brasilia", "brasilia-clicks"]),
        ("loop-runs", ["loop-next", "loop-random", "loop-per-class", "loop-next-shaken"]),
    ],
)
def test_the_csv_is_that_of_the_kept_runs(name: str, studies: list[str], tmp_path: Path) -> None:
    copy = str(shutil.copy(RESULTS / f"{name}.jsonl", tmp_path))
    words = ["--outputs", str(tmp_path / "none"), "--results", copy, "--keep", copy]
    assert main([*studies, *words]) == 0
    assert (tmp_path / f"{name}.csv").read_text() == (RESULTS / f"{name}.csv").read_text()


@pytest.mark.parametrize(
    ("name", "words"),
    [("clicks", ["compare", RESULTS / "clicks.jsonl"]), ("flips", ["table", RESULTS / "flips.jsonl"]), ("pairs", [])],
)
def test_the_tables_of_differences_are_those_of_their_runs(name: str, words: list[str | Path]) -> None:
    command = [sys.executable, "-W", "error", RESULTS / f"{name}.py", *words]
    made = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert made == (RESULTS / f"{name}.md").read_text()


def test_the_text_quotes_the_tables() -> None:
    """A mean with its ±, or an interval with both ends, must stand in a table as it is quoted."""
    text = re.sub(r"^ {4}.*$|\(\S+\.png\)|arXiv \S+", "", (RESULTS / "README.md").read_text(), flags=re.M)
    made = [
        f"{name}.md"
        for name in (
            *("tables", "pairs", "cpu", "splits", "clicks", "methods", "brasilia", "flips", "shares"),
            *("loop", "loop-runs"),
        )
    ]
    tables = "".join((RESULTS / name).read_text() for name in made).replace("-", "−")
    text, tables = (" ".join(t.split()) for t in (text, tables))
    quoted = re.findall(r"[+−]?\d+\.\d+(?: (?:±|to) [+−]?\d+\.\d+)*", text)
    assert sum("±" in figure for figure in quoted) > 20
    assert not [figure for figure in quoted if not re.search(rf"(?<![\d.]){re.escape(figure)}(?!\d)", tables)]


@pytest.mark.parametrize("name", ["runs", "cpu", "splits", "causes", "clicks"])
def test_a_run_of_today_is_the_same_as_its_kept_line(name: str) -> None:
    """Whatever the configuration has got since: a line with none of it stands with a run that says it."""
    lines = read_lines(RESULTS / f"{name}.jsonl")
    with configuration() as configured:
        for line in {(r["loss"], r["augment"], r["scheduler"], r["points"], r["fold"]): r for r in lines}.values():
            given = {k: line[k] for k in ("loss", "augment", "scheduler", "optimizer", "points", "seed", "split")}
            given |= {"model.encoder": line["encoder"], "data.size": line["size"], "optimizer.lr": line["lr"]}
            given |= {k: line["figures"][k] for k in ("data.fold", "data.split_seed", "data.val_tiles")}
            words = [f"{k}={'null' if v is None else v}" for k, v in given.items()]
            decided = {
                k: line["figures"][k] for k in (*FILES, "trainer.precision", "channels_last") if k in line["figures"]
            }
            today = flatten(configured(*words)[0]) | decided | {"data.content": "4f"}
            assert len(set(keys([line["figures"], today]))) == 1
