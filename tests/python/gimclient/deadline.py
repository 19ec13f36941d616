"""Deadlines. Every wait has one."""

import time

DEFAULT_SECONDS = 10.0


class Deadline:
    """Counts down from its creation."""

    def __init__(self, seconds=DEFAULT_SECONDS):
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self):
        """Returns the seconds left, never negative."""
        return max(0.0, self._end - time.monotonic())

    def passed(self):
        return self.left() == 0.0


def within(deadline):
    """Converts a number of seconds, a Deadline, or None (the default) to a Deadline."""
    if deadline is None:
        return Deadline()
    return deadline if isinstance(deadline, Deadline) else Deadline(deadline)
