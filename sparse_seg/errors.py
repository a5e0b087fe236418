"""The one exception whose message is written for the user."""

from reprlib import Repr
from typing import Any


class UserError(ValueError):
    """Something the user gave cannot be used.

    The message is one or two lines: what is wrong, the value, the way out. `run.py` prints it without a
    traceback; set HYDRA_FULL_ERROR=1 to see where it was raised.
    """


def brief(value: Any) -> str:
    """A value out of a file, as a message shows it: on one line, and cut where it is long or nested deep.

    Example:
        >>> brief("x" * 1000)
        "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'"
    """
    return _SHORT.repr(value)


_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 80
