"""A point in time that every wait is measured against. Nothing waits without one."""

import time

DEFAULT_SECONDS = 10.0


class Deadline:
    """Counts down from the moment it is made."""

    def __init__(self, seconds=DEFAULT_SECONDS):
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self):
        """Seconds left, never negative."""
        return max(0.0, self._end - time.monotonic())

    def passed(self):
        return self.left() == 0.0


def within(deadline):
    """Takes a number of seconds, a Deadline or None (the default) and gives a Deadline."""
    if deadline is None:
        return Deadline()
    return deadline if isinstance(deadline, Deadline) else Deadline(deadline)
