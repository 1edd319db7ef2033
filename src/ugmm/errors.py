"""The one exception for what a user can mend: `ugmm` prints it as a line, without a traceback."""

__all__ = ["UserError"]


class UserError(Exception):
    """Bad input or environment. The message names the thing and the remedy, in one line."""
