"""Who uses most, in bounded memory however many callers there are.

Misra and Gries (Finding repeated elements, 1982), with weights: each caller has a sum, and when there
are too many, the median of all sums is taken from each of them and who has nothing left is forgotten.
A sum is then too small by what was taken, and never too large: nobody looks heavier than they are.
"""

from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from extauthz.telemetry.observation import Observation

#: Callers that are remembered at most, with some 0.3 KB each; a name has at most 2 KB.
MOST: Final = 1_000
#: What is older counts for half, a quarter and so on.
HALF_LIFE_S: Final = 3_600
#: After so many halves nothing of any sum is left.
_LAST_HALF: Final = 64


class Consumer(NamedTuple):
    """A heavy caller. `principal` is its name, empty for all that nobody knows; `digest` as in records.

    `tokens` were reserved in the last hours, in `requests` that were allowed; older ones count for half,
    a quarter, and so on. `limit` is the one that was the strictest for its last request, of which
    `remaining` was left, in the unit of the policy; empty where no limit was for it.
    """

    principal: str
    digest: str
    tokens: int
    requests: int
    limit: str
    remaining: float


@dataclass(slots=True)
class _Sum:
    digest: str
    tokens: float = 0.0
    requests: float = 0.0
    limit: str = ""
    remaining: float = 0.0


class _Table(NamedTuple):
    """What was counted, as it was worth at `aged_s`."""

    aged_s: float
    sums: dict[str, _Sum]


class Consumers:
    """The heaviest callers of the last hours. `observe` is for one thread, `heaviest` for any.

    What is shown for a caller is its tokens, or less by at most a 500th of everybody's together: each
    time something is taken, half of MOST callers lose it. Whoever has more than that is in here.
    What a request really used is not looked at: who is heavy by what was reserved is soon heavy by what
    is left of a limit, which is settled.
    """

    def __init__(self, at_s: float) -> None:
        """Begin with nobody. Times are seconds of one clock that only moves forward."""
        # Replaced as a whole, so that another thread never reads half of a change.
        self._table = _Table(at_s, {})

    def observe(self, seen: Observation, at_s: float) -> None:
        """Count one decision: tokens if it let the request pass, how its limit stands in any case."""
        self._age(at_s)
        allowance = seen.signals.allowance
        if allowance is None:
            return
        known = self._table.sums.get(seen.call.principal)
        if seen.decision.denial is None and (tokens := sum(allowance.reserved)):
            known = known or self._new(seen)
            known.tokens += tokens
            known.requests += 1
        if known and allowance.limit is not None:
            known.limit, known.remaining = allowance.limit.name, allowance.remaining_amount

    def heaviest(self, most: int, at_s: float) -> list[Consumer]:
        """The first `most` of them, the heaviest first."""
        aged_s, sums = self._table
        left = _left(at_s - aged_s)
        # list() of items is one step of the interpreter: no other thread adds to them during it.
        found = sorted(list(sums.items()), key=lambda item: -item[1].tokens)  # noqa: C414
        return [
            Consumer(
                principal,
                one.digest,
                round(one.tokens * left),
                round(one.requests * left),
                one.limit,
                one.remaining,
            )
            for principal, one in found[:most]
            if one.tokens * left >= 1
        ]

    def _new(self, seen: Observation) -> _Sum:
        if len(self._table.sums) >= MOST:
            self._make_room()
        found = self._table.sums[seen.call.principal] = _Sum(seen.principal_digest)
        return found

    def _make_room(self) -> None:
        """Take the median from everybody."""
        aged_s, sums = self._table
        taken = sorted(one.tokens for one in sums.values())[MOST // 2]
        kept = {
            name: replace(one, tokens=one.tokens - taken)
            for name, one in sums.items()
            if one.tokens > taken
        }
        self._table = _Table(aged_s, kept)

    def _age(self, at_s: float) -> None:
        """Halve everything once an hour, and forget who has less than a token left."""
        aged_s, sums = self._table
        since = at_s - aged_s
        if since < HALF_LIFE_S:
            return
        left = _left(since)
        kept = {
            name: replace(one, tokens=one.tokens * left, requests=one.requests * left)
            for name, one in sums.items()
            if one.tokens * left >= 1
        }
        self._table = _Table(aged_s + since // HALF_LIFE_S * HALF_LIFE_S, kept)


def _left(seconds: float) -> float:
    """What a sum is worth after so long: half of it after one hour."""
    return float(0.5 ** min(seconds // HALF_LIFE_S, _LAST_HALF))
