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


def main(lines: list[dict[str, Any]]) -> None:
    from tabulate import tabulate

    from sparse_seg.report.cells import MIOU, shown
    from sparse_seg.report.intervals import estimate

    print(f"# What training makes of 200 clicks\n\n{NOTE}")
    for split in ("random", "tile"):
        rows, gains = [], []
        for study, title in STRATEGIES.items():
            cells = []
            for training in TRAININGS.values():
                chosen = (study, split, *training)
                keys = ("study", "split", "method", "prior", "epochs")[: len(chosen)]  # a probe has no epochs
                found = [d for d in lines if tuple(d[key] for key in keys) == chosen]
                text = shown(estimate(d["miou_final"] for d in found), MIOU).text
                cells.append(f"{text} ({len(found)})" if found else "")
            if any(cells):
                rows.append([title, *cells])
            probes = {
                (d["prior"], d["seed"]): d
                for d in lines
                if (d["study"], d["method"], d["split"]) == (study, "probe", split)
            }
            pairs = [
                100 * (d["miou_final"] - probes["none", seed]["miou_final"])
                for (prior, seed), d in probes.items()
                if prior == "estimated" and ("none", seed) in probes
            ]
            if pairs:
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
        header = ["probe, what `prior=estimated` adds, pp", "mean", "seeds that gain", "least to most"]
        print(tabulate(gains, header, "github", disable_numparse=True), end="\n\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case [path]:
            main([json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()])
        case _:
            sys.exit(__doc__)
