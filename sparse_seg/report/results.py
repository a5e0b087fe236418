"""Runs as rows: from run folders or from the lines kept in the repository, and back into those lines."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from sparse_seg.errors import UserError
from sparse_seg.files import write_text
from sparse_seg.report.configuration import METHOD, axes_of, keys
from sparse_seg.report.rows import GIVEN

OUTPUTS = Path("outputs")
LINES = Path("docs/results/runs.jsonl")
COLUMNS = (
    "study", "encoder", "weights", "loss", "points", "augment", "split", "fold", "seed", "epochs", "size",
    "miou_final", "miou_best", "iou", "loss_at_epoch_25", "seconds", "device", "precision", "commit",
)  # fmt: skip
"""Columns of runs.csv; `iou` stands for one column per class. `METHOD` joins where a run has another value."""
NEEDED = ("fingerprint", "study", "loss", "points", "augment", "split", "seed", "miou_final", "val_miou", "figures")
Result = dict[str, Any]


@dataclass(frozen=True)
class Runs:
    """frame: a row per finished run. sources: a line for each study, where it was read from."""

    frame: pd.DataFrame
    sources: tuple[str, ...]
    results: tuple[Result, ...]
    folders: tuple[Path, ...] = field(default=())
    """The studies' folders that were read."""


def load(studies: Sequence[str], outputs: Path = OUTPUTS, lines: Path = LINES) -> Runs:
    """Each study from its folder below `outputs` if a finished run is there, else from `lines`.

    Args:
        studies: names of studies.
        outputs: the folder of all studies.
        lines: kept results, one per line.

    Raises:
        UserError: a study is in neither, or a file cannot be read.
    """
    kept = read_lines(lines) if lines.exists() else []
    found: list[Result] = []
    sources, folders = [], []
    for study in studies:
        folder = outputs / study
        mine = read_folder(folder)
        if mine:
            folders.append(folder)
            sources.append(f"study {study}: {_count(mine)} read from {folder}")
        else:
            mine = [r for r in kept if r["study"] == study]
            why = "no finished run in" if folder.is_dir() else "there is no"
            sources.append(f"study {study}: {_count(mine)} read from {lines} ({why} {folder})")
        if not mine:
            raise UserError(
                f"study {study!r} has no finished run in {folder} or {lines}; known: {_known(outputs, kept)}\n"
                f"start one with python train.py experiment=NAME, or see how it stands with --status {study}"
            )
        found += mine
    return Runs(frame(found), tuple(sources), tuple(found), tuple(folders))


def load_kept(lines: Path, fresh: Sequence[Result] = ()) -> Runs:
    """Every run of `lines`. fresh: results among them that were just read from their folders, where pictures are."""
    kept = read_lines(lines)
    found = (*fresh, *kept)
    studies = dict.fromkeys(r["study"] for r in kept)
    counted = {s: [r for r in kept if r["study"] == s] for s in studies}
    sources = tuple(f"study {s}: {_count(own)} read from {lines}" for s, own in counted.items())
    return Runs(frame(found), sources, found)


def usual_studies(outputs: Path = OUTPUTS, lines: Path = LINES) -> list[str]:
    """The studies to show when none is named: those kept in the repository, and the report's own."""
    kept = [r["study"] for r in read_lines(lines)] if lines.exists() else []
    own = [s for s in ("report", "tile_cv") if any((outputs / s).glob("*/result.json"))]
    studies = list(dict.fromkeys(own + kept))
    if not studies:
        known = _known(outputs, [])
        raise UserError(
            f"there is no run of study report in {outputs}, and no {lines}; name a study ({known}), "
            "or start one with python train.py experiment=report"
        )
    return studies


def read_folder(folder: Path) -> list[Result]:
    """The result.json of each finished run of a study, by name of the run's folder."""
    results = []
    for path in sorted(folder.glob("*/result.json")):
        result = _parse(path.read_text(encoding="utf-8"), str(path))
        results.append(result | {"folder": str(path.parent)})
    return results


def read_lines(path: Path) -> list[Result]:
    """A result per line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as e:
        raise UserError(f"{path} cannot be read: {e.strerror}") from e
    return [_parse(line, f"{path}, line {i}") for i, line in enumerate(lines, 1) if line.strip()]


def _parse(text: str, where: str) -> Result:
    try:
        result = json.loads(text)
    except json.JSONDecodeError as e:
        raise UserError(f"{where} is not JSON: {e}") from e
    missing = [k for k in NEEDED if k not in result] if isinstance(result, dict) else list(NEEDED)
    if missing:
        raise UserError(f"{where} is not a run's result: {', '.join(missing)} missing")
    return dict(result)


def frame(results: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Results as a table.

    Args:
        results: as in result.json; the first of two of one run counts.

    Returns:
        A row per run: the result's keys as columns, beside them iou_<class> and score_<name>, all from 0 to 1 or NaN.
    """
    found = list(results)
    unique = dict(zip(reversed(keys([r["figures"] for r in found])), reversed(found), strict=True))
    rows = [_row(r) for r in reversed(unique.values())]
    table = pd.DataFrame(rows)
    for column in ("fold", "folder", "weights"):
        if column not in table:
            table[column] = None
    table["fold"] = table["fold"].astype("Int64")
    table["points"] = table["points"].astype(object)
    for column, usual in METHOD.items():
        table[column] = table[column].fillna(usual) if column in table else usual
    return table


def _row(result: Mapping[str, Any]) -> dict[str, Any]:
    iou = {f"iou_{name}": _number(v) for name, v in result.get("iou", {}).items()}
    scores = {f"score_{name}": _number(v) for name, v in (result.get("scores") or {}).items()}
    axes = axes_of(result, result["figures"])
    return {"folder": None, **axes, **iou, **scores, "points": GIVEN if _lacks_masks(result) else result["points"]}


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _lacks_masks(result: Mapping[str, Any]) -> bool:
    """True for a run with points=all that had other training images than such with masks."""
    images = result.get("train_images")
    without = result.get("scored_on") == "points" or result.get("train_masks", images) != images
    return bool(result["points"] == "all" and without)


def keep(results: Sequence[Mapping[str, Any]], path: Path) -> int:
    """Put results among the lines of `path` and write runs.csv beside it. Returns how many runs it holds then.

    A run of the configuration of an older line, whatever names it had then, takes its place; both files are written
    whole or not at all.
    """
    every = [*(read_lines(path) if path.exists() else []), *results]
    bare = [{k: v for k, v in r.items() if k != "folder"} for r in every]
    merged = dict(zip(keys([r["figures"] for r in every]), bare, strict=True))
    text = "".join(json.dumps(r, ensure_ascii=False, allow_nan=False) + "\n" for r in merged.values())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
        write_text(path.with_suffix(".csv"), csv_text(merged.values()))
    except OSError as e:
        raise UserError(f"{path} cannot be written: {e.strerror}") from e
    return len(merged)


def csv_text(results: Iterable[Mapping[str, Any]]) -> str:
    """runs.csv: a row per run with COLUMNS, then the further scores; what is undefined is empty."""
    table = pd.DataFrame([_row(r) for r in results])
    iou = [c for c in table.columns if c.startswith("iou_")]
    named = [c for c, usual in METHOD.items() if c in table and (table[c].fillna(usual) != usual).any()]
    columns = ["study", *named, *(c for name in COLUMNS[1:] for c in (iou if name == "iou" else [name]))]
    scores = [c for c in table.columns if c.startswith("score_")]
    names = {c: c.removeprefix("score_") for c in scores if c.removeprefix("score_") not in columns}
    table = table.reindex(columns=[*columns, *scores]).rename(columns=names)
    table["fold"] = table["fold"].astype("Int64")
    return table.to_csv(index=False, lineterminator="\n")


def _count(results: Sequence[Result]) -> str:
    return f"{len(results)} run" + ("s" if len(results) != 1 else "")


def _known(outputs: Path, kept: Sequence[Result]) -> str:
    names = {p.parent.parent.name for p in outputs.glob("*/*/result.json")} | {r["study"] for r in kept}
    return ", ".join(sorted(names)) or "none"
