"""Data sets, sparse points and batches. Importing this package imports neither torch nor albumentations."""

import os
from typing import TYPE_CHECKING, Any

from sparse_seg.data.dubai import dubai
from sparse_seg.data.folder import folder
from sparse_seg.data.sample import ImageSet, Sample
from sparse_seg.data.synthetic import synthetic
from sparse_seg.names import export

if TYPE_CHECKING:
    from sparse_seg.data.datamodule import SparsePointsDataModule
    from sparse_seg.data.transforms import report_augmentation

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # albumentations would ask PyPI for its version on import

__all__ = ["ImageSet", "Sample", "SparsePointsDataModule", "dubai", "folder", "report_augmentation", "synthetic"]


def __getattr__(name: str) -> Any:
    return export(__name__, {"SparsePointsDataModule": "datamodule", "report_augmentation": "transforms"}, name)
