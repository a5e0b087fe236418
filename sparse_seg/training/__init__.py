"""Training: methods, what is recorded of them, and what a device computes fast."""

from typing import TYPE_CHECKING, Any

from sparse_seg.names import export

if TYPE_CHECKING:
    from sparse_seg.training.checkpoint import RunCheckpoint
    from sparse_seg.training.history import History
    from sparse_seg.training.panels import Panels
    from sparse_seg.training.progress import Progress
    from sparse_seg.training.schedules import one_cycle_cosine
    from sparse_seg.training.scores import BoundaryIoU
    from sparse_seg.training.task import SegmentationTask

__all__ = ["BoundaryIoU", "History", "Panels", "Progress", "RunCheckpoint", "SegmentationTask", "one_cycle_cosine"]
_MODULES = {
    "BoundaryIoU": "scores",
    "History": "history",
    "Panels": "panels",
    "Progress": "progress",
    "RunCheckpoint": "checkpoint",
    "SegmentationTask": "task",
    "one_cycle_cosine": "schedules",
}


def __getattr__(name: str) -> Any:
    return export(__name__, _MODULES, name)
