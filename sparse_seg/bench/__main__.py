"""`make bench`: what training costs on this machine, each figure beside a reference measured in the same run.

Needs no download. Ratios are value ÷ reference; each function says how its figures are measured. Machines drift, so
whatever is compared is run in turn (A B A B …) and compared by medians. Nothing is left on the disk.
"""

import argparse
from collections.abc import Sequence

LETTERS = {
    "a": "a training step in Lightning against a bare loop, in turn",
    "b": "partial losses against dense ones",
    "c": "precision, memory format and freed memory",
    "d": "whole epochs with all callbacks",
    "e": "start-up, in child processes",
    "f": "resuming a run",
    "g": "what a job of a sweep costs beside its epochs",
    "h": "a sweep of small runs, several at once",
    "i": "a probe from points to maps, with nothing kept and again",
    "j": "what shares add to a training step",
    "k": "the map of a large GeoTIFF against the network alone",
    "l": "the page in a browser: clicks to maps, views of a large GeoTIFF",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the sections that the command line names, by default all, and print their table."""
    parser = argparse.ArgumentParser(
        prog="python -m sparse_seg.bench",
        description="Measure what training costs on this machine. Wants an idle one.",
        epilog="sections:\n" + "\n".join(f"  {letter}  {what}" for letter, what in LETTERS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sections", nargs="*", metavar="LETTER", help="what to measure; by default all of them")
    letters = parser.parse_args(arguments).sections
    for letter in letters:
        if letter not in LETTERS:
            parser.error(f"{letter!r} is no section: they are {', '.join(LETTERS)}")
    from sparse_seg.bench.run import run  # torch takes seconds, which an answer need not

    run(letters or list(LETTERS))


if __name__ == "__main__":
    main()
