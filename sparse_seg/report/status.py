"""How the runs of a study stand, from what lies in their folders."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from tabulate import tabulate

from sparse_seg.errors import UserError


@dataclass(frozen=True)
class Run:
    """state: done, failed, running or unfinished. epochs: those that history.csv holds. detail: the error, if any."""

    folder: Path
    state: str
    epochs: int
    detail: str = ""

    @property
    def axes(self) -> dict[str, str]:
        """What the folder's name says: loss=focal,points=20,… as a dict."""
        return dict(part.split("=", 1) for part in self.folder.name.split(",") if "=" in part)


def runs_of(folder: Path) -> list[Run]:
    """The runs of a study's folder, by name. Raises UserError if there is no such folder."""
    if not folder.is_dir():
        raise UserError(f"there is no study in {folder}; --outputs DIR names the folder of all studies")
    return [_state(p) for p in sorted(folder.iterdir()) if p.is_dir() and _is_run(p)]


def _is_run(folder: Path) -> bool:
    return any((folder / n).exists() for n in ("result.json", "failed.json", "config.yaml", "owner", "history.csv"))


def _state(folder: Path) -> Run:
    epochs = _epochs(folder / "history.csv")
    if (folder / "result.json").exists():
        return Run(folder, "done", epochs)
    if _is_held(folder):
        return Run(folder, "running", epochs)
    failed = folder / "failed.json"
    if failed.exists():
        return Run(folder, "failed", epochs, _error(failed))
    return Run(folder, "unfinished", epochs)


def _epochs(history: Path) -> int:
    try:
        with history.open(newline="", encoding="utf-8") as f:
            return sum(1 for _ in csv.DictReader(f))
    except OSError:
        return 0


def _is_held(folder: Path) -> bool:
    """True if a process holds the run's lock, on this machine or another one that shares the folder."""
    if not (folder / "owner").exists():
        return False
    try:
        with FileLock(folder / ".lock", timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # somebody else's folder, in which only reading is allowed
        return True


def _error(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["error"])
    except (OSError, ValueError, KeyError, TypeError):
        return "failed.json cannot be read"


def table(runs: list[Run]) -> str:
    """A row per run and the count of each state."""
    counts = {s: sum(r.state == s for r in runs) for s in ("done", "running", "failed", "unfinished")}
    rows = [[r.folder.name, r.state, r.epochs or "", r.detail] for r in runs]
    text = tabulate(rows, headers=["run", "state", "epochs", "error"])
    return f"{text}\n\n{len(runs)} runs: " + ", ".join(f"{n} {s}" for s, n in counts.items())
