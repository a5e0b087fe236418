"""The one exception whose message is written for the user."""


class UserError(ValueError):
    """Something the user gave cannot be used.

    The message is one or two lines: what is wrong, the value, the way out. `run.py` prints it without a
    traceback; set HYDRA_FULL_ERROR=1 to see where it was raised.
    """
