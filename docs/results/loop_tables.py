"""Table and figure of what loop.py wrote: mIoU over clicks, by where they are placed.

python docs/results/loop_tables.py table docs/results/loop.jsonl > docs/results/loop.md
python docs/results/loop_tables.py figure docs/results/loop.jsonl docs/results/loop.png
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from loop import COUNTS, KEPT, NAMES, SPLITS, STRATEGIES, read


def cells(lines: Path, split: str, strategy: str) -> dict[int, list[dict[str, Any]]]:
    """Clicks → lines of the seeds."""
    found = [d for d in read(lines) if (d["split"], d["strategy"]) == (split, strategy)]
    return {n: [d for d in found if d["clicks"] == n] for n in COUNTS if any(d["clicks"] == n for d in found)}


NOTES = f"""\
- ± is half the 95 % interval of the mean over seeds 0 to 2 (t distribution); differences are paired over seeds, and
  not corrected for their number.
- Check points count as clicks and are not trained on: a fifth of what "next" and "the least certain place" ask for.
- The rule of "next" was picked from thirteen, and the strengths of the L2 term and the equal weight of classes were
  set, by scores on the validation images of the random split, in short runs of one to four seeds. So its figures there
  flatter it. The tile split was not looked at for it; there three seeds show no gain over a person's own clicks.
- Random clicks and one per class are a person's who finds every class without help; the time for that is not counted.
- With {COUNTS[-1]} clicks there are about seven per image: nothing is said of more.
"""


def table(lines: Path) -> None:
    from tabulate import tabulate

    from sparse_seg.report.cells import MIOU, shown
    from sparse_seg.report.intervals import estimate

    def printed(rows: list[list[str]], *header: str) -> None:
        print(tabulate(rows, header, "github", disable_numparse=True), end="\n\n")

    print(
        "# What clicks are worth, by where they are placed\n\nmIoU of the probe on the validation images, by clicks.\n"
    )
    for split in SPLITS:
        found = {name: cells(lines, split, name) for name in STRATEGIES}
        title = {name: strategy.title for name, strategy in STRATEGIES.items()}
        print(f"## {split.capitalize()} split\n")
        scores = [
            [title[name], *(shown(estimate(d["miou"] for d in mine.get(n, [])), MIOU).text for n in COUNTS)]
            for name, mine in found.items()
        ]
        printed(scores, "clicks", *map(str, COUNTS))
        gains = []
        for name, mine in found.items():
            pairs = [list(zip(found["next"].get(n, []), mine.get(n, []), strict=False)) for n in COUNTS]
            points = [estimate(100 * (a["miou"] - b["miou"]) for a, b in pair) for pair in pairs]
            gains.append([title[name], *(shown(gain, "{:+.1f}").text for gain in points)])
        printed([row for row in gains if row[0] != title["next"]], "next − …, pp", *map(str, COUNTS))
        classes = [
            [
                title[name],
                shown(estimate(d["accuracy"] for d in mine.get(KEPT, [])), "{:.3f}").text,
                *(shown(estimate(d["iou"][c] for d in mine.get(KEPT, [])), "{:.3f}").text for c in NAMES),
            ]
            for name, mine in found.items()
        ]
        print(f"After {KEPT} clicks, accuracy and IoU of each class:\n")
        printed(classes, "", "accuracy", *NAMES)
    print(NOTES, end="")


def figure(lines: Path, out: Path) -> None:
    import matplotlib.pyplot as plt

    drawing, axes = plt.subplots(1, len(SPLITS), figsize=(9, 3.6), sharey=True, layout="constrained")
    for split, axis in zip(SPLITS, axes, strict=True):
        for name, strategy in STRATEGIES.items():
            mine = cells(lines, split, name)
            values = [[d["miou"] for d in found] for found in mine.values()]
            style = "--" if strategy.shake else "-"
            (curve,) = axis.plot(list(mine), [np.mean(v) for v in values], style, marker=".", label=strategy.title)
            axis.fill_between(
                list(mine), *([f(v) for v in values] for f in (min, max)), alpha=0.12, color=curve.get_color()
            )
        axis.set(xscale="log", xticks=COUNTS, xticklabels=COUNTS, xlabel="clicks", title=f"{split} split")
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("mIoU of the probe")
    axes[0].legend(fontsize=8)
    drawing.savefig(out, dpi=150)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["table", lines]:
            table(Path(lines))
        case ["figure", lines, out]:
            figure(Path(lines), Path(out))
        case _:
            sys.exit(__doc__)
