"""A process that gives files to the product's entry points, one after the other, and says what became of each.

It reads a line of JSON for each job, {"entry", "words"}, and answers with one.
"""

import io
import json
import os
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sparse_seg.data.__main__ import main as data_main
from sparse_seg.data.datamodule import SparsePointsDataModule
from sparse_seg.data.folder import folder
from sparse_seg.errors import UserError
from sparse_seg.networks.found import find_checkpoint
from sparse_seg.networks.trained import load_trained
from sparse_seg.predict.__main__ import main as predict_main
from sparse_seg.suggest.__main__ import main as suggest_main

HANGS = 20
"""Seconds on the clock after which a job is stopped."""
ROOM = 3 * 2**30
"""Bytes of address space that a job may take on top; beyond that allocations fail."""


def set_up(root: str, points_file: str | None = None) -> int:
    """What training does before its first step. The product's own warnings go to a run's log, not to the screen."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        SparsePointsDataModule(
            folder(root), points=5, size=32, batch_size=2, points_file=points_file, allow_empty_classes=True
        ).setup()
    for w in caught:
        if not (issubclass(w.category, UserWarning) and "/sparse_seg/" in w.filename):
            warnings.warn_explicit(w.message, w.category, w.filename, w.lineno)
    return 0


def load(run: str) -> int:
    load_trained(find_checkpoint(Path(run)))
    return 0


def inspect(*words: str) -> int:
    return data_main(["inspect", *words])


def predict(*words: str) -> int:
    return predict_main([*words, "--device", "cpu", "--precision", "32"])


def suggest(*words: str) -> int:
    return suggest_main([*words, "--device", "cpu", "--precision", "32"])


ENTRIES: dict[str, Callable[..., int]] = {f.__name__: f for f in (set_up, load, inspect, predict, suggest)}


def main() -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, whatever library it is in
    limit = _status("VmSize") * 1024 + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with os.fdopen(os.dup(1), "w") as out:
        for line in sys.stdin:
            job = json.loads(line)
            signal.alarm(HANGS)
            done = run(ENTRIES[job["entry"]], job["words"])
            signal.alarm(0)
            print(json.dumps(done), file=out, flush=True)


def run(entry: Callable[..., int], words: list[str]) -> dict[str, Any]:
    """code: None if an exception got through. said: all that came on the screen. s: seconds on the clock. mb: on top of
    what was there.
    """
    began, before = time.perf_counter(), _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    with captured() as said:
        try:
            code: int | None = entry(*words)
            refusal = ""
        except UserError as error:
            code, refusal = 2, str(error)
        except SystemExit as error:
            code, refusal = None, f"SystemExit({error.code})"
        except BaseException:
            code, refusal = None, traceback.format_exc()
    mb = (_status("VmHWM") - before) / 1024
    return {"code": code, "refusal": refusal, "said": said.getvalue(), "s": time.perf_counter() - began, "mb": mb}


@contextmanager
def captured() -> Iterator[io.StringIO]:
    """All that Python and any library writes to the screen."""
    said = io.StringIO()
    kept = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            yield said
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, old in zip((1, 2), kept, strict=True):
                os.dup2(old, number)
                os.close(old)
            file.seek(0)
            said.write(file.read().decode(errors="replace"))


def _status(key: str) -> int:
    """kB, as Linux says."""
    match = re.search(rf"{key}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert match is not None
    return int(match[1])


if __name__ == "__main__":
    main()
