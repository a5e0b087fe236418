"""Print the report's tables from measured runs: `python -m sparse_seg.report [STUDY…]`."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sparse_seg.errors import UserError
from sparse_seg.report.tables import registered, tables_of, words

if TYPE_CHECKING:
    from sparse_seg.report.blocks import Block
    from sparse_seg.report.families import Family
    from sparse_seg.report.render import Section
    from sparse_seg.report.status import Run

SUFFIXES = {"text": "txt", "markdown": "md", "latex": "tex", "csv": "csv"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns its exit code: 2 after an error, which is printed."""
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except UserError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `… | head`
        sys.stderr.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sparse_seg.report",
        description="The report's tables and figures from measured runs. STUDY is a folder of outputs/, or a "
        "word for a table of study `report`: " + ", ".join(words()) + ". By default: every study of the report.",
    )
    add = parser.add_argument
    add("studies", nargs="*", metavar="STUDY")
    listed = ", ".join(f"{t.name} ({t.about})" for t in registered().values() if not t.budget)
    add("--tables", metavar="1,2", help=f"only these tables: {listed}")
    add("--format", choices=tuple(SUFFIXES), default="text", help="how tables are printed (default: text)")
    add("--out", type=Path, metavar="DIR", help="write the tables to DIR/tables.txt, .md, .tex or .csv instead")
    add("--html", type=Path, metavar="FILE", help="write one page with all tables and figures")
    add("--figures", type=Path, metavar="DIR", help="write the figures as PNG")
    add(
        "--keep",
        type=Path,
        metavar="FILE",
        help="put the runs among the lines of FILE (.jsonl), write its .csv, and show all of FILE's runs, not only "
        "these, with --out, --figures and --html; nothing else",
    )
    add("--budget", metavar="STUDY", help="would more points help? The fitted curve, its next doubling, what limits")
    add("--status", metavar="STUDY", help="list a study's runs: done, running, failed, unfinished")
    add("--outputs", type=Path, default=Path("outputs"), metavar="DIR", help="where the studies are (default: outputs)")
    add(
        "--results", type=Path, default=Path("docs/results/runs.jsonl"), metavar="FILE",
        help="kept runs, read where a study is not in outputs (default: docs/results/runs.jsonl)",
    )  # fmt: skip
    return parser


def _run(options: argparse.Namespace) -> None:
    from sparse_seg.report import status

    if options.status:
        print(status.table(status.runs_of(options.outputs / options.status)))
        return
    from sparse_seg.report import results  # pandas and scipy, which the help needs not wait for
    from sparse_seg.report.blocks import blocks
    from sparse_seg.report.families import families

    if options.budget:
        if options.studies or options.tables or options.keep:
            raise UserError("--budget STUDY has tables of its own: leave out other studies, --tables and --keep")
        options.studies = [options.budget]
    studies, numbers = _wanted(options)
    studies = studies or results.usual_studies(options.outputs, options.results)
    runs = results.load(studies, options.outputs, options.results)
    pending = [run for folder in runs.folders for run in status.runs_of(folder) if run.state != "done"]
    if options.keep:
        count = results.keep(runs.results, options.keep)
        _say(f"{options.keep} holds {count} runs; {options.keep.with_suffix('.csv')} is made from it")
        if not (options.out or options.figures or options.html):
            return
        runs, pending = results.load_kept(options.keep, runs.results), []
    parts = blocks(runs.frame, pending)
    sources = (*runs.sources, *_in_no_table(parts, pending))
    found = families(parts)
    sections = _budget(found) if options.budget else _sections(found, numbers)
    if options.figures or options.html:
        _pictures(options, sections, sources)
    if options.out or not (options.figures or options.html):
        _tables(options, sections, sources)


def _in_no_table(parts: "Sequence[Block]", pending: "Sequence[Run]") -> list[str]:
    """A line on the runs without a result that stand in no block."""
    shown = {r.folder for block in parts for r in block.pending}
    rest = [r for r in pending if r.folder not in shown]
    counts = {state: sum(r.state == state for r in rest) for state in ("failed", "running", "unfinished")}
    said = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    studies = ", ".join(dict.fromkeys(r.folder.parent.name for r in rest))
    why = "no run of their configuration is finished, or they do not say what it is; --status lists them"
    return [f"study {studies}: {said} in no table ({why})"] if rest else []


def _wanted(options: argparse.Namespace) -> tuple[list[str], set[str] | None]:
    """Studies and names of tables that the words on the command line mean; None: all tables."""
    meant = words()
    numbers: set[str] = set()
    studies: list[str] = []
    for word in options.studies:
        own = (options.outputs / word).is_dir()
        studies.append(word if own or word not in meant else "report")
        numbers |= {meant[word]} if word in meant else set()
    if options.tables:
        numbers = set(options.tables.split(","))
        known = registered()
        if unknown := sorted(numbers - known.keys()):
            there_are = ", ".join(name for name, t in known.items() if not t.budget)
            raise UserError(f"--tables={options.tables}: there is no table {unknown[0]}; choose from {there_are}")
        if budget := sorted(name for name in numbers if known[name].budget):
            raise UserError(f"--tables={options.tables}: --budget STUDY prints table {budget[0]}")
    elif any(word not in meant for word in options.studies):
        numbers = set()
    return list(dict.fromkeys(studies)), numbers or None


def _sections(found: "list[Family]", numbers: set[str] | None) -> "list[Section]":
    """One section per block and, where some differ in method and prior only, one for all of these."""
    from sparse_seg.report.render import Section

    sections: list[Section] = []
    for family in found:
        several = len(family.blocks) > 1
        # A probe belongs to several families, and is shown by itself once.
        new = [b for b in family.blocks if not any(b.runs is s.block.runs for s in sections)]
        sections += [Section(b, tables_of(b, numbers, methods=not several), b, not several) for b in new]
        sections += (
            [Section(family.whole, tables, family)] if several and (tables := tables_of(family, numbers)) else []
        )
    if not any(s.tables for s in sections):
        which = f"table {', '.join(sorted(numbers))}" if numbers else "any table"
        raise UserError(f"none of the {sum(len(s.block.runs) for s in sections)} runs belongs to {which}")
    return [s for s in sections if s.tables or numbers is None]


def _budget(found: "list[Family]") -> "list[Section]":
    from sparse_seg.report.render import Section

    return [Section(family.whole, tables_of(family, budget=True), family) for family in found]


def _tables(options: argparse.Namespace, sections: "list[Section]", sources: Sequence[str]) -> None:
    from sparse_seg.report import render

    forms = {"text": render.text, "markdown": render.markdown, "latex": render.latex, "csv": render.csv}
    shown = forms[options.format](sections, sources)
    if options.out:
        name = "budget" if options.budget else "tables"
        path = options.out / f"{name}.{SUFFIXES[options.format]}"
        _write(path, (shown + "\n").encode())
        return
    if options.format == "csv":
        _say("\n".join(sources))
    print(shown)


def _pictures(options: argparse.Namespace, sections: "list[Section]", sources: Sequence[str]) -> None:
    from sparse_seg.report.figures import figures_of, png
    from sparse_seg.report.html import page

    found = [figures_of(s.runs, bool(options.budget), s.methods) for s in sections]
    pictures = [[(name, caption, png(figure)) for name, caption, figure in figures] for figures in found]
    if options.figures:
        if options.budget and not any(pictures):
            _say("no figure: a curve needs two densities of points per class")
        for path, content in _named(options.figures, sections, pictures):
            _write(path, content)
    if options.html:
        _write(options.html, page(sections, pictures, sources).encode())


def _named(
    folder: Path, sections: "list[Section]", pictures: list[list[tuple[str, str, bytes]]]
) -> Iterator[tuple[Path, bytes]]:
    """A file name per picture: figure1-resnet34-none-256-50-random.png."""
    seen: set[str] = set()
    for section, block_pictures in zip(sections, pictures, strict=True):
        for name, _, content in block_pictures:
            slug = f"{name}-{section.block.slug}"
            while slug in seen:
                slug += "-other"
            seen.add(slug)
            yield folder / f"{slug}.png", content


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as e:
        raise UserError(f"{path} cannot be written: {e.strerror}") from e
    _say(f"wrote {path}")


def _say(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
