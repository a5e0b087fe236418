"""Training and labelling as child processes of the page: the commands of the command line, and no others."""

import csv
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections import deque
from concurrent.futures import Future
from pathlib import Path

from sparse_seg.annotate.state import Annotation
from sparse_seg.errors import UserError
from sparse_seg.points.text import nfc
from sparse_seg.predict.inputs import find_images, find_targets
from sparse_seg.runs.child import child_environment, end_with_parent
from sparse_seg.runs.forked import TRAIN

KINDS = ("train", "predict")
LARGE = 2048
"""Side of an image above which training cuts it into windows."""
LINES = 200
TITLES = {"train": "train", "predict": "write maps"}
"""The jobs that there are, as the page names them."""
FEW, MANY = 500, 2_500
"""Points below which the classes' shares are left as they are, and from which they are corrected in full."""
MAPS = "maps"
"""Folder within the data's that class maps are written to."""


class Jobs:
    """One child process at a time.

    Args:
        state: whose folder is trained on.
        encoder, weights: words of `model`, as the page's probe has them.
        more: words for training, after all others.

    Attributes:
        kind, command: of the last job; "" and [] before the first.
        lines: the last ones that it said.
        ended: how many have ended.
    """

    def __init__(self, state: Annotation, encoder: str, weights: str, more: tuple[str, ...] = ()) -> None:
        self.state, self.encoder, self.weights, self.more = state, encoder, weights, more
        self.kind, self.command = "", list[str]()
        self.ended = 0
        self.lines: deque[str] = deque(maxlen=LINES)
        self._child: subprocess.Popen[str] | None = None
        self._stopped = False
        self._lock = threading.Lock()

    @property
    def study(self) -> str:
        """The study of these runs, named by the folder and where it lies: another one of this name is another study."""
        root = self.state.root.resolve()
        name = re.sub(r"[^\w.-]", "_", nfc(root.name)) or "data"
        return f"annotate-{name}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:6]}"

    def command_of(self, kind: str) -> list[str]:
        """The words of a job's command.

        Raises:
            UserError: no such job, too few points, or no finished training to label with.
        """
        state = self.state
        if kind == "train":
            if sum(n > 0 for n in state.counts()) < 2:
                raise UserError("training needs points of two classes")
            words = ["data=folder", f"data.root={_quoted(str(state.root.resolve()))}", "data.masks=null", "points=all"]
            words += [] if state.pattern == "images" else [f"data.images={_quoted(state.pattern)}"]
            if state.imagery.bands is not None:
                words.append(f"data.bands=[{','.join(map(str, state.imagery.bands))}]")
            if state.imagery.scale is not None:
                words.append(f"data.scale=[{','.join(f'{v:g}' for v in state.imagery.scale)}]")
            if any(max(p.height, p.width) > LARGE for p in state.imagery.pictures.values()):
                words.append("data.tile=256")
            if 0 in state.counts():  # a class may be named before its first click
                words.append("data.allow_empty_classes=true")
            if not any(word.startswith("prior") for word in self.more):  # by what docs/results has of few points
                count = sum(state.counts())
                words += ["prior=none"] if count < FEW else ["prior.tau=0.5"] if count < MANY else []
            words += [f"model.encoder={self.encoder}", f"model.encoder_weights={_quoted(self.weights)}"]
            return [sys.executable, str(TRAIN), *words, f"study={self.study}", *self.more, "experiment=best"]
        if kind == "predict":
            run = self.finished()
            if run is None:
                raise UserError("there is no finished training yet: train first")
            images, out = map(str, self._images()), str(self.maps)
            return [sys.executable, "-m", "sparse_seg.predict", str(run), *images, "--out", out, "--confidence"]
        raise UserError(f"there is no job {kind}")

    @property
    def maps(self) -> Path:
        """The folder that maps are written to."""
        return self.state.root.resolve() / MAPS

    def _images(self) -> list[Path]:
        """What is labelled: the folder of images, or each of them."""
        root, files = self.state.root.resolve(), self.state.files.images
        return [root / "images"] if self.state.pattern == "images" else sorted({p.resolve() for p in files.values()})

    def written(self) -> dict[str, Path]:
        """Image → its map, of those that were written."""
        targets = find_targets(find_images(self._images(), self.maps), self.maps)
        found = {path.resolve(): target for path, target in targets.items() if target.is_file()}
        return {k: found[p.resolve()] for k, p in self.state.files.images.items() if p.resolve() in found}

    def shown(self, kind: str) -> str:
        """The command of a job, ready to copy; "" where it cannot be run now."""
        try:
            return shlex.join(self.command_of(kind))
        except UserError:
            return ""

    def start(self, kind: str) -> None:
        """Start a job. Raises UserError as `command_of` does, or if one runs."""
        if self.state.read_only:
            raise UserError("the page is read-only")
        with self._lock:
            if self.running:
                raise UserError(f"{TITLES[self.kind]} is running: stop it first")
            self.state.save()
            self.kind, self.command, self._stopped = kind, self.command_of(kind), False
            self.lines.clear()
            started: Future[subprocess.Popen[str]] = Future()
            threading.Thread(target=self._run, args=(self.command, started), daemon=True).start()
            self._child = None  # of an earlier job, should this one not start
            self._child = started.result()

    def stop(self) -> None:
        """End the job; training goes on from its last epoch with the same command."""
        with self._lock:
            if self._child is not None and self.running:
                self._stopped = True
                self._child.terminate()
                try:
                    self._child.wait(20)
                except subprocess.TimeoutExpired:
                    self._child.kill()
                    self._child.wait()

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def status(self) -> str:
        """In words: how the last job stands."""
        if self._child is None:
            return ""
        title = TITLES[self.kind]
        if self.running:
            return f"{title}: running"
        if self._stopped:
            return f"{title}: stopped, the same button goes on"
        code = self._child.returncode
        return f"{title}: done" if code == 0 else f"{title}: failed (exit code {code})"

    def _run(self, command: list[str], started: "Future[subprocess.Popen[str]]") -> None:
        """Start a child and listen to it, in one thread: Linux ends the child with the thread that started it."""
        try:
            child = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                errors="replace",
                preexec_fn=end_with_parent,
                env=child_environment(),
            )
        except OSError as error:
            started.set_exception(UserError(f"{TITLES[self.kind]} cannot be started: {error.strerror}"))
            return
        started.set_result(child)
        assert child.stdout is not None
        for line in child.stdout:
            self.lines.append(line.rstrip()[:500])
        child.stdout.close()
        done = child.wait() == 0 and not self._stopped
        self.ended += 1
        if done and self.kind == "train":  # its map takes the place of the probe's
            try:
                self.start("predict")
            except UserError as error:
                self.lines.append(str(error))

    def finished(self) -> Path | None:
        """The folder of the run of this study that was finished last."""
        done = sorted(Path("outputs", self.study).glob("*/result.json"), key=lambda p: p.stat().st_mtime)
        return done[-1].parent.resolve() if done else None

    def epochs(self) -> list[dict[str, float]]:
        """What the run that is going on, or was last, says of its epochs."""
        tables = sorted(Path("outputs", self.study).glob("*/history.csv"), key=lambda p: p.stat().st_mtime)
        if not tables:
            return []
        with tables[-1].open(newline="", encoding="utf-8") as file:
            return [{k: float(v) for k, v in row.items() if k and _is_number(v)} for row in csv.DictReader(file)]

    def score(self) -> dict[str, float]:
        """miou_final and miou_best of the run that was finished last; empty without one."""
        run = self.finished()
        if run is None:
            return {}
        result = json.loads((run / "result.json").read_text(encoding="utf-8"))
        return {key: result[key] for key in ("miou_final", "miou_best") if isinstance(result.get(key), float)}


def _is_number(text: str | None) -> bool:
    return bool(text) and re.fullmatch(r"-?[0-9.]+(e-?[0-9]+)?", str(text)) is not None


def _quoted(value: str) -> str:
    """A value for Hydra's grammar: in quotes unless it is plain."""
    if re.fullmatch(r"[\w/.-]+", value) and not re.fullmatch(r"[\d.]+", value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
