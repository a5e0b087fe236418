"""The words of a request, which may be anything: what is no such word is refused."""

import math
from collections.abc import Mapping
from typing import Any

from sparse_seg.errors import UserError


def whole(q: Mapping[str, Any], key: str) -> int:
    value = q.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > 2**31:
        raise UserError(f"{key} must be a whole number")
    return value


def text(q: Mapping[str, Any], key: str) -> str:
    value = q.get(key)
    if not isinstance(value, str) or len(value) > 200:
        raise UserError(f"{key} must be text of up to 200 letters")
    return value


def numbers(q: Mapping[str, Any], key: str) -> list[float]:
    """Those of a text, with spaces between them."""
    try:
        found = [float(part) for part in text(q, key).replace(",", " ").split()]
    except ValueError:
        found = [math.nan]
    if not all(map(math.isfinite, found)):
        raise UserError(f"{key} must be numbers, not {text(q, key)!r}")
    return found


def word(q: Mapping[str, Any], key: str, known: tuple[str, ...]) -> str:
    value = q.get(key, known[0])
    if value not in known:
        raise UserError(f"{key} must be one of {', '.join(known)}")
    return str(value)
