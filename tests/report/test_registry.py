"""A table is one file; --help, --tables, words and the Makefile name those that are registered."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from studies import Write, run_main

from sparse_seg.report import tables

ROOT = Path(__file__).parents[2]
TOY = """
from sparse_seg.report.cells import Cell, Table, count
from sparse_seg.report.tables import table


@table("toy", "runs of each loss")
def runs_of_each_loss(block):
    counts = block.runs["loss"].value_counts()
    return Table("runs of each loss", ("loss", "runs"), tuple((Cell(str(k)), count(n)) for k, n in counts.items()))
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's table in a file of its own."""
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "toy_of_a_test.py").write_text(TOY)
    monkeypatch.setattr(tables, "_REGISTERED", dict(tables.registered()))
    monkeypatch.setattr(tables, "__path__", [*tables.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, "sparse_seg.report.tables.toy_of_a_test", raising=False)


@pytest.mark.parametrize("form", ["text", "markdown", "latex", "csv"])
def test_a_table_of_ones_own_is_printed_in_every_format(
    toy: None, form: str, tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(3):
        write(0.5, seed=seed)
    assert run_main(tmp_path, "report", "--tables", "toy", "--format", form) == 0
    said = capsys.readouterr().out
    assert "toy" in said
    assert "focal" in said
    assert "Table 1" not in said
    assert re.search(r"focal\W+(runs,)?3", said)


def test_a_table_of_ones_own_is_listed_and_among_the_usual_ones(
    toy: None, tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_main(tmp_path, "--help")
    assert "toy (runs of each loss)" in " ".join(capsys.readouterr().out.split())
    write(0.5)
    assert run_main(tmp_path, "report") == 0
    shown = re.findall(r"^Table (\w+): ", capsys.readouterr().out, re.MULTILINE)
    assert shown == ["1", "2", "3", "9", "toy"]
    assert run_main(tmp_path, "tabletoy") == 0
    assert "Table toy: runs of each loss" in capsys.readouterr().out


def test_two_tables_cannot_have_one_name() -> None:
    first = tables.registered()["1"].make
    with pytest.raises(ValueError, match=r"table 1 is registered by sparse_seg\.report\.tables\.density and by "):
        tables.table("1", "another")(lambda block: None)
    assert tables.registered()["1"].make is first


def test_each_experiment_of_the_published_grid_is_a_word_for_a_table() -> None:
    paths = (ROOT / "conf" / "experiment").glob("*.yaml")
    part = {p.stem for p in paths if yaml.safe_load(p.read_text()).get("study") == "report"} - {"report"}
    assert part <= tables.words().keys()


def test_the_makefile_names_the_tables_that_are_registered() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"^(table\d.*): ", text, re.MULTILINE)[1].split())  # type: ignore[index]
    experiments = {p.stem for p in (ROOT / "conf" / "experiment").glob("table*.yaml")}
    assert targets == tables.words().keys() & experiments
    listed = re.search(r"there are (.*?)\)", text)
    assert listed is not None
    assert listed[1].split(", ") == [name for name, t in tables.registered().items() if not t.budget]


def test_help_waits_for_no_slow_library() -> None:
    code = (
        "import sys; from sparse_seg.report.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(sorted({'numpy', 'pandas', 'scipy', 'matplotlib', 'torch'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "[]"
    assert "3 (classes)" in " ".join(said.split())
