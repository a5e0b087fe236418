"""Training: the task, what is recorded of it, and what a device computes fast."""

from typing import TYPE_CHECKING, Any

from sparse_seg.names import export

if TYPE_CHECKING:
    from sparse_seg.training.checkpoint import RunCheckpoint
    from sparse_seg.training.history import History
    from sparse_seg.training.panels import Panels
    from sparse_seg.training.progress import Progress
    from sparse_seg.training.task import SegmentationTask, one_cycle_cosine

__all__ = ["History", "Panels", "Progress", "RunCheckpoint", "SegmentationTask", "one_cycle_cosine"]
_MODULES = {
    "History": "history",
    "Panels": "panels",
    "Progress": "progress",
    "RunCheckpoint": "checkpoint",
    "SegmentationTask": "task",
    "one_cycle_cosine": "task",
}


def __getattr__(name: str) -> Any:
    return export(__name__, _MODULES, name)
