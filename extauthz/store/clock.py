"""Time for counters: one clock that only moves forward, and the calendar beside it."""

import time
from typing import Final

import numpy as np
from numpy.typing import NDArray

from extauthz.core.budget.calendar import SteadyClock, windows

#: How often the calendar is looked at: a window ends at most this late.
_LOOK_NS: Final = 100_000_000


class Clock:
    """Instants in ns of the machine's monotonic clock, which all its processes share."""

    def __init__(self) -> None:
        """Begin now."""
        now = self.now()
        self._wall: Final = SteadyClock(now, time.time_ns())
        #: (3, 2) int64: number and end of the present hour, day and month.
        self.windows: Final[NDArray[np.int64]] = np.zeros((3, 2), np.int64)
        self._looked = now
        self._look(now)

    def now(self) -> int:
        """The present instant. Nobody can set this clock."""
        return time.monotonic_ns()

    def calendar(self, now: int) -> NDArray[np.int64]:
        """(3, 2) int64: number and end, an instant, of the hour, the day and the month."""
        if now - self._looked >= _LOOK_NS or now >= self.windows[0, 1]:
            self._look(now)
        return self.windows

    def _look(self, now: int) -> None:
        self._looked = now
        wall = self._wall.wall_ns(now, time.time_ns())
        for row, window in enumerate(windows(wall // 1_000_000_000)):
            self.windows[row] = window.number, now + window.end_s * 1_000_000_000 - wall
