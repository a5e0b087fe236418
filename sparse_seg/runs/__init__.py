"""One run and a sweep of them. Only here is the configuration read."""

from sparse_seg.runs.sweep import SweepCallback

__all__ = ["SweepCallback"]
