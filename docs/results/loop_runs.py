"""What train.py makes of the clicks of loop.py: mIoU by how they were placed, by method and by prior.

    python docs/results/loop_runs.py docs/results/loop-runs.jsonl > docs/results/loop-runs.md

The lines are those of studies named loop-STRATEGY, as `python -m sparse_seg.report … --keep` writes them.
"""

import json
import sys
from pathlib import Path
from typing import Any

STRATEGIES = {
    "loop-random": "random clicks of random classes",
    "loop-per-class": "one per class and image, image by image",
    "loop-next": "the page's next",
    "loop-next-shaken": "next, 2 px of shake, 2 % wrong classes",
}
TRAININGS = {
    "probe": ("probe", "none"),
    "probe, `prior=estimated`": ("probe", "estimated"),
    "U-Net, 20 epochs": ("points", "none", 20),
    "U-Net": ("points", "none", 50),
    "U-Net, teacher": ("teacher", "none", 50),
    "U-Net, teacher, `prior=estimated`": ("teacher", "estimated", 50),
}
NOTE = """\
mIoU on the validation images after 200 clicks, check points among them; ± is half the 95 % interval over seeds, in
brackets their number. 256×256, EfficientNet-lite0 with ImageNet's weights; U-Nets of 50 epochs, or of 20 where it says
so. The probe is `method=probe`, whose classes count as they were clicked; the page's own counts them equally, and holds
few clicks more strongly: [loop.md](loop.md).
"""


def paired(mine: dict[int, float], other: dict[int, float]) -> list[float]:
    """Differences in percentage points, of the seeds that both have."""
    return [100 * (value - other[seed]) for seed, value in mine.items() if seed in other]


def main(lines: list[dict[str, Any]]) -> None:
    from tabulate import tabulate

    from sparse_seg.report.cells import MIOU, shown
    from sparse_seg.report.intervals import estimate

    print(f"# What training makes of 200 clicks\n\n{NOTE}")

    def runs(study: str, split: str, training: tuple[Any, ...]) -> dict[int, float]:
        """Seed → mIoU."""
        keys = ("method", "prior", "epochs")[: len(training)]  # a probe has no epochs
        found = [d for d in lines if (d["study"], d["split"]) == (study, split)]
        return {d["seed"]: d["miou_final"] for d in found if tuple(d[key] for key in keys) == training}

    for split in ("random", "tile"):
        rows, ahead, gains = [], [], []
        for study, title in STRATEGIES.items():
            cells, differences = [], []
            for training in TRAININGS.values():
                found = runs(study, split, training)
                cells.append(f"{shown(estimate(found.values()), MIOU).text} ({len(found)})" if found else "")
                pairs = paired(runs("loop-next", split, training), found)
                text = shown(estimate(pairs), "{:+.1f}").text
                differences.append(f"{text} ({sum(v > 0 for v in pairs)} of {len(pairs)})" if pairs else "")
            if any(cells):
                rows.append([title, *cells])
            if any(differences) and study != "loop-next":
                ahead.append([title, *differences])
            plain, corrected = (runs(study, split, TRAININGS[name]) for name in ("probe", "probe, `prior=estimated`"))
            if pairs := paired(corrected, plain):
                more = f"{sum(v > 0 for v in pairs)} of {len(pairs)}"
                gains.append(
                    [
                        title,
                        shown(estimate(pairs), "{:+.1f}").text,
                        more,
                        f"{min(pairs):+.1f} to {max(pairs):+.1f}".replace("-", "−"),
                    ]
                )
        print(f"## {split.capitalize()} split\n")
        print(tabulate(rows, ["clicks", *TRAININGS], "github", disable_numparse=True), end="\n\n")
        header = ["next − …, pp, and seeds that gain", *TRAININGS]
        print(tabulate(ahead, header, "github", disable_numparse=True), end="\n\n")
        header = ["probe, what `prior=estimated` adds, pp", "mean", "seeds that gain", "least to most"]
        print(tabulate(gains, header, "github", disable_numparse=True), end="\n\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case [path]:
            main([json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()])
        case _:
            sys.exit(__doc__)
