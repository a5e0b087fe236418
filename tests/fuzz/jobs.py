"""Files given to the product's entry points in a process of their own, and what must hold of each."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MEGABYTES = 600
"""On top of what Python and its libraries take."""
SECONDS = 15
LONGEST = 2000
"""Characters of a line on the screen."""
NOISE = ("Warning", "Traceback", "ERROR ", "warn(", "libtiff", "libpng", "Exception")


@dataclass(frozen=True)
class Job:
    """name: of the case. entry: of `worker.ENTRIES`. words: its arguments. file: what a refusal must name."""

    name: str
    entry: str
    words: tuple[str, ...]
    file: str


class Worker:
    """The process; a new one after one that died."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def faults(self, jobs: Iterable[Job]) -> list[str]:
        """What is wrong with each job, a line or more per fault."""
        return [fault for job in jobs for fault in self._faults(job)]

    def _faults(self, job: Job) -> list[str]:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps({"entry": job.entry, "words": job.words}), file=process.stdin, flush=True)
        if line := process.stdout.readline():
            return _of(job, json.loads(line))
        self._process = None
        return [f"{job.name} ({job.entry}): ended the process with {process.wait()}"]

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
            environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
            command = [sys.executable, str(Path(__file__).with_name("worker.py"))]
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(
                command, env=environment, cwd=self._folder, stdin=pipe, stdout=pipe, text=True
            )
        return self._process

    def close(self) -> None:
        if self._process is not None:
            self._process.communicate()


def _of(job: Job, line: dict[str, Any]) -> list[str]:
    """What is wrong with one job."""
    where, found = f"{job.name} ({job.entry})", []
    said = [text for text in line["said"].splitlines() if text.strip()]
    at = next((k for k, text in enumerate(said) if text.startswith("error: ")), len(said))
    refusal = line["refusal"].splitlines() if job.entry in ("set_up", "load") else said[at : at + 2]
    if line["code"] is None:
        return [f"{where}: an exception, {line['refusal'].strip()[-700:]}"]
    if line["code"] and not 1 <= len(refusal) <= 2:
        found.append(f"{where}: refused in {len(refusal)} lines, {refusal[:3]!r:.300}")
    elif line["code"] and not any(job.file in text for text in refusal):
        found.append(f"{where}: does not name {job.file}, {refusal!r:.300}")
    if max(map(len, (*refusal, *said)), default=0) > LONGEST:
        found.append(f"{where}: a line of {max(map(len, (*refusal, *said)))} characters, {(*refusal, *said)!r:.200}")
    if job.entry in ("set_up", "load") and said:
        found.append(f"{where}: on the screen, {said!r:.400}")
    noise = [text for text in said if any(word in text for word in NOISE)]
    found += [f"{where}: on the screen, {text:.300}" for text in noise]
    if line["mb"] > MEGABYTES:
        found.append(f"{where}: {line['mb']:.0f} MB")
    if line["s"] > SECONDS:
        found.append(f"{where}: {line['s']:.0f} s")
    return found
