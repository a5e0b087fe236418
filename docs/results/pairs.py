"""Differences between the measured runs that the report's tables do not have.

python docs/results/pairs.py > docs/results/pairs.md
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from tabulate import tabulate

from sparse_seg import metrics
from sparse_seg.classes import LAND_COVER
from sparse_seg.report.cells import POINTS, number, p_value
from sparse_seg.report.intervals import Estimate, paired
from sparse_seg.report.results import frame, read_lines

HERE = Path(__file__).parent
CLASSES = [f"iou_{name}" for name in LAND_COVER.names]
CELL = ["study", "encoder", "size", "augment", "points", "loss"]
ASCENDING = [True, True, True, False, False, True]
DIFFERENCE = ("points of IoU", "95 % interval", "p", "pairs")
LITE0 = "tu-tf_efficientnet_lite0"


def read(name: str) -> pd.DataFrame:
    """The runs of a file, cells in the order in which they are shown."""
    runs = frame(read_lines(HERE / f"{name}.jsonl"))
    runs["fold"] = runs["fold"].fillna(-1)  # what pairs runs must not be missing
    order = runs.assign(points=pd.to_numeric(runs["points"], errors="coerce"))  # all: last
    return runs.loc[order.sort_values([*CELL[:3], "augment", "loss", "points"], ascending=ASCENDING).index]


def named(study: str, encoder: str, size: int, augment: str) -> str:
    name = f"{encoder.removeprefix('tu-tf_')}, {size}×{size}"
    return name + ("" if augment == "report" else ", no augmentation") + (", tiles" if study == "tile_cv" else "")


def scores(runs: pd.DataFrame, column: str = "miou_final") -> "pd.Series[float]":
    """A column by what pairs the runs of two cells: seed and held-out tile."""
    return runs.set_index(["seed", "fold"])[column]


def row(name: str, difference: Estimate | None) -> list[Any]:
    if difference is None or difference.low is None or difference.high is None or difference.p is None:
        raise ValueError(f"{name}: a difference needs two pairs of runs")
    d = difference.times(100)
    mean, low, high = (number(v, POINTS) for v in (d.mean, difference.low * 100, difference.high * 100))
    return [name, mean, f"{low} to {high}", p_value(d).text, d.n]


def table(title: str, note: str, headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    body = tabulate(rows, ("", *headers), "github", disable_numparse=True)
    print(f"## {title}\n\n{body}\n\n{note}\n")


def losses(runs: pd.DataFrame) -> list[list[Any]]:
    rows = []
    for (*of, points), cell in runs.groupby(CELL[:-1], sort=False):
        by = {loss: scores(part) for loss, part in cell.groupby("loss")}
        name = f"{named(*of)}, " + ("full masks" if points == "all" else f"{points} points")
        if len(by) == 2:
            rows.append(row(name, paired(by["ce"], by["focal"])))
    return rows


def densities(runs: pd.DataFrame) -> list[list[Any]]:
    rows = []
    for (*of, loss), cell in runs.groupby([*CELL[:-2], "loss"], sort=False):
        by = {points: scores(part) for points, part in cell.groupby("points")}
        for few, many in pairwise(points for points in (5, 20, 50, "all") if points in by):
            rows.append(row(f"{named(*of)}, {loss}: {few} → {many}", paired(by[many], by[few])))
    return rows


def of_probes(runs: pd.DataFrame) -> list[list[Any]]:
    """20 → 50 points of a probe, by split, size and prior."""
    probes = runs[(runs["method"] == "probe") & runs["points"].isin([20, 50]) & (runs["fold"] < 0)].copy()
    taus = [figures.get("prior.tau", 1) for figures in probes["figures"]]
    probes["learns"] = [p if tau == 1 else f"{p}, tau {tau:g}" for p, tau in zip(probes["prior"], taus, strict=True)]
    rows = []
    for (split, size, learns), cell in probes.groupby(["split", "size", "learns"], sort=False):
        by = {points: scores(part) for points, part in cell.groupby("points")}
        name = f"{'random split' if split == 'random' else 'tiles 1 and 5'}, {size}×{size}, prior {learns}"
        rows.append(row(name, paired(by[50], by[20])))
    return sorted(rows)


def of_size(runs: pd.DataFrame) -> list[list[Any]]:
    rows = []
    for loss in ("focal", "ce"):
        cells = runs[(runs["loss"] == loss) & (runs["points"] == 20) & (runs["encoder"] == LITE0)]
        large, small = (cells[(cells["study"] == "report") & (cells["size"] == size)] for size in (512, 256))
        for column in ("miou_final", *CLASSES):
            name = "mIoU" if column == "miou_final" else column.removeprefix("iou_")
            rows.append(row(f"{loss}: {name}", paired(scores(large, column), scores(small, column))))
    return rows


def of_device(gpu: pd.DataFrame, cpu: pd.DataFrame) -> tuple[list[list[Any]], str]:
    keys = [*CELL, "seed", "fold"]
    a, b = (runs.astype({"points": str}).set_index(keys)[["miou_final", *CLASSES]] for runs in (gpu, cpu))
    d = a.loc[b.index] - b
    rows = [row("all", paired(d["miou_final"], 0 * d["miou_final"]))]
    for of, part in d.groupby(level=CELL, sort=False):
        study, encoder, size, augment, points, loss = of
        part = part["miou_final"]
        rows.append(row(f"{named(study, encoder, size, augment)}, {loss}, {points}", paired(part, 0 * part)))
    largest = 100 * d.abs().max()
    return rows, (
        f"The largest difference of a run: {largest['miou_final']:.1f} points of mIoU, {largest[CLASSES].max():.1f} of "
        f"a class's IoU; of a cell's mean: {100 * d['miou_final'].groupby(level=CELL).mean().abs().max():.1f} and "
        f"{100 * d[CLASSES].groupby(level=CELL).mean().abs().max().max():.1f}."
    )


def of_share(runs: pd.DataFrame) -> list[list[Any]]:
    rows = []
    for loss in ("focal", "ce"):
        shares = []
        for study in ("tile_cv", "report"):
            cells = runs[(runs["encoder"] == LITE0) & (runs["size"] == 256) & (runs["study"] == study)]
            by = {n: scores(part) for n, part in cells[cells["loss"] == loss].groupby("points")}
            shares.append(100 * (by[20] / by["all"]).dropna())
        test = stats.ttest_ind(*shares, equal_var=False)
        low, high = test.confidence_interval()
        means = [share.mean() for share in shares]
        between = number(means[0] - means[1], POINTS), f"{number(low, POINTS)} to {number(high, POINTS)}"
        rows.append([loss, *(f"{mean:.1f}" for mean in means), *between])
    return rows


def of_seed_0(runs: pd.DataFrame) -> list[list[Any]]:
    """The random split's seed 0, and the pixels of all held-out tiles scored together, of the same seed."""
    cells = runs[(runs["encoder"] == LITE0) & (runs["size"] == 256) & (runs["points"] == 20) & (runs["seed"] == 0)]
    rows = []
    for loss in ("focal", "ce"):
        for study, name in (("report", "random split"), ("tile_cv", "all tiles as one")):
            found = cells[(cells["loss"] == loss) & (cells["study"] == study)]["confusion_matrix"]
            matrix = np.sum([np.asarray(m) for m in found], axis=0)
            values = [metrics.mean_iou(matrix), *metrics.iou_per_class(matrix)]
            rows.append([f"{loss}, {name}", *(f"{v:.4f}" for v in values)])
    return rows


def split(run: dict[str, Any]) -> str:
    return f"data.split_seed={run['figures']['data.split_seed']}"


def configuration(run: dict[str, Any]) -> str:
    weights = "ImageNet weights" if isinstance(run["weights"], str) else "no weights"
    schedule = "constant" if run["scheduler"] == "none" else run["scheduler"]
    return f"{run['encoder'].removeprefix('tu-tf_')}, {weights}, learning rate {run['lr']:g}, {schedule}"


def labelled_by(run: dict[str, Any]) -> str:
    if run["method"] == "teacher":
        return "teacher"
    return f"self-training from {'a probe' if run['figures']['method.teacher'] == 'probe' else 'that teacher'}"


def each(name: Callable[[dict[str, Any]], str], *runs: pd.DataFrame) -> list[list[Any]]:
    found = pd.concat(runs).to_dict("records")
    return [[name(run), *(f"{run[c]:.4f}" for c in ("miou_final", *CLASSES))] for run in found]


def claims(runs: pd.DataFrame) -> tuple[list[list[Any]], str]:
    """The tests behind the claims of the report, with the false discovery rate of Benjamini and Hochberg (1995)."""
    found: list[tuple[str, Estimate | None]] = []
    random = runs[(runs["study"] == "report") & (runs["size"] == 256)]
    for (encoder,), cells in random.groupby(["encoder"], sort=False):
        by = dict(iter(cells.groupby(["loss", "points", "augment"])))
        name = str(encoder).removeprefix("tu-tf_")
        for few, many in ((5, 20), (20, 50)):
            pair = [scores(by["focal", n, "report"]) for n in (many, few)]
            found.append((f"{name}: {few} → {many} points, focal", paired(*pair)))
        for column in ("miou_final", *CLASSES):
            pair = [scores(by[loss, 20, "report"], column) for loss in ("ce", "focal")]
            what = "mIoU" if column == "miou_final" else column.removeprefix("iou_")
            found.append((f"{name}: CE − focal, 20 points, {what}", paired(*pair)))
        for loss, points, augment in by:
            if augment == "none":
                pair = [scores(by[loss, points, a]) for a in ("report", "none")]
                found.append((f"{name}: augmentation, {loss}, {points} points", paired(*pair)))
    adjusted = stats.false_discovery_control([e.p for _, e in found if e is not None and e.p is not None])
    rows = [[*row(n, e), "<0.001" if q < 0.001 else f"{q:.3f}"] for (n, e), q in zip(found, adjusted, strict=True)]
    return rows, f"{len(rows)} tests; {sum(adjusted < 0.05)} of them have an adjusted p below 0.05."


def main() -> None:
    gpu, cpu, splits, causes, methods = (read(name) for name in ("runs", "cpu", "splits", "causes", "methods"))
    means = "Paired over seeds, on the tile split over tiles (paired t-test, t distribution); final mIoU in hundredths."
    iou = ("mIoU", *LAND_COVER.names)
    print("# Further differences between the measured runs\n")
    table("CE − focal", means, DIFFERENCE, losses(gpu))
    table("More points", means, DIFFERENCE, densities(gpu))
    table("A probe, 20 → 50 points", means, DIFFERENCE, of_probes(methods))
    table("512×512 − 256×256, pretrained lite0, 20 points", means, DIFFERENCE, of_size(gpu))
    rows, largest = of_device(gpu, cpu)
    table("GPU in bf16 − CPU in 32 bits", f"{means} {largest}", DIFFERENCE, rows)
    welch = "Share of full masks that 20 points reach, in %: eight tiles against five seeds (Welch's t-test)."
    table("New tiles − random split", welch, ("tiles", "random split", "difference", "95 % interval"), of_share(gpu))
    table("Seed 0 on the random split and on all tiles", "Pretrained lite0, 20 points.", iou, of_seed_0(gpu))
    same = cpu[(cpu["study"] == "report") & (cpu["loss"] == "ce") & (cpu["points"] == 20) & (cpu["seed"] == 0)]
    one = "20 points, CE, seed 0, one run each, on a CPU."
    others = each(split, same[same["encoder"] == LITE0], splits[splits["split"] == "random"])
    table("Other validation images", f"Pretrained lite0, {one}", iou, others)
    table("What the two configurations differ in", f"256×256, {one}", iou, each(configuration, same, causes))
    whole = methods[[figures.get("prior.tau", 1) == 1 for figures in methods["figures"]]]
    taught = whole.query("method == 'teacher' and points == 20 and split == 'random' and seed == 3")
    one = "Pretrained lite0, 256×256, 20 points, CE, prior=estimated, seed 3, one run each, on a CPU."
    table("Self-training", one, iou, each(labelled_by, taught, read("self-training")))
    rows, count = claims(gpu)
    note = f"{count} Adjusted: the false discovery rate at which the test would count, by Benjamini and Hochberg."
    table("The report's claims, corrected for their number", note, (*DIFFERENCE, "p adjusted"), rows)


if __name__ == "__main__":
    main()
