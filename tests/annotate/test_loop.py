"""docs/results/loop.md is what its script prints of the kept lines."""

import subprocess
import sys
from pathlib import Path

RESULTS = Path(__file__).parents[2] / "docs" / "results"


def test_the_table_of_the_loop_is_that_of_its_lines() -> None:
    words = [sys.executable, str(RESULTS / "loop.py"), "table", str(RESULTS / "loop.jsonl")]
    printed = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", check=True).stdout
    assert printed == (RESULTS / "loop.md").read_text(encoding="utf-8")
