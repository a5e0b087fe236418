"""python -m sparse_seg.report: words, formats, the page, messages."""

import csv
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from studies import (
    Write,
    run_main,
    whole_grid,
)


def test_a_word_for_a_table_prints_that_table_of_the_report(
    tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    whole_grid(write)
    assert run_main(tmp_path, "table1") == 0
    shown = capsys.readouterr().out
    assert "Table 1: " in shown
    assert "Table 2: " not in shown
    assert "does not cover the choice of the 14 validation images" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing"], "study 'nothing' has no finished run"),
        (["report", "--tables", "12"], "there is no table 12; choose from 1, 2, 3, 4, 5, 6, 9, 10, 11"),
        (["report", "--tables", "8"], "--budget STUDY prints table 8"),
        (["report", "--tables", "6"], "belongs to table 6"),
        (["--status", "nothing"], "there is no study in"),
    ],
)
def test_errors_are_one_message_and_exit_2(
    tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    write(0.5)
    assert run_main(tmp_path, *words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert "Traceback" not in error


def test_formats_parse(tmp_path: Path, write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    whole_grid(write)
    assert run_main(tmp_path, "--format", "csv") == 0
    cells = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    cell = next(c for c in cells if (c["table"], c["row"], c["column"]) == ("1", "20", "final mIoU"))
    assert float(cell["value"]) == pytest.approx(0.48)
    assert cell["n"] == "3"
    assert cell["shown"] == "0.4800 ± 0.0248"
    assert {c["column"] for c in cells if c["table"] == "1"} >= {"final mIoU: report", "best mIoU: report", "seeds"}

    assert run_main(tmp_path, "--format", "markdown") == 0
    lines = capsys.readouterr().out.splitlines()
    tables = [list(t) for t in _runs_of_pipes(lines)]
    assert len(tables) == 6
    assert all(len({row.count("|") for row in t}) == 1 and set(t[1]) <= set("|:- ") for t in tables)

    assert run_main(tmp_path, "--format", "latex", "--out", str(tmp_path / "tex")) == 0
    text = (tmp_path / "tex" / "tables.tex").read_text()
    assert text.isascii()
    body = re.sub(r"(?<!\\)%.*", "", text)
    begun, ended = (re.findall(rf"\\{w}\{{(\w+)\}}", body) for w in ("begin", "end"))
    assert sorted(begun) == sorted(ended)
    assert begun.count("table") == 6
    bare = re.sub(r"\\[{}]", "", body)
    assert bare.count("{") == bare.count("}")
    for rule in ("toprule", "midrule", "bottomrule"):
        assert body.count(f"\\{rule}") == 6
    if compiler := shutil.which("pdflatex"):
        document = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + text + "\\end{document}"
        (tmp_path / "tex" / "all.tex").write_text(document)
        command = [compiler, "-halt-on-error", "-interaction=nonstopmode", "all.tex"]
        subprocess.run(command, cwd=tmp_path / "tex", check=True, capture_output=True)


def _runs_of_pipes(lines: list[str]) -> Iterator[list[str]]:
    table: list[str] = []
    for line in [*lines, ""]:
        if line.startswith("|"):
            table.append(line)
        elif table:
            yield table
            table = []


def test_the_page_needs_no_other_file(tmp_path: Path, write: Write) -> None:
    whole_grid(write)
    assert run_main(tmp_path, "--html", str(tmp_path / "report.html")) == 0
    page = (tmp_path / "report.html").read_text()
    assert "http" not in re.sub(r'base64,[^"]*', "", page)
    assert "<script" not in page
    assert "<link" not in page
    assert page.count("<table>") == page.count("</table>") == 6
    assert page.count('src="data:image/png;base64,') == page.count("<img") == 3
    for number in (1, 2, 3, 4, 5, 9):
        assert f"<h3>Table {number}: " in page
    open_tags: list[str] = []
    for close, tag in re.findall(r"<(/?)(\w+)", page):
        if close:
            assert open_tags.pop() == tag
        elif tag not in ("meta", "img"):
            open_tags.append(tag)
    assert not open_tags


def test_tables_need_neither_torch_nor_matplotlib(tmp_path: Path, write: Write) -> None:
    write(0.5)
    code = (
        "import sys; from sparse_seg.report.__main__ import main; code = main(sys.argv[1:]); "
        "print(code, sorted({'torch', 'matplotlib', 'lightning', 'hydra'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, "report", "--outputs", str(tmp_path / "outputs")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
