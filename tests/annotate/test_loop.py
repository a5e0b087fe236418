"""The pages on the loop are what their scripts print of the kept lines."""

import subprocess
import sys
from pathlib import Path

RESULTS = Path(__file__).parents[2] / "docs" / "results"


def test_the_table_of_the_loop_is_that_of_its_lines() -> None:
    words = [sys.executable, str(RESULTS / "loop_tables.py"), "table", str(RESULTS / "loop.jsonl")]
    printed = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", check=True).stdout
    assert printed == (RESULTS / "loop.md").read_text(encoding="utf-8")


def test_the_table_of_its_runs_is_that_of_their_lines() -> None:
    words = [sys.executable, str(RESULTS / "loop_runs.py"), str(RESULTS / "loop-runs.jsonl")]
    printed = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", check=True).stdout
    assert printed == (RESULTS / "loop-runs.md").read_text(encoding="utf-8")
