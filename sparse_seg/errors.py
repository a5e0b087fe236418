"""The one exception whose message is written for the user."""

import math
from reprlib import Repr
from typing import Any


class UserError(ValueError):
    """Something the user gave cannot be used.

    The message is one or two lines: what is wrong, the value, the way out. `run.py` prints it without a
    traceback; set HYDRA_FULL_ERROR=1 to see where it was raised.
    """


def check_number(word: str, value: Any, least: float = 0, most: float = math.inf) -> None:
    """Refuse what is no finite number from `least` to `most`. Raises UserError naming the word of the command line.

    Example:
        >>> check_number("prior.tau", 3, most=2)
        Traceback (most recent call last):
        sparse_seg.errors.UserError: prior.tau=3 must be a number from 0 to 2
    """
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not least <= value <= most:
        allowed = f"from {least:g} to {most:g}" if most < math.inf else f"of at least {least:g}"
        raise UserError(f"{word}={value!r} must be a number {allowed}")


def brief(value: Any) -> str:
    """A value out of a file, as a message shows it: on one line, and cut where it is long or nested deep.

    Example:
        >>> brief("x" * 1000)
        "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'"
    """
    return _SHORT.repr(value)


_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 80
