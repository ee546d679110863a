"""Plain Python: GCRA over dicts, as fast as it gets."""

import time
from collections.abc import Sequence

from benchmarks.budgets.contest import (
    BURST_NS,
    IDENTITIES,
    INTERVAL_NS,
    TTL_NS,
    Base,
    Contestant,
    name_of,
    shuffled,
    spent_limit,
)

DICTS, LISTS, WITH_RESERVATION = "dict a limit", "dict of lists", "{}, reservation"


def contestants(limits: int) -> dict[str, Contestant]:
    """Both kinds, without and with reservations."""
    found: dict[str, Contestant] = {}
    for name, plain in ((DICTS, _Dicts(limits)), (LISTS, _Lists(limits))):
        found[name] = plain
        found[WITH_RESERVATION.format(name)] = _Reserving(plain)
    return found


class _Dicts(Base):
    """GCRA with a dict for each limit: who, and the instant at which the counter is as new."""

    def __init__(self, limits: int) -> None:
        self._limits: list[tuple[dict[str, int], int, int, int]] = [
            ({}, number % 3, INTERVAL_NS, BURST_NS) for number in range(limits)
        ]
        now = time.monotonic_ns()
        for number in shuffled(IDENTITIES):
            for index, (tats, *_) in enumerate(self._limits):
                tats[name_of(number)] = now + _spent_ns(number, limits, index)

    def reserve(self) -> int:
        decide, now = self.decide, time.monotonic_ns
        return sum(decide(who, usage, now()) for _, who, usage in self.requests)

    def decide(self, who: str, usage: Sequence[int], now: int) -> bool:
        fresh = []
        for tats, count, interval, burst in self._limits:
            tat = tats.get(who, 0)
            if tat < now:  # noqa: PLR1730  # `max` would be slower
                tat = now
            tat += usage[count] * interval
            if tat - now > burst:
                return False
            fresh.append(tat)
        for limit, tat in zip(self._limits, fresh):  # noqa: B905  # slower
            limit[0][who] = tat
        return True

    def refund(self, who: str, change: Sequence[int]) -> None:
        for tats, count, interval, _ in self._limits:
            tats[who] += change[count] * interval


class _Lists(Base):
    """GCRA with one dict: who, and a list with an instant for each limit."""

    def __init__(self, limits: int) -> None:
        self._limits = [(number % 3, INTERVAL_NS, BURST_NS) for number in range(limits)]
        self._new = [0] * limits
        now = time.monotonic_ns()
        self._tats = {
            name_of(number): [now + _spent_ns(number, limits, index) for index in range(limits)]
            for number in shuffled(IDENTITIES)
        }

    def reserve(self) -> int:
        decide, now = self.decide, time.monotonic_ns
        return sum(decide(who, usage, now()) for _, who, usage in self.requests)

    def decide(self, who: str, usage: Sequence[int], now: int) -> bool:
        fresh = []
        held = self._tats.get(who, self._new)
        for tat, (count, interval, burst) in zip(held, self._limits):  # noqa: B905  # slower
            begin = (tat if tat > now else now) + usage[count] * interval  # noqa: FURB136  # slower
            if begin - now > burst:
                return False
            fresh.append(begin)
        self._tats[who] = fresh
        return True

    def refund(self, who: str, change: Sequence[int]) -> None:
        tats = self._tats[who]
        for index, (count, interval, _) in enumerate(self._limits):
            tats[index] += change[count] * interval


class _Reserving(Base):
    """A dict of either kind that keeps who was charged what, until it is settled."""

    def __init__(self, plain: _Dicts | _Lists) -> None:
        self._decide, self._refund = plain.decide, plain.refund
        self._held: dict[str, tuple[str, Sequence[int], int]] = {}

    def reserve(self) -> int:
        decide, now, held, granted = self._decide, time.monotonic_ns, self._held, 0
        for call_id, who, usage in self.requests:
            instant = now()
            if call_id not in held and decide(who, usage, instant):
                held[call_id] = (who, usage, instant + TTL_NS)
                granted += 1
        return granted

    def settle(self) -> int:
        settled = 0
        for call_id, _, (used, made, _) in self.requests:
            settled += self._settle(call_id, (used // 2, made // 2, used // 2 + made // 2))
        return settled

    def _settle(self, call_id: str, usage: tuple[int, int, int]) -> bool:
        found = self._held.pop(call_id, None)
        if found is None:
            return False
        who, held, _ = found
        self._refund(who, [told - kept for told, kept in zip(usage, held, strict=True)])
        return True


def _spent_ns(number: int, limits: int, index: int) -> int:
    return BURST_NS if spent_limit(number, limits) == index else INTERVAL_NS
