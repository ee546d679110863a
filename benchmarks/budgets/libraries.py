"""Libraries. They are no dependencies of this project: who lacks them is told how to get them."""

import importlib
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from benchmarks.budgets.contest import (
    A_DAY,
    BURST,
    IDENTITIES,
    Base,
    Contestant,
    name_of,
    shuffled,
    spent_limit,
)

LIBRARIES: Final = {"limits": "5.8.0", "throttled-py": "3.5.0"}
FIXED, SLIDING, THROTTLED = (
    "limits, fixed window",
    "limits, sliding window",
    "throttled-py, GCRA",
)


def contestants(folder: str, limits: int) -> dict[str, Contestant]:
    """All of them; their background work for what they were filled with is done."""
    found: dict[str, Contestant] = {
        FIXED: _Fixed(folder, limits),
        SLIDING: _Sliding(folder, limits),
        THROTTLED: _Throttled(folder, limits),
    }
    for one in found.values():
        one.rest()
    return found


def library(name: str, folder: str) -> Any:  # noqa: ANN401  # it has no place in the types
    """The library, from a folder of its own. Exits where it is not there."""
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        return importlib.import_module(name)
    except ImportError:
        wanted = " ".join(f"{package}=={version}" for package, version in LIBRARIES.items())
        sys.exit(f"{name} is not there: pip install --target {folder} {wanted}")


class _Library(Base):
    """A library that decides one request at a time."""

    def reserve(self) -> int:
        decide = self._decide
        return sum(decide(who, usage) for _, who, usage in self.requests)

    def _decide(self, who: str, usage: Sequence[int]) -> bool:
        raise NotImplementedError


class _Limits(_Library):
    """`limits`, with one of its strategies."""

    strategy: str

    def __init__(self, folder: str, limits: int) -> None:
        found = library("limits", folder)
        self._storage = found.storage.MemoryStorage()
        self._limiter = getattr(found.strategies, self.strategy)(self._storage)
        item = found.RateLimitItemPerDay
        self._limits = [(item(BURST, 1, namespace=f"limit-{n}"), n % 3) for n in range(limits)]
        hit_all(self._limiter.hit, [item for item, _ in self._limits])

    def rest(self) -> None:
        """Its timer goes through all counters again and again while it is used."""
        self._storage.timer.join()


class _Fixed(_Limits):
    """Fixed windows: hit, and taken back when a later limit refuses."""

    strategy = "FixedWindowRateLimiter"

    def _decide(self, who: str, usage: Sequence[int]) -> bool:
        hit = self._limiter.hit
        for index, (item, count) in enumerate(self._limits):
            if not hit(item, who, cost=usage[count]):
                for charged, counted in self._limits[: index + 1]:
                    self._storage.decr(charged.key_for(who), usage[counted])
                return False
        return True


class _Sliding(_Limits):
    """Sliding window counters: all tested, then all hit."""

    strategy = "SlidingWindowCounterRateLimiter"

    def _decide(self, who: str, usage: Sequence[int]) -> bool:
        test, hit = self._limiter.test, self._limiter.hit
        for item, count in self._limits:
            if not test(item, who, cost=usage[count]):
                return False
        for item, count in self._limits:
            hit(item, who, cost=usage[count])
        return True


class _Throttled(_Library):
    """throttled-py, GCRA: all looked at, then all hit. A store for each limit, so keys are ready."""

    def __init__(self, folder: str, limits: int) -> None:
        self._limits = [(throttle_of(folder), number % 3) for number in range(limits)]
        hit_all(limit, [throttle for throttle, _ in self._limits])

    def _decide(self, who: str, usage: Sequence[int]) -> bool:
        for throttle, count in self._limits:
            if throttle.peek(who).remaining < usage[count]:
                return False
        for throttle, count in self._limits:
            throttle.limit(who, usage[count])
        return True


def throttle_of(folder: str) -> Any:  # noqa: ANN401
    """A limit of throttled-py, with its store."""
    found = library("throttled", folder)
    quota = found.per_duration(timedelta(days=1), A_DAY, BURST)
    store = found.MemoryStore(options={"MAX_SIZE": 1 << 24})
    return found.Throttled(using="gcra", quota=quota, store=store)


def limit(throttle: Any, who: str, cost: int) -> None:  # noqa: ANN401
    """`hit` of throttled-py."""
    throttle.limit(who, cost)


def hit_all(hit: Any, limits: Sequence[Any], identities: int = IDENTITIES) -> None:  # noqa: ANN401
    """Make a counter of each limit for each identity, and use up those that are to be."""
    for number in shuffled(identities):
        who, spent = name_of(number), spent_limit(number, len(limits))
        for index, limited in enumerate(limits):
            hit(limited, who, cost=BURST if index == spent else 1)
