"""docs/python.ipynb runs from its first cell to its last one, and what it shows is small."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli import ROOT

PAGE = ROOT / "docs" / "python.ipynb"
RUN = """
import json, sys
cells = json.load(open(sys.argv[1], encoding="utf-8"))["cells"]
space = {"__name__": "__main__"}
for k, cell in enumerate(c for c in cells if c["cell_type"] == "code"):
    exec(compile("".join(cell["source"]), f"cell {k}", "exec"), space)
print("miou", space["scores"]["miou"])
"""


def cells() -> list[dict[str, Any]]:
    code = [c for c in json.loads(PAGE.read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
    assert len(code) > 5
    return code


@pytest.mark.slow
def test_every_cell_runs(tmp_path: Path) -> None:
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", RUN, str(PAGE)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr
    assert float(ended.stdout.split("miou ")[1]) > 0.15  # all of one class would be a tenth or so


def test_outputs_are_kept_in_order_and_small() -> None:
    assert [c["execution_count"] for c in cells()] == list(range(1, len(cells()) + 1))
    pictures = [
        base64.b64decode(output["data"]["image/png"])
        for cell in cells()
        for output in cell["outputs"]
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 3
    assert max(map(len, pictures)) < 60_000
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
