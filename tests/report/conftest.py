"""Runs in a folder of the test's own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from studies import Write, folder_of, make_result

from sparse_seg.runs import result


@pytest.fixture(scope="module", autouse=True)
def _without_git() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(result, "_git_commit", lambda: "71f49fd")
        yield


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a run's folder below outputs/ and return it."""

    def build(miou: float = 0.5, rest: str = "", **axes: Any) -> Path:
        made = make_result(miou, **axes)
        folder = folder_of(tmp_path / "outputs", made, rest)
        folder.mkdir(parents=True)
        result.write_result(folder / "result.json", made)
        return folder

    return build
