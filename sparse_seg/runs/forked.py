"""A job as a fork of a process that has imported what a run needs: a process of its own without the wait for imports.

One process of the sweep imports, and runs nothing; each job is a copy of it. The sweep itself imports no torch.
"""

import contextlib
import multiprocessing
import os
import runpy
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection, wait
from pathlib import Path

from omegaconf import DictConfig

TRAIN = Path(__file__).resolve().parents[2] / "train.py"
IMPORTED = ["sparse_seg.runs.fit", "sparse_seg.runs.run"]
_FORKING = multiprocessing.get_context("forkserver") if sys.platform == "linux" else None


def possible(cfg: DictConfig) -> bool:
    """Whether a job can be a fork here: on Linux, started by train.py itself, of one process, and without a GPU.

    A launcher's worker is another program, of which a fork would be one, too. DDP starts its processes by repeating a
    command line. CUDA cannot be used in a fork of a process that has asked it for its devices, and what is imported may
    ask.
    """
    here = getattr(sys.modules["__main__"], "__file__", None)
    if _FORKING is None or here is None or Path(here).resolve() != TRAIN:
        return False
    trainer = {"num_nodes": 1, **(cfg.get("trainer") or {})}
    alone = trainer.get("devices") == 1 and trainer["num_nodes"] == 1
    return alone and (trainer.get("accelerator") == "cpu" or not visible_gpus())


class Forked:
    """A Python program's command in a fork; what `subprocess.Popen` has, as far as jobs need it.

    Args:
        command: as for `Popen`: this Python, a file, its words.
        stderr: a file descriptor for what it says there.
        env: its variables. Those of the first one are there when libraries are imported.
        prepare: called in the fork before anything else.
        quiet: whether what it prints is thrown away.
    """

    def __init__(
        self, command: list[str], stderr: int, env: Mapping[str, str], prepare: Callable[[], None], quiet: bool = False
    ) -> None:
        assert _FORKING is not None
        _FORKING.set_forkserver_preload(IMPORTED)
        said = Connection(os.dup(stderr), readable=False)  # which is how a descriptor is handed over
        try:
            self._process = _FORKING.Process(target=_run, args=(command, said, dict(env), prepare, quiet))
            with _variables(env):
                self._process.start()
        finally:
            said.close()

    @property
    def returncode(self) -> int | None:
        """Its exit code, or minus the signal that ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self) -> int:
        self._process.join()
        assert self.returncode is not None
        return self.returncode

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()


@contextlib.contextmanager
def _variables(env: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    _become(env)
    try:
        yield
    finally:
        _become(before)


def _become(env: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(env)


def _run(command: list[str], said: Connection, env: dict[str, str], prepare: Callable[[], None], quiet: bool) -> None:
    prepare()
    threading.Thread(target=_end_with_sweep, daemon=True).start()
    multiprocessing.set_start_method("fork", force=True)  # of a DataLoader's workers, as in a process of its own
    os.dup2(said.fileno(), 2)
    said.close()
    if quiet:
        with open(os.devnull, "w", encoding="utf-8") as nothing:
            os.dup2(nothing.fileno(), 1)
    _become(env)
    sys.argv = command[1:]
    runpy.run_path(command[1], run_name="__main__")


def _end_with_sweep() -> None:
    """The process that forked us lives as long as we do, so its end does not tell us of the sweep's."""
    sweep = multiprocessing.parent_process()
    assert sweep is not None
    wait([sweep.sentinel])
    os.kill(os.getpid(), signal.SIGKILL)


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, by number or name; found without importing torch."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name for name in given.split(",") if name.strip()]
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    found = subprocess.run(query, capture_output=True, text=True, check=False)
    return found.stdout.split() if found.returncode == 0 else []
