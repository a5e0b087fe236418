"""How the runs of a study stand, from what lies in their folders; the names of these say nothing."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sparse_seg.errors import UserError
from sparse_seg.report.configuration import Flat, agree, axes_of


@dataclass(frozen=True)
class Run:
    """state: done, failed, running or unfinished. epochs: those that history.csv holds. detail: the error, if any."""

    folder: Path
    state: str
    epochs: int
    detail: str = ""

    @property
    def axes(self) -> Flat:
        """Study, method, loss, points, augment, split, fold, seed of a run without a result; empty if it says none."""
        return axes_of(self._said.get("axes", {}), self.figures)

    @property
    def figures(self) -> Flat:
        """Its configuration, as far as it was known; empty if it says none."""
        return dict(self._said.get("figures", {}))

    @cached_property
    def _said(self) -> Flat:
        failed, claimed = _read(self.folder / "failed.json", json.loads), _read(self.folder / "config.yaml", _yaml)
        if not failed or not claimed:
            return failed or claimed
        # What `auto` came to is known to the run alone; it may have been another one that had the folder before.
        same = agree(failed["figures"], claimed["figures"])
        return failed if self.state == "failed" and not same else claimed


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
    from filelock import FileLock, Timeout

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


def _read(path: Path, parse: Callable[[str], Any]) -> Flat:
    """What a file says of its run: axes and figures; empty if it is not there or says neither, as older ones do."""
    try:
        said = parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    known = isinstance(said, dict) and all(isinstance(said.get(k), dict) for k in ("axes", "figures"))
    return said if known else {}


def _yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as e:
        raise ValueError(str(e)) from e


def table(runs: list[Run]) -> str:
    """A row per run and the count of each state."""
    from tabulate import tabulate

    counts = {s: sum(r.state == s for r in runs) for s in ("done", "running", "failed", "unfinished")}
    rows = [[r.folder.name, r.state, r.epochs or "", r.detail] for r in runs]
    text = tabulate(rows, headers=["run", "state", "epochs", "error"])
    return f"{text}\n\n{len(runs)} runs: " + ", ".join(f"{n} {s}" for s, n in counts.items())
