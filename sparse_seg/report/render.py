"""Tables as text for a terminal, as Markdown, LaTeX and CSV."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from tabulate import tabulate

from sparse_seg.report.blocks import Block
from sparse_seg.report.cells import Table
from sparse_seg.report.families import Family

WIDTH = 110
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$",
}  # fmt: skip
SYMBOLS = {
    "±": r"$\pm$",
    "−": "$-$",
    "→": r"$\to$",
    "×": r"$\times$",
    "÷": r"$\div$",
    "·": r"$\cdot$",
    "—": "---",
    "…": r"\ldots{}",
    "γ": r"$\gamma$",
}


@dataclass(frozen=True)
class Section:
    """The tables of one block, or of several that differ in method and prior."""

    block: Block
    """What its heading says."""
    tables: Sequence[Table]
    runs: Block | Family
    """What its figures are drawn from."""
    methods: bool = True
    """Whether figures that put several methods side by side stand here."""


def text(sections: Sequence[Section], sources: Sequence[str] = ()) -> str:
    """For a terminal of 110 columns; wide tables go beyond. sources: lines on where the runs were read from."""
    parts = ["\n".join(sources)] if sources else []
    for section in sections:
        parts.append(_underlined(section.block.title, "="))
        parts += [textwrap.fill(line, WIDTH) for line in about(section.block)]
        for table in section.tables:
            notes = "\n".join(_filled(n) for n in table.notes)
            title = f"Table {table.number}: {table.title}"
            parts.append(f"{_underlined(title, '-')}\n\n{grid(table, 'simple')}\n\n{notes}")
    return "\n\n".join(parts)


def _filled(note: str) -> str:
    """A sentence in lines of the terminal; a command stays whole, to be copied."""
    return f"  {note}" if note.startswith("python ") else textwrap.fill(note, WIDTH, subsequent_indent="  ")


def markdown(sections: Sequence[Section], sources: Sequence[str] = ()) -> str:
    """Tables as GitHub shows them."""
    parts = ["\n".join(f"- {s}" for s in sources)] if sources else []
    for section in sections:
        parts.append(f"## {section.block.title}")
        parts += about(section.block)
        for table in section.tables:
            notes = "\n".join(f"- {n}" for n in table.notes)
            parts.append(f"### Table {table.number}: {table.title}\n\n{grid(table, 'github')}\n\n{notes}")
    return "\n\n".join(parts)


def latex(sections: Sequence[Section], sources: Sequence[str] = ()) -> str:
    r"""Floats to \input into a document that loads booktabs."""
    parts = ["\n".join([r"% for a document with \usepackage{booktabs}", *(f"% {s}" for s in sources)])]
    for section in sections:
        for table in section.tables:
            body = _symbols(grid(table, "latex_booktabs"))
            notes = "\n\n".join(escaped(n) for n in table.notes)
            caption = escaped(f"{table.title[0].upper()}{table.title[1:]}. {section.block.title}.")
            parts.append(
                "\\begin{table}[htbp]\n\\renewcommand{\\thetable}{" + table.number + "}\n\\centering\n\\small\n"
                f"\\setlength{{\\tabcolsep}}{{4pt}}\n\\caption{{{caption}}}\n{body}\n\n\\medskip\n"
                f"\\begin{{minipage}}{{\\linewidth}}\\footnotesize\n{notes}\n\\end{{minipage}}\n\\end{{table}}"
            )
    return "\n\n".join(parts)


def csv(sections: Sequence[Section], sources: Sequence[str] = ()) -> str:
    """A line per cell: table, configuration, row, column, value, its interval, p and seeds, the cell as shown.

    What it was read from has no place in it.
    """
    lines = [line for s in sections for t in s.tables for line in _lines(s.block, t)]
    columns = ["table", "configuration", "row", "column", "value", "low", "high", "p", "n", "shown"]
    table = pd.DataFrame(lines, columns=columns).astype({"n": "Int64"})
    return table.to_csv(index=False, lineterminator="\n").rstrip("\n")


def _lines(block: Block, table: Table) -> list[list[object]]:
    lines: list[list[object]] = []
    for row in table.rows:
        name = ", ".join(c.text for c in row[: table.labels])
        for i, cell in enumerate(row[table.labels :], table.labels):
            column = table.header[i]
            if column.startswith("report"):
                column = f"{table.header[i - 1]}: {column}"
            e = cell.estimate
            numbers = [e.mean, e.low, e.high, e.p, e.n] if e else [cell.number, None, None, None, None]
            lines.append([table.number, block.title, name, column, *numbers, cell.text])
    return lines


def about(block: Block) -> list[str]:
    """What the block holds: how many runs and on what they ran, how it differs, what is not done."""
    runs = block.runs
    on = [f"{d}, {p}" for d, p in dict.fromkeys(zip(_column(runs, "device"), runs["precision"], strict=True))]
    seeds = ", ".join(str(s) for s in block.seeds)
    lines = [f"{len(runs)} finished run{'s' * (len(runs) != 1)}, seeds {seeds}; computed on {'; '.join(on)}."]
    if block.differs:
        lines.append(
            "Not averaged with the first configuration above; differs from it in " + "; ".join(block.differs) + "."
        )
    lines += block.notes
    lines += [f"{r.state.capitalize()}: {r.folder.name}" + (f": {r.detail}" if r.detail else "") for r in block.pending]
    return lines


def _column(runs: pd.DataFrame, name: str) -> list[str]:
    return [str(v) for v in runs[name]] if name in runs else ["an unknown device"] * len(runs)


def grid(table: Table, form: str) -> str:
    """The table's rows in one of tabulate's formats; labels to the left, numbers to the right."""
    rows = [[c.text for c in row] for row in table.rows]
    align = ["left"] * table.labels + ["right"] * (len(table.header) - table.labels)
    return tabulate(rows, headers=table.header, tablefmt=form, disable_numparse=True, colalign=align)


def escaped(line: str) -> str:
    """Plain text for LaTeX."""
    return _symbols("".join(LATEX.get(c, c) for c in line))


def _symbols(line: str) -> str:
    return "".join(SYMBOLS.get(c, c) for c in line)


def _underlined(line: str, with_: str) -> str:
    return f"{line}\n{with_ * len(line)}"
