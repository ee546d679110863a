"""A clock that moves when a test says so."""

import numpy as np
from numpy.typing import NDArray

from extauthz.core.budget.calendar import windows
from extauthz.store.clock import Clock

#: 2026-03-04 05:06:07 UTC.
_WALL_S = 1_772_600_767


class StillClock(Clock):
    """Stands still at first, at a time of no importance."""

    def __init__(self) -> None:
        self._now = 5_000_000_000

    def now(self) -> int:
        return self._now

    def calendar(self, now: int) -> NDArray[np.int64]:
        wall = now + (_WALL_S - 5) * 1_000_000_000
        found = windows(wall // 1_000_000_000)
        ends = [(one.number, now + one.end_s * 1_000_000_000 - wall) for one in found]
        return np.array(ends, np.int64)

    def forward(self, seconds: float) -> None:
        self._now += round(seconds * 1e9)

    def seconds_of_day_left(self) -> float:
        return float(self.calendar(self._now)[1, 1] - self._now) / 1e9
