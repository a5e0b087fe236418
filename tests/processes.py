"""Real processes for tests: `train.py` as a user calls it, and warm ones that save the seconds of importing torch."""

import contextlib
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TRAIN = ROOT / "train.py"
TIMEOUT = int(os.environ.get("TEST_TIMEOUT", "300"))  # seconds, after which a process counts as hanging
TINY = (
    "data=synthetic", "data.size=32", "data.source.images=6", "data.source.size=64", "data.batch_size=4",
    "data.val_fraction=0.34", "model.encoder=resnet18", "model.encoder_weights=null", "trainer=cpu",
    "trainer.max_epochs=2",
)  # fmt: skip
_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(
    [
        "lightning", "segmentation_models_pytorch", "tensorboard", "hydra", "sparse_seg.runs.run",
        "sparse_seg.training.task", "sparse_seg.training.checkpoint", "sparse_seg.networks.build",
        "sparse_seg.training.panels", "sparse_seg.data.datamodule",
    ]
)  # fmt: skip


@dataclass
class Ended:
    """How a process ended: exit code, or minus the signal that killed it; what it said."""

    code: int | None
    out: str
    err: str


def environment(**more: str) -> dict[str, str]:
    """This process's variables with one thread and `tests/` on the path, so that a command line can name `probes`."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent), **more}


def heed_ctrl_c() -> None:
    """For a child: a shell has its background jobs ignore Ctrl-C, and a process hands that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def started(*words: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """`python train.py words` in `cwd`; whatever is left of its process group is killed at the end."""
    command = [sys.executable, str(TRAIN), *words]
    popen: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    popen |= {"start_new_session": True, "preexec_fn": heed_ctrl_c}
    with subprocess.Popen(command, cwd=cwd, env=environment(), **popen) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def train(*words: str, cwd: Path) -> Ended:
    """Run `python train.py words` in `cwd`."""
    with started(*words, cwd=cwd) as process:
        out, err = process.communicate(timeout=TIMEOUT)
    return Ended(process.returncode, out, err)


def warm_train(*words: str, cwd: Path) -> Ended:
    """As `train`, in a process that is forked from one that has everything imported."""
    (ended,) = warm(_train, [(words,)], cwd)
    return ended


def warm(target: Callable[..., None], arguments: list[tuple[Any, ...]], cwd: Path) -> list[Ended]:
    """Run a function of a test module in one forked process per tuple of arguments, all at once."""
    processes, said = [], []
    for k, args in enumerate(arguments):
        said.append((cwd / f"stdout{k}", cwd / f"stderr{k}"))
        processes.append(_FORKING.Process(target=_in_process, args=(target, args, cwd, said[-1], environment())))
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join(TIMEOUT)
    finally:
        for process in processes:
            process.kill()
            process.join(TIMEOUT)
    read = [[path.read_text() for path in paths] for paths in said]
    return [Ended(p.exitcode, *texts) for p, texts in zip(processes, read, strict=True)]


def _in_process(
    target: Callable[..., None], args: tuple[Any, ...], cwd: Path, said: tuple[Path, Path], env: Mapping[str, str]
) -> None:
    import torch

    multiprocessing.set_start_method("fork", force=True)  # as in a process of its own, on Linux
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    for number, path in zip((1, 2), said, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    torch.set_num_threads(1)
    try:
        target(*args)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _train(words: tuple[str, ...]) -> None:
    sys.path.insert(0, str(ROOT))
    sys.argv = [str(TRAIN), *words]
    runpy.run_path(str(TRAIN), run_name="__main__")
