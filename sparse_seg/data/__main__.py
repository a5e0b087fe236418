"""Command line of the data: `python -m sparse_seg.data download [--root FOLDER]`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sparse_seg.data.download import download_dubai
from sparse_seg.data.dubai import default_root
from sparse_seg.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status: 0, or 2 if the user has to act."""
    parser = argparse.ArgumentParser(prog="python -m sparse_seg.data", description="The data sets.")
    commands = parser.add_subparsers(dest="command", required=True)
    download = commands.add_parser("download", help="download the Dubai set (33 MB), or complete and repair it")
    download.add_argument(
        "--root",
        type=Path,
        default=default_root(),
        help="folder to put it in (default: $SPARSE_SEG_DATA or data/dubai); files that differ are replaced",
    )
    options = parser.parse_args(arguments)
    try:
        download_dubai(options.root)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
