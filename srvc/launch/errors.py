class LaunchError(Exception):
    """SRVC cannot start; the message says why, what it means for the data and what to do next."""


class StopRequestedError(BaseException):
    """Ctrl-C or SIGTERM arrived. Not an Exception, so that nothing on the way swallows it."""
