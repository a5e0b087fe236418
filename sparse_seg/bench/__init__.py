"""What training costs on this machine."""

from typing import Any

from sparse_seg.names import export


def __getattr__(name: str) -> Any:
    return export(__name__, {"FirstStep": "probe"}, name)
