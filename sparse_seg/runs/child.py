"""A job of a sweep as a child process: its command, how it ended, and what is kept of that."""

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from sparse_seg.errors import UserError
from sparse_seg.files import write_text
from sparse_seg.runs import forked, identity
from sparse_seg.runs.folder import FAILED, is_finished, run_folder

Outcome = dict[str, Any]
"""status: "done", "done already" or "failed". seconds."""
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
ERROR = re.compile(r"error: |[\w.]+(Error|Exception)\b")
ECHOES = ("HYDRA_FULL_ERROR", "Connection closed by peer", "Connection reset by peer")
"""In what follows an error: Hydra's hint, and the ranks that lost the one which failed."""


@dataclass
class Child:
    """A job of a sweep as a command of its own, and what is kept of how it ended."""

    number: int
    overrides: list[str]
    folder: Path
    command: list[str]
    cfg: DictConfig
    choices: Mapping[str, str]

    @classmethod
    def of(cls, cfg: DictConfig) -> "Child":
        """The child of the job that Hydra's global configuration describes."""
        hydra = HydraConfig.get()
        overrides = list(hydra.overrides.task)
        command = [sys.executable, str(forked.TRAIN), "--config-name", str(hydra.job.config_name)]
        for source in hydra.runtime.config_sources:
            if source.provider == "command-line":
                command += ["--config-dir", source.path]
        command += [*overrides, *(o for o in hydra.overrides.hydra if o.startswith("hydra.searchpath"))]
        choices = dict(hydra.runtime.choices)
        command.append("hydra.mode=RUN")
        return cls(hydra.job.num + 1, overrides, run_folder(cfg, choices), command, cfg, choices)

    @property
    def forks(self) -> bool:
        """Whether it is started as a fork of a process that has imported what it needs."""
        return forked.possible(self.cfg)

    def skipped(self) -> Outcome:
        (self.folder / FAILED).unlink(missing_ok=True)
        print(f"done already: {self.folder}", flush=True)
        return {"status": "done already", "seconds": 0.0}

    def ended(self, code: int, error: str, seconds: float) -> Outcome:
        """Keep what went wrong as `failed.json` in the run's folder: which run it is, exit code, last line of error."""
        if code == 0:
            (self.folder / FAILED).unlink(missing_ok=True)
            return {"status": "done", "seconds": seconds}
        reason = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        error = error or reason
        print(f"job {self.number} failed ({reason}): {error}", file=sys.stderr, flush=True)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            run = {"axes": identity.axes(self.cfg, self.choices), "figures": identity.known_figures(self.cfg)}
            content = {"overrides": self.overrides, "reason": reason, "error": error, **run}
            write_text(self.folder / FAILED, json.dumps(content))
        except (OSError, UserError) as e:
            print(f"{self.folder} cannot be written: {e}", file=sys.stderr)
        return {"status": "failed", "seconds": seconds}


def run_job(cfg: DictConfig) -> Outcome:
    """Run the current job of a sweep in a child process.

    Returns its status ("done", "done already", "failed") and seconds; never raises for a failing job.
    """
    os.chdir(HydraConfig.get().runtime.cwd)  # a worker of Ray starts elsewhere
    child = Child.of(cfg)
    if is_finished(cfg, HydraConfig.get().runtime.choices, child.folder):
        return child.skipped()
    print(f"\njob {child.number}: {' '.join(child.overrides)}", flush=True)
    started = time.monotonic()
    code, error = run_child(child.command, fork=child.forks)
    return child.ended(code, error, time.monotonic() - started)


def end_with_parent() -> None:
    """Have Linux kill this process when its parent dies, however it dies; a run loses at most its current epoch.

    Slurm tells every process of a job that its time is up, by a signal that ends those which do not expect it; the
    job's own process answers it.
    """
    if _LIBC is not None:
        _LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, see prctl(2)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def run_child(command: list[str], fork: bool = False) -> tuple[int, str]:
    """Run a command with our screen; return its exit code and its last line of error, or else its last line there."""
    lines = []
    reading, writing = os.pipe()
    with open(reading, errors="replace") as said:
        try:
            child = start(command, writing, child_environment(), fork)
        finally:
            os.close(writing)
        try:
            for line in said:
                sys.stderr.write(line)
                sys.stderr.flush()
                lines.append(line)
            code = child.wait()
        except KeyboardInterrupt:
            child.terminate()
            child.wait()
            stopped_by_ctrl_c()
        except BaseException:  # Slurm takes this job's place away
            child.kill()
            child.wait()
            raise
    return code, last_error(lines)


Started = subprocess.Popen[bytes] | forked.Forked


def start(command: list[str], stderr: int, env: dict[str, str], fork: bool, quiet: bool = False) -> Started:
    """Start a job's command; it ends with this process.

    Args:
        command: this Python, a file, its words.
        stderr: a file descriptor for what it says there.
        env: its variables.
        fork: whether as a fork of a process that has imported what a run needs.
        quiet: whether what it prints is thrown away.
    """
    if fork:
        return forked.Forked(command, stderr, env, end_with_parent, quiet)
    shown = subprocess.DEVNULL if quiet else None
    return subprocess.Popen(command, stdout=shown, stderr=stderr, env=env, preexec_fn=end_with_parent)


def child_environment(**more: str) -> dict[str, str]:
    """This process's variables for a job's child.

    Without the one by which Lightning would take the job's task of Slurm, which is one process, for a rank.
    """
    return {k: v for k, v in os.environ.items() if k != "SLURM_NTASKS"} | more


def last_error(lines: Iterable[str]) -> str:
    """The last line of error in what a child said on its standard error, or else its last line there."""
    last, error = "", ""
    for line in lines:
        if line.strip() and not any(echo in line for echo in ECHOES):
            last = line.strip()
            error = last if ERROR.match(line) else error
    return error or last


def stopped_by_ctrl_c() -> NoReturn:
    print("the sweep was stopped by Ctrl-C; the same command goes on", file=sys.stderr)
    sys.exit(128 + signal.SIGINT)
