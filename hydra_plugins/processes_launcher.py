"""`hydra/launcher=processes`: several jobs of a sweep at once on this machine.

Hydra looks for plugins in packages of this name only.
"""

import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from sparse_seg.errors import UserError
from sparse_seg.runs import child as jobs
from sparse_seg.runs.folder import is_finished
from sparse_seg.runs.forked import visible_gpus

Slot = dict[str, str]
"""Variables of the process that runs a job: its GPUs, its CPU threads."""


@dataclass
class Running:
    """A job's child process, and where it runs."""

    config: DictConfig
    child: jobs.Child
    process: jobs.Started
    said: IO[bytes]
    slot: Slot
    started: float


class ProcessesLauncher(Launcher):
    """Runs up to `jobs` jobs at once, each a child process with its share of the GPUs or of the CPU threads.

    jobs: how many; null: `jobs_per_gpu` on each GPU, or without a GPU one for every two cores.
    jobs_per_gpu: small networks leave most of a GPU idle.

    What a job prints is in its log.txt; on the screen there is a line when it starts and one when it ends.
    """

    def __init__(self, jobs: int | None = None, jobs_per_gpu: int = 1) -> None:
        self.jobs, self.jobs_per_gpu = jobs, jobs_per_gpu

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        setup_globals()
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        trainer = self.config.trainer
        try:
            free = slots(self.jobs, self.jobs_per_gpu, trainer.devices, str(trainer.accelerator))
        except UserError as e:
            print(f"error: {e}", file=sys.stderr)
            raise SystemExit(1) from None
        print(f"{len(free)} jobs at a time", flush=True)
        waiting = deque(enumerate(job_overrides, initial_job_idx))
        running: list[Running] = []
        returns: dict[int, JobReturn] = {}
        try:
            while waiting or running:
                while waiting and free:
                    number, overrides = waiting.popleft()
                    config, cfg = self._configured(number, overrides)
                    child = jobs.Child.of(cfg)
                    if is_finished(cfg, HydraConfig.get().runtime.choices, child.folder):
                        returns[number] = self._ended(config, child.skipped())
                        continue
                    running.append(_start(config, child, free.pop(0)))
                for job in [job for job in running if job.process.poll() is not None]:
                    running.remove(job)
                    free.append(job.slot)
                    returns[job.child.number - 1] = self._ended(job.config, _outcome(job))
                time.sleep(0.1)
        except KeyboardInterrupt:
            for job in running:
                job.process.terminate()
            for job in running:
                job.process.wait()
            jobs.stopped_by_ctrl_c()
        return [returns[number] for number in sorted(returns)]

    def _configured(self, number: int, overrides: Sequence[str]) -> tuple[DictConfig, DictConfig]:
        """A job's configuration, with Hydra's part and without."""
        config = self.context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        HydraConfig.instance().set_config(config)
        return config, OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])

    def _ended(self, config: DictConfig, outcome: jobs.Outcome) -> JobReturn:
        result = JobReturn(overrides=list(config.hydra.overrides.task), cfg=config, status=JobStatus.COMPLETED)
        result.return_value = outcome
        self.context.callbacks.on_job_end(config=config, job_return=result)
        return result


def _start(config: DictConfig, child: jobs.Child, slot: Slot) -> Running:
    where = f" on GPU {slot['CUDA_VISIBLE_DEVICES']}" if "CUDA_VISIBLE_DEVICES" in slot else ""
    print(f"job {child.number} starts{where}: {' '.join(child.overrides)}", flush=True)
    said = tempfile.TemporaryFile()  # noqa: SIM115  # a pipe would have to be emptied all the time
    process = jobs.start(child.command, said.fileno(), jobs.child_environment(**slot), child.forks, quiet=True)
    return Running(config, child, process, said, slot, time.monotonic())


def _outcome(job: Running) -> jobs.Outcome:
    with job.said:
        job.said.seek(0)
        lines = job.said.read().decode(errors="replace").splitlines()
    outcome = job.child.ended(job.process.wait(), jobs.last_error(lines), time.monotonic() - job.started)
    if outcome["status"] == "done":
        print(f"job {job.child.number} done in {outcome['seconds']:.0f} s", flush=True)
    return outcome


def slots(jobs: int | None, jobs_per_gpu: int, devices: Any, accelerator: str) -> list[Slot]:
    """One entry per job that may run at once, those of different GPUs first.

    devices: of each job: a number, "auto" or -1 for all.
    Raises UserError for numbers that are not positive, and for a job that wants more GPUs than there are.
    """
    for name, value in (("jobs", jobs), ("jobs_per_gpu", jobs_per_gpu)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise UserError(f"hydra.launcher.{name}={value!r} must be a positive integer")
    gpus = [] if accelerator == "cpu" else visible_gpus()
    if devices not in ("auto", "-1", -1) and (not isinstance(devices, int) or devices < 1):
        raise UserError(f"trainer.devices={devices!r} must be a number here; which devices, the launcher decides")
    each = devices if isinstance(devices, int) and devices > 0 else max(len(gpus), 1)
    if gpus and each > len(gpus):
        raise UserError(f"trainer.devices={devices} is more than the {len(gpus)} GPUs of this machine")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    groups = [gpus[i : i + each] for i in range(0, len(gpus) - each + 1, each)] if gpus else []
    count = jobs or (len(groups) * jobs_per_gpu if groups else max(cores // 2, 1))
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(max(cores // (count * each), 1))}
    if not groups:
        return [dict(threads) for _ in range(count)]
    return [threads | {"CUDA_VISIBLE_DEVICES": ",".join(groups[i % len(groups)])} for i in range(count)]
