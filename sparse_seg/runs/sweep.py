"""A sweep: each job is the same command as a child process, without -m.

That isolates jobs: a crash, the kernel's out-of-memory kill or the end of a DDP group ends one job, and the processes
that DDP starts by repeating the command line repeat one job's, never the sweep's. The parent imports no torch.
"""

import importlib.util
import json
import sys
import time
from typing import Any

from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from sparse_seg.errors import UserError
from sparse_seg.runs.folder import FAILED, is_finished
from sparse_seg.runs.jobs import Job, expand, narrow
from sparse_seg.runs.overview import table
from sparse_seg.runs.sources import forget

EXTRAS = {"submitit": "slurm", "ray": "ray"}
"""The extra of this project that holds a launcher's package."""


class SweepCallback(Callback):
    """Says at the start what is done, after each job how long the rest takes, and at the end what came out."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.statuses: list[str] = []
        self.started = time.monotonic()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        narrow(config)
        forget()
        try:
            check_extra(config.hydra.launcher._target_)
            self.jobs = expand(config)
        except UserError as e:
            print(f"error: {e}", file=sys.stderr)
            raise SystemExit(1) from None
        except HydraException:
            return  # Hydra prints the same error when it composes the first job
        done = sum(is_finished(job.cfg, job.choices, job.folder) for job in self.jobs)
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
        if failed := [job for job in self.jobs if not job.succeeded]:
            print(
                f"\n{len(failed)} of {len(self.jobs)} runs failed; the same command tries them again:", file=sys.stderr
            )
            for job in failed:
                print(f"  {' '.join(job.overrides)}\n    {_why(job)}", file=sys.stderr)
            raise SystemExit(1)


def _why(job: Job) -> str:
    path = job.folder / FAILED
    error = json.loads(path.read_text())["error"] if path.exists() else "it did not end"
    log = job.folder / "log.txt"
    return f"{error}" + (f"\n    log: {log}" if log.exists() else "")


def check_extra(launcher: str) -> None:
    package = launcher.rpartition(".")[0].rpartition(".")[0]
    if launcher.startswith("hydra_plugins.") and importlib.util.find_spec(package) is None:
        extra = next((name for name in ("ray", "submitit") if name in launcher), "")
        raise UserError(
            f"this launcher needs {package.rpartition('.')[2].replace('_', '-')}, which is not installed; "
            f"pip install -e '.[{EXTRAS.get(extra, extra)}]'"
        )


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
