"""Training: methods, what is recorded of them, and what a device computes fast."""

from typing import TYPE_CHECKING, Any

from sparse_seg.names import export

if TYPE_CHECKING:
    from sparse_seg.training.checkpoint import RunCheckpoint
    from sparse_seg.training.history import History
    from sparse_seg.training.panels import Panels
    from sparse_seg.training.prior import estimated_prior
    from sparse_seg.training.probe import ProbeTask
    from sparse_seg.training.progress import Progress
    from sparse_seg.training.schedules import one_cycle_cosine
    from sparse_seg.training.scores import BoundaryIoU
    from sparse_seg.training.shares import RunningShares, Shares, given_prior, network_prior, own_shares
    from sparse_seg.training.task import SegmentationTask
    from sparse_seg.training.teacher import TeacherTask

__all__ = [
    "BoundaryIoU",
    "History",
    "Panels",
    "ProbeTask",
    "Progress",
    "RunCheckpoint",
    "RunningShares",
    "SegmentationTask",
    "Shares",
    "TeacherTask",
    "estimated_prior",
    "given_prior",
    "network_prior",
    "one_cycle_cosine",
    "own_shares",
]
_MODULES = {
    "BoundaryIoU": "scores",
    "History": "history",
    "Panels": "panels",
    "ProbeTask": "probe",
    "Progress": "progress",
    "RunCheckpoint": "checkpoint",
    "RunningShares": "shares",
    "SegmentationTask": "task",
    "Shares": "shares",
    "TeacherTask": "teacher",
    "estimated_prior": "prior",
    "given_prior": "shares",
    "network_prior": "shares",
    "one_cycle_cosine": "schedules",
    "own_shares": "shares",
}


def __getattr__(name: str) -> Any:
    return export(__name__, _MODULES, name)
