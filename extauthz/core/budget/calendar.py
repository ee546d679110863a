"""Hours, days and months (UTC), and a wall clock that never jumps."""

import calendar
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

#: How fast a wall clock that was found wrong is put right: a tenth of the time that passes, so that a
#: step of an hour takes ten. A machine that starts with a clock that was never set has to be restarted.
_SLEW = 0.1
_HOUR_S, _DAY_S = 3_600, 86_400


class Window(NamedTuple):
    """A window of the calendar: its number, and the Unix time at which it ends."""

    number: int
    end_s: int


def windows(unix_s: int) -> tuple[Window, Window, Window]:
    """The hour, the day and the month that `unix_s` is in, in the order of the kernels."""
    hour, day = unix_s // _HOUR_S, unix_s // _DAY_S
    at = datetime.fromtimestamp(unix_s, UTC)
    first = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    after = first + timedelta(days=calendar.monthrange(at.year, at.month)[1])
    return (
        Window(hour, (hour + 1) * _HOUR_S),
        Window(day, (day + 1) * _DAY_S),
        Window(at.year * 12 + at.month - 1, int(after.timestamp())),
    )


class SteadyClock:
    """Wall time that moves with a clock that cannot be set, and follows the one that can, slowly."""

    def __init__(self, steady_ns: int, wall_ns: int) -> None:
        """Begin with both clocks as they are now."""
        self._steady_ns = steady_ns
        self._ahead_ns = wall_ns - steady_ns

    def wall_ns(self, steady_ns: int, wall_ns: int) -> int:
        """The time of the wall, given what both clocks show."""
        most = int(max(0, steady_ns - self._steady_ns) * _SLEW)
        wrong = wall_ns - steady_ns - self._ahead_ns
        self._ahead_ns += max(-most, min(most, wrong))
        self._steady_ns = max(self._steady_ns, steady_ns)
        return steady_ns + self._ahead_ns
