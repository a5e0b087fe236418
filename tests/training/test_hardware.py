"""What a process does with the memory that it frees."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from sparse_seg.training.hardware import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory("cpu")
for _ in range(10):
    torch.ones(64 << 18)  # 64 MiB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(64 << 18)  # 64 MiB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is on Linux alone")
def test_a_kept_block_is_not_fetched_anew_from_the_kernel() -> None:
    kept, given_back = (
        int(subprocess.run([sys.executable, "-c", FAULTS, how], check=True, capture_output=True, text=True).stdout)
        for how in ("kept", "default")
    )
    assert given_back > 10 * max(kept, 1)
