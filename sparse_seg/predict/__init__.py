"""Label images of any size with a trained network. Importing this package does not import torch."""

from typing import TYPE_CHECKING, Any

from sparse_seg.names import export

if TYPE_CHECKING:
    from sparse_seg.predict.predictor import Predictor, load

__all__ = ["Predictor", "load"]


def __getattr__(name: str) -> Any:
    return export(__name__, {"Predictor": "predictor", "load": "predictor"}, name)
