"""A sweep: each job is the same command as a child process, without -m.

That isolates jobs: a crash, the kernel's out-of-memory kill or the end of a DDP group ends one job, and the processes
that DDP starts by repeating the command line repeat one job's, never the sweep's. The parent imports no torch.
"""

import ctypes
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from hydra import compose
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict
from tabulate import tabulate

from sparse_seg.errors import UserError
from sparse_seg.files import write_text
from sparse_seg.runs import schema
from sparse_seg.runs.folder import finished, run_folder

Outcome = dict[str, Any]
TRAIN = Path(__file__).resolve().parents[2] / "train.py"
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
FAILED = "failed.json"
EXTRAS = {"submitit": "slurm", "ray": "ray"}
"""The extra of this project that holds a launcher's package."""
SHOWN = ("loss", "points", "augment", "seed")
POINTS_NOTE = "Scores with a point accuracy are of held-out points alone: there are no masks, so no mIoU of full masks."
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

    @classmethod
    def of(cls, cfg: DictConfig) -> "Child":
        """The child of the job that Hydra's global configuration describes."""
        hydra = HydraConfig.get()
        overrides = list(hydra.overrides.task)
        command = [sys.executable, str(TRAIN), "--config-name", str(hydra.job.config_name)]
        for source in hydra.runtime.config_sources:
            if source.provider == "command-line":
                command += ["--config-dir", source.path]
        command += [*overrides, *(o for o in hydra.overrides.hydra if o.startswith("hydra.searchpath"))]
        return cls(hydra.job.num + 1, overrides, run_folder(cfg, hydra.runtime.choices), [*command, "hydra.mode=RUN"])

    def skipped(self) -> Outcome:
        (self.folder / FAILED).unlink(missing_ok=True)
        print(f"done already: {self.folder}", flush=True)
        return {"status": "done already", "seconds": 0.0}

    def ended(self, code: int, error: str, seconds: float) -> Outcome:
        """Keep what went wrong as `failed.json` in the run's folder: overrides, exit code, last line of error."""
        if code == 0:
            (self.folder / FAILED).unlink(missing_ok=True)
            return {"status": "done", "seconds": seconds}
        reason = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        error = error or reason
        print(f"job {self.number} failed ({reason}): {error}", file=sys.stderr, flush=True)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            content = {"overrides": self.overrides, "reason": reason, "error": error}
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
    if is_finished(cfg, child.folder):
        return child.skipped()
    print(f"\njob {child.number}: {' '.join(child.overrides)}", flush=True)
    started = time.monotonic()
    code, error = _run_child(child.command)
    return child.ended(code, error, time.monotonic() - started)


def is_finished(cfg: DictConfig, folder: Path) -> bool:
    try:
        return not cfg.overwrite and finished(cfg, HydraConfig.get().runtime.choices, folder)
    except UserError:
        return False  # the child will say what is wrong


def end_with_parent() -> None:
    """Have Linux kill this process when its parent dies, however it dies; a run loses at most its current epoch.

    Slurm tells every process of a job that its time is up, by a signal that ends those which do not expect it; the
    job's own process answers it.
    """
    if _LIBC is not None:
        _LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, see prctl(2)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def _run_child(command: list[str]) -> tuple[int, str]:
    """Run a command with our screen; return its exit code and its last line of error, or else its last line there."""
    lines = []
    pipe = subprocess.PIPE
    child = subprocess.Popen(
        command, stderr=pipe, text=True, errors="replace", preexec_fn=end_with_parent, env=child_environment()
    )
    assert child.stderr is not None
    try:
        for line in child.stderr:
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
    finally:
        child.stderr.close()
    return code, last_error(lines)


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


@dataclass
class Job:
    """One cell of a sweep."""

    overrides: list[str]
    folder: Path
    cfg: DictConfig
    choices: Mapping[str, str]


class SweepCallback(Callback):
    """Says at the start what is done, after each job how long the rest takes, and at the end what came out."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.statuses: list[str] = []
        self.started = time.monotonic()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        _narrow(config)
        try:
            _check_extra(config.hydra.launcher._target_)
            self.jobs = _expand(config)
        except UserError as e:
            print(f"error: {e}", file=sys.stderr)
            raise SystemExit(1) from None
        except HydraException:
            return  # Hydra prints the same error when it composes the first job
        done = sum(_finished_job(job) for job in self.jobs if not job.cfg.overwrite)
        print(f"{len(self.jobs)} runs, {done} of them done already", flush=True)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        outcome = getattr(job_return, "_return_value", None)
        if not self.jobs or not isinstance(outcome, dict):
            return
        self.statuses.append(outcome["status"])
        done = self.statuses.count("done")
        rest = sum(not (j.folder / "result.json").exists() for j in self.jobs) - self.statuses.count("failed")
        left = ""
        if done and rest > 0:
            left = f"; about {_duration(rest * (time.monotonic() - self.started) / done)} left for {rest}"
        print(f"{len(self.statuses)} of {len(self.jobs)} runs ended{left}", flush=True)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        if not self.jobs:
            return
        print("\n" + table(self.jobs), flush=True)
        if failed := [job for job in self.jobs if not _succeeded(job)]:
            print(
                f"\n{len(failed)} of {len(self.jobs)} runs failed; the same command tries them again:", file=sys.stderr
            )
            for job in failed:
                print(f"  {' '.join(job.overrides)}\n    {_why(job)}", file=sys.stderr)
            raise SystemExit(1)


def _succeeded(job: Job) -> bool:
    return (job.folder / "result.json").exists() and not (job.folder / FAILED).exists()


def _finished_job(job: Job) -> bool:
    try:
        return finished(job.cfg, job.choices, job.folder)
    except UserError:
        return False


def _why(job: Job) -> str:
    path = job.folder / FAILED
    error = json.loads(path.read_text())["error"] if path.exists() else "it did not end"
    log = job.folder / "log.txt"
    return f"{error}" + (f"\n    log: {log}" if log.exists() else "")


def _check_extra(launcher: str) -> None:
    package = launcher.rpartition(".")[0].rpartition(".")[0]
    if launcher.startswith("hydra_plugins.") and importlib.util.find_spec(package) is None:
        extra = next((name for name in ("ray", "submitit") if name in launcher), "")
        raise UserError(
            f"this launcher needs {package.rpartition('.')[2].replace('_', '-')}, which is not installed; "
            f"pip install -e '.[{EXTRAS.get(extra, extra)}]'"
        )


def _narrow(config: DictConfig) -> None:
    """A value on the command line replaces the experiment's grid of that key; Hydra would combine the two."""
    given = {o.lstrip("+~").split("=")[0] for o in config.hydra.overrides.task}
    with open_dict(config):
        for key in [k for k in config.hydra.sweeper.params or {} if k in given]:
            del config.hydra.sweeper.params[key]


def _expand(config: DictConfig) -> list[Job]:
    """The jobs that Hydra's own sweeper will make of the command line; none for another sweeper."""
    if not config.hydra.sweeper._target_.endswith("BasicSweeper"):
        return []
    given = config.hydra.sweeper.params or {}
    words = [*(f"{k}={v}" for k, v in given.items()), *config.hydra.overrides.task]
    batches = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(words), None)
    jobs = []
    for overrides in (list(job) for batch in batches for job in batch):
        cfg = compose(config.hydra.job.config_name, overrides=overrides, return_hydra_config=True)
        choices = dict(cfg.hydra.runtime.choices)
        with open_dict(cfg):
            del cfg["hydra"]
        try:
            schema.check(cfg)
        except UserError as e:
            raise UserError(f"{e} (in the run {' '.join(overrides)})") from None
        jobs.append(Job(overrides, run_folder(cfg, choices), cfg, choices))
    _check_points_files(jobs)
    return jobs


def _check_points_files(jobs: Sequence[Job]) -> None:
    """Refuse runs that differ in points= alone and train on the same file of points, all of them on all of it."""
    counts: dict[str, set[str]] = {}
    for job in jobs:
        if job.cfg.data.points_file is not None and "points_file" not in job.cfg.data.source:
            counts.setdefault(str(job.cfg.data.points_file), set()).add(str(job.cfg.points))
    for path, values in counts.items():
        if len(values) > 1:
            raise UserError(
                f"all points of data.points_file={path} are used, whatever points= says: "
                f"points={','.join(sorted(values, key=int))} would be one and the same run; give one value"
            )


def _axes(job: Job) -> dict[str, str]:
    return {key: str(job.choices[key] if key in job.choices else job.cfg[key]) for key in SHOWN}


def table(jobs: list[Job]) -> str:
    """A row per run: axes, what else was varied, final and best mIoU, IoU per class of the last epoch."""
    # Not from the folder's name, which is cut where it would be too long.
    names = [_axes(job) | dict(o.lstrip("+~").split("=", 1) for o in job.overrides if "=" in o) for job in jobs]
    keys = list(dict.fromkeys(k for name in names for k in name))
    varied = [k for k in keys if k in SHOWN or len({name.get(k) for name in names}) > 1]
    rows, scored_on_points = [], False
    for job, name in zip(jobs, names, strict=True):
        row: dict[str, Any] = {k.removeprefix("data."): name.get(k, "") for k in varied}
        if _succeeded(job):
            result = json.loads((job.folder / "result.json").read_text(encoding="utf-8"))
            scores = {"final mIoU": result["miou_final"], "best mIoU": result["miou_best"], **result["iou"]}
            if result.get("scored_on") == "points":
                scored_on_points = True
                scores = {"point accuracy": result["accuracy"]} | scores
            row |= {name: "—" if score is None else f"{score:.4f}" for name, score in scores.items()}
        else:
            row |= {"final mIoU": "failed"}
        rows.append(row)
    columns = len({name for row in rows for name in row})
    align = ["left"] * len(varied) + ["right"] * (columns - len(varied))
    text = tabulate(rows, headers="keys", missingval="—", disable_numparse=True, colalign=align)
    return text + ("\n" + POINTS_NOTE if scored_on_points else "")


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
