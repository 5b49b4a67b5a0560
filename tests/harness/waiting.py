"""Waiting for what another process or thread does soon."""

import time
from collections.abc import Callable


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something is true. Fails the test that it never is."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)
