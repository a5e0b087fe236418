"""How few clicks does a segmentation model need, and with which loss?

The public names, imported when they are asked for: torch, Lightning and the rest come with those that need them.

Example:
    Draw points, train on them, label an image. This is tiny; leave out the arguments that make it so.

    >>> import lightning as L
    >>> import sparse_seg as ss
    >>> data = ss.SparsePointsDataModule(ss.data.synthetic(images=5, size=64), points=20, size=64)
    >>> network = ss.create("unet", "resnet18", None, classes=5)
    >>> task = ss.SegmentationTask(network, ss.losses.PartialFocal(), class_names=data.classes.names)
    >>> quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    >>> trainer = L.Trainer(max_epochs=1, accelerator="cpu", enable_model_summary=False, **quiet)
    >>> trainer.fit(task, data)
    >>> image, mask = data.samples[0].read()
    >>> ss.Predictor(task).predict(image).shape == mask.shape
    True
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sparse_seg.names import export

if TYPE_CHECKING:
    from sparse_seg import bench, data, losses, networks, points, predict, raster, report, runs, suggest, training
    from sparse_seg.classes import IGNORE_INDEX, LAND_COVER, Classes
    from sparse_seg.data.datamodule import SparsePointsDataModule
    from sparse_seg.data.sample import ImageSet, Sample
    from sparse_seg.errors import UserError
    from sparse_seg.networks.build import create
    from sparse_seg.predict.predictor import Predictor, load
    from sparse_seg.training.task import SegmentationTask

__version__ = "0.1.0"
__all__ = [
    "IGNORE_INDEX",
    "LAND_COVER",
    "Classes",
    "ImageSet",
    "Predictor",
    "Sample",
    "SegmentationTask",
    "SparsePointsDataModule",
    "UserError",
    "bench",
    "create",
    "data",
    "load",
    "losses",
    "networks",
    "points",
    "predict",
    "raster",
    "report",
    "runs",
    "suggest",
    "training",
]
_MODULES = {
    "IGNORE_INDEX": "classes",
    "LAND_COVER": "classes",
    "Classes": "classes",
    "ImageSet": "data.sample",
    "Predictor": "predict.predictor",
    "Sample": "data.sample",
    "SegmentationTask": "training.task",
    "SparsePointsDataModule": "data.datamodule",
    "UserError": "errors",
    "create": "networks.build",
    "load": "predict.predictor",
}


def __getattr__(name: str) -> Any:
    if name in __all__ and name not in _MODULES:
        return import_module(f"{__name__}.{name}")
    return export(__name__, _MODULES, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
