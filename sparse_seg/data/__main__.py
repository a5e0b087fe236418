"""Command line of the data: `python -m sparse_seg.data download` and `python -m sparse_seg.data inspect FOLDER`."""

import argparse
import sys
from collections.abc import Sequence
from inspect import signature
from pathlib import Path

from sparse_seg.data.dubai import default_root
from sparse_seg.data.folder import files_of, folder
from sparse_seg.data.survey import inspect
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
    look = commands.add_parser(
        "inspect", help="look at a folder of your own images, write its classes.yaml, print the command to train"
    )
    look.add_argument("root", type=Path, help="folder with images/ and masks/, points.csv or points.geojson")
    for name, parameter in signature(folder).parameters.items():
        if name in (*signature(files_of).parameters, "points_crs") and name != "root":
            usual = parameter.default or "what is there"
            look.add_argument(f"--{name.replace('_', '-')}", help=f"as data.{name}= of train.py (default: {usual})")
    options = vars(parser.parse_args(arguments))
    try:
        if options.pop("command") == "inspect":
            for line in inspect(**options):
                print(line)
        else:
            from sparse_seg.data.download import download_dubai  # which imports pooch and requests

            download_dubai(options["root"])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
