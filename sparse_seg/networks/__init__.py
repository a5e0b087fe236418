"""Networks: any architecture of segmentation_models_pytorch, its encoder's weights, and trained ones from files."""

from typing import TYPE_CHECKING, Any

from sparse_seg.names import export

if TYPE_CHECKING:
    from sparse_seg.networks.build import create

__all__ = ["create"]


def __getattr__(name: str) -> Any:
    return export(__name__, {"create": "build"}, name)
