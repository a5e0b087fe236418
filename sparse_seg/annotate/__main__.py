"""Click, see the map, click where it matters: `python -m sparse_seg.annotate FOLDER`."""

import argparse
import secrets
import socket
import sys
import webbrowser
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sparse_seg.annotate import EVERY
from sparse_seg.errors import UserError

if TYPE_CHECKING:
    from sparse_seg.annotate.maps import Maps
    from sparse_seg.annotate.state import Annotation

DESCRIPTION = """\
Open a page in the browser to place points on the images of a folder, with the map that follows from them.

FOLDER is one of data=folder: images in images/, or in FOLDER itself. Written to it, as you click:
  points.csv    the points, which training reads
  classes.yaml  the classes
  checks.csv    check points, which score the map and are not trained on
  .annotate/    the journal of all changes
"""
EXTRA = "the page needs starlette, uvicorn and Leaflet ({error}): pip install -e '.[annotate]'"
LOCAL = ("127.0.0.1", "localhost", "::1")


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        "python -m sparse_seg.annotate", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("folder", metavar="FOLDER")
    p.add_argument("--host", default="127.0.0.1", help="default 127.0.0.1: this machine alone can open the page")
    p.add_argument("--port", type=int, default=8484, help="default 8484")
    p.add_argument("--token", help="what the address must have with another host; default: a random one")
    p.add_argument("--read-only", action="store_true", help="look without changing anything")
    p.add_argument("--no-browser", action="store_true", help="print the address and open nothing")
    p.add_argument("--images", metavar="PATTERN", help="a folder or pattern in FOLDER, as data.images")
    p.add_argument("--bands", type=int, nargs="+", metavar="N", help="bands to show and learn from, as data.bands")
    p.add_argument("--scale", type=float, nargs=2, metavar=("LOW", "HIGH"), help="black and white, as data.scale")
    p.add_argument("--encoder", default="resnet34", help="whose features the map is made of, default resnet34")
    p.add_argument("--encoder-weights", default="imagenet", help="imagenet, which is downloaded, null, or a file")
    p.add_argument("--check-every", type=int, default=EVERY, metavar="K", help=f"default {EVERY}; 0: no check points")
    p.add_argument("--train", nargs="*", default=[], metavar="WORD", help="more words for training")
    return p


def main(words: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, or 1 if the page cannot be opened."""
    options = _parser().parse_args(words)
    try:
        return _serve(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _serve(options: argparse.Namespace) -> int:
    try:
        import uvicorn
        import xstatic.pkg.leaflet  # noqa: F401

        from sparse_seg.annotate.jobs import Jobs
        from sparse_seg.annotate.server import create_app
        from sparse_seg.annotate.session import Session
        from sparse_seg.annotate.state import Annotation
    except ImportError as error:
        raise UserError(EXTRA.format(error=error)) from error
    listening = _listen(options.host, options.port)
    port = int(listening.getsockname()[1])
    state = Annotation(options.folder, options.images, options.bands, options.scale, options.read_only)
    for why in state.imagery.damaged.values():
        print(why, file=sys.stderr)
    jobs = Jobs(state, options.encoder, options.encoder_weights, tuple(options.train))
    session = Session(state, jobs, options.check_every)
    token = "" if options.host in LOCAL and not options.token else options.token or secrets.token_urlsafe(16)
    shown = f"[{options.host}]" if ":" in options.host else options.host
    address = f"http://{shown}:{port}/" + (f"?token={token}" if token else "")
    session.start(lambda: _maps(state, options))
    print(f"{address}\nCtrl-C ends it; every click is kept", flush=True)
    if not options.no_browser:
        webbrowser.open(address)
    config = uvicorn.Config(
        create_app(session, port, token), log_level="warning", timeout_graceful_shutdown=1, server_header=False
    )
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        pass
    finally:
        session.end()
    return 0


def _listen(host: str, port: int) -> socket.socket:
    """A socket at an address. Raises UserError if it is taken or cannot be had."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()
    except (OSError, OverflowError) as error:
        way = "is a page open there? Give another --port"
        raise UserError(f"--port {port} at {host} cannot be used: {error}\n{way}") from error
    return listening


def _maps(state: "Annotation", options: argparse.Namespace) -> "Maps":
    from sparse_seg.annotate.imagery import USUAL
    from sparse_seg.annotate.maps import Maps  # from here on with torch, while the page can be clicked already
    from sparse_seg.networks.build import create

    weights = None if options.encoder_weights == "null" else options.encoder_weights
    bands = len(state.imagery.bands or USUAL)
    count = max(2, len(state.classes))
    return Maps(state.imagery, create("probe", options.encoder, weights, classes=count, in_channels=bands))


if __name__ == "__main__":
    sys.exit(main())
