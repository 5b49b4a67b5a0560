"""The one error class that every edge of ops catches and shows."""


class OpsError(Exception):
    """An expected failure, told in words an operator can act on.

    The message says what happened, what it means for the data and what to do next. Edges (commands,
    admin pages) show it without a traceback; anything else is a bug and is logged whole.
    """
