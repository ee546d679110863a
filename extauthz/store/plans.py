"""The limits of a policy as rows for the kernels: which are for a request, and how they count."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from extauthz.core.budget.allowance import NANO
from extauthz.core.budget.demand import Ask
from extauthz.core.budget.limits import EVERY_S, Budgets, By, Calendar, Count, Limit

RATE, WINDOW, CONCURRENT, LEASE = range(4)
#: Columns of a row.
SALT, PARTS, COUNT, KIND, CALENDAR, AMOUNT, SHADOW = range(7)
_COLUMNS: Final = 8

_COUNTS: Final = {count: number for number, count in enumerate(Count)}
_CALENDARS: Final = {window: number for number, window in enumerate(Calendar)}
_PARTS: Final = {By.PRINCIPAL: 1, By.TENANT: 2, By.ROUTE: 4, By.MODEL: 8}

#: A keyed digest of 64 bits, as a signed number, for what names a counter.
Digest = Callable[[str], int]


def kind_of(limit: Limit) -> int:
    """How a limit counts."""
    if limit.count is Count.CONCURRENT:
        return CONCURRENT
    return RATE if limit.every else WINDOW


def units(limit: Limit, amount: float) -> int:
    """An amount of the policy in units of the counters."""
    return round(amount * NANO) if limit.count is Count.COST else int(amount)


def most_at_once(limit: Limit) -> int:
    """Units that are there when nothing was used: the burst of a rate, the amount of any other."""
    return units(limit, limit.most_at_once)


def interval_ns(limit: Limit) -> float:
    """The emission interval of a rate: ns in which one unit comes back. 0 for any other."""
    if limit.every is None:
        return 0.0
    return EVERY_S[limit.every] * 1e9 / units(limit, limit.amount)


class Plans:
    """Rows of all limits, grouped by which requests they are for.

    A group is laid out when the first request of its route and model comes: routes and models are the
    policy's, so there are few of either.
    """

    def __init__(self, budgets: Budgets, digest: Digest, kind: int | None = None) -> None:
        """Take over the limits of a policy.

        Args:
            budgets: of the policy.
            digest: names counters.
            kind: LEASE where the counters are balances of leases, whatever they count.
        """
        self._limits: Final = budgets.limits
        self._digest: Final = digest
        self._kind: Final = kind
        self._groups: dict[tuple[str, str, tuple[str, ...]], tuple[int, int]] = {}
        self._laid: dict[tuple[int, ...], tuple[int, int]] = {}
        self.limits: list[Limit] = []
        self.rows: NDArray[np.int64] = np.empty((0, _COLUMNS), np.int64)
        self.intervals: NDArray[np.float64] = np.empty(0, np.float64)

    def of(self, ask: Ask) -> tuple[int, int]:
        """First row and the one after the last of the limits for a request."""
        group = self._groups.get((ask.route, ask.model, ask.only))
        if group is None:
            group = self._groups[ask.route, ask.model, ask.only] = self._lay(ask)
        return group

    def _lay(self, ask: Ask) -> tuple[int, int]:
        chosen = tuple(
            index
            for index, limit in enumerate(self._limits)
            if limit.is_for(ask.route, ask.model) and (not ask.only or limit.name in ask.only)
        )
        if chosen not in self._laid:
            first = len(self.limits)
            added = [self._limits[index] for index in chosen]
            self.limits += added
            rows = np.array([self._row(limit) for limit in added], np.int64)
            self.rows = np.concatenate([self.rows, rows.reshape(-1, _COLUMNS)])
            intervals = [interval_ns(limit) for limit in added]
            self.intervals = np.concatenate([self.intervals, np.array(intervals, np.float64)])
            self._laid[chosen] = (first, first + len(added))
        return self._laid[chosen]

    def _row(self, limit: Limit) -> list[int]:
        kind = kind_of(limit) if self._kind is None else self._kind
        return [
            self._digest(f"limit {limit.identity}"),
            sum(_PARTS[part] for part in limit.by),
            _COUNTS[limit.count],
            kind,
            _CALENDARS[limit.calendar] if limit.calendar else 0,
            most_at_once(limit),
            int(limit.shadow),
            0,
        ]
