"""One counter that replicas share, as this one sees it: what is left of it, and what to ask it for.

Instants are ns of this machine's monotonic clock. Where the store named one, it is taken as if the
answer had been written when the question was sent: a window then ends here no later than it does there.
"""

import math
from dataclasses import dataclass, field
from typing import Final

from extauthz.core.budget.limits import Limit
from extauthz.store.plans import CONCURRENT, RATE, WINDOW, interval_ns, kind_of, most_at_once

_S: Final = 1_000_000_000
#: A reserve is for so long at the present speed, and goes back when it lay idle for so long. What is
#: kept of a rate comes back at the store as well, so that is kept more briefly.
_HORIZON_NS: Final = {RATE: _S, WINDOW: 5 * _S, CONCURRENT: 5 * _S}
#: Time constant of the speed at which a lease is spent.
_MEMORY_NS: Final = 1 * _S
#: Settlements find a balance for at least so long after it was last looked at, which leases that are kept
#: are all the time; of a rate and of what is under way for a day at most.
_SETTLES_NS: Final = (900 * _S, 86_400 * _S)
#: Places under way are the replica's own for 30 s, and it says again that it is there.
SLOT_TTL_MS: Final = 30_000
_RESTATE_NS: Final = 10 * _S


@dataclass(frozen=True, slots=True)
class Share:
    """What replicas have agreed on: how many they are, and how far they may overshoot a rate."""

    replicas: int = 1
    overshoot: float = 0.01


@dataclass(slots=True)
class Order:
    """One question to the store about one lease.

    `need` is for requests that wait, `least` the smallest of them. `debt` was spent above the balance,
    `own` while the store was away; `back` is given back, `gift` given by an operator. `known` is what is
    told of the counter: the script charges nothing where that is of another window.
    """

    lease: "Lease"
    need: int = 0
    least: int = 0
    want: int = 0
    debt: int = 0
    own: int = 0
    back: int = 0
    gift: int = 0
    known: tuple[int, int, int, int] = field(init=False)

    def __post_init__(self) -> None:
        """Tell what is known now."""
        self.known = self.lease.known

    def is_charged_in(self, window: int) -> bool:
        """Whether the script charged anything, when it answered for `window`."""
        _, change, _, known_window = self.known
        return change == 0 or known_window == window

    def arguments(self, replica: str, share: Share) -> list[object]:
        """What the script of its kind takes."""
        lease, least = self.lease, self.least or self.need
        reserve = (self.need, least, self.want, 2 * share.replicas)
        if lease.kind == CONCURRENT:
            return [replica, lease.amount, lease.held, *reserve, SLOT_TTL_MS]
        window = lease.limit.calendar or "rate"
        charge = self.debt + self.own - self.back - self.gift
        told = (charge, int(self.gift > 0), *self.known)
        return [window, lease.amount, repr(lease.unit_ns / 1_000), *reserve, *told]


class Lease:
    """A counter under `name` in the store, whose leased units are the ledger's balance under `key`.

    Attributes:
        amount: units; the burst of a rate.
        unit_ns: time in which a rate gives one unit back, else 0.
        known: lineage, change, value and window of the counter as last seen; the script reads them.
        heard: when the store last answered; 0: never.
        balance: of the ledger, as last looked at.
        held: places under way or in reserve.
        own: units spent since then without the store's leave.
        missed: what a request lacked that did not wait.
    """

    __slots__ = (
        "_full_at",
        "_granted_at",
        "_looked_at",
        "_lot",
        "_owed_at",
        "_speed",
        "_spent_at",
        "_stopped",
        "_used",
        "amount",
        "balance",
        "ends",
        "heard",
        "held",
        "key",
        "kind",
        "known",
        "limit",
        "missed",
        "name",
        "own",
        "stated",
        "unit_ns",
    )

    def __init__(self, name: str, key: int, limit: Limit, now: int) -> None:
        """Begin with nothing known."""
        self.name, self.key = name, key
        self.known = (0, 0, 0, 0)
        self.heard = self.stated = self.ends = self._full_at = 0
        self._used = self.balance = self.held = self.own = self.missed = self._lot = 0
        self._looked_at = self._spent_at = self._granted_at = self._owed_at = now
        self._speed, self._stopped = 0.0, False
        self.follow(limit)

    def follow(self, limit: Limit) -> None:
        """Take over what a reload made of the limit. Its identity is the same."""
        self.limit, self.kind = limit, kind_of(limit)
        self.amount, self.unit_ns = most_at_once(limit), interval_ns(limit)

    # What the store has left.

    def room(self, now: int) -> int:
        """Units that the store had left, and what came back since then."""
        if self.kind == RATE:
            return max(0, int((self._burst_ns - self._behind(now)) / self.unit_ns))
        if self.kind == WINDOW and now >= self.ends:
            return self.amount
        return max(0, self.amount - self._used)

    def used(self, now: int) -> int:
        """Units that the store counts as used: above the amount where more was, below 0 after a gift."""
        if self.kind == RATE:
            return math.ceil(self._behind(now) / self.unit_ns)
        return 0 if self.kind == WINDOW and now >= self.ends else self._used

    def spent(self, now: int) -> int:
        """And of those, units that are not in reserve here."""
        return self.used(now) - self.balance

    def wait_ns(self, need: int, now: int) -> int:
        """Time until the store has `need` units."""
        if self.kind == RATE:
            return max(0, math.ceil(self._behind(now) + need * self.unit_ns - self._burst_ns))
        return max(0, self.ends - now)

    def reset_ns(self, now: int) -> int:
        """Time until the counter is as new, where time makes it so."""
        return int(self._behind(now)) if self.kind == RATE else max(0, self.ends - now)

    @property
    def _burst_ns(self) -> float:
        return self.amount * self.unit_ns

    def _behind(self, now: int) -> int:
        return max(0, self._full_at - now)

    def expires(self, now: int) -> int:
        """How long the balance is worth something."""
        least, most = _SETTLES_NS
        if self.kind == WINDOW:
            return min(self.ends, now + least)
        return now + (
            most if self.kind == CONCURRENT else min(most, max(least, int(self._burst_ns)))
        )

    def is_new(self, now: int) -> bool:
        """Whether the store needs to know nothing of it."""
        if self.kind == RATE:
            return self._behind(now) == 0
        return now >= self.ends if self.kind == WINDOW else self.held == 0

    # What it is asked for.

    def look(self, balance: int, now: int) -> None:
        """Take note of the ledger's balance, and learn how fast it is spent."""
        if self.kind == WINDOW and now >= self.ends:
            self._begin(self.ends)
        passed = now - self._looked_at
        spent = self.balance - balance
        if passed > 0:
            weight = min(1.0, passed / _MEMORY_NS)
            self._speed += (spent * _S / passed - self._speed) * weight
            self._looked_at = now
        if spent > 0:
            self._spent_at = now
        self.balance = balance

    def is_idle(self, now: int) -> bool:
        """Whether nothing was spent for a while."""
        return self._stopped or now - self._spent_at >= _HORIZON_NS[self.kind]

    def stop(self) -> None:
        """Nobody uses it any more: what is left goes back."""
        self._stopped = True

    def order(self, now: int, share: Share, need: int = 0, least: int = 0) -> Order | None:
        """What to ask the store for now, if anything. `need` is for requests that wait for it."""
        need, self.missed = max(need, self.missed), 0
        self._lot = max(self._lot, least or need)
        if self.is_idle(now) and not need:
            self._lot = 0
        self._drain(now, share)
        debt = max(0, -self.balance)  # which is charged unasked, and part of what requests lack
        need, least = max(0, need - debt), max(0, least - debt)
        made = Order(self, need, least, 0, debt, self.own)
        target = self._target(share)
        if need or (self.balance < target / 2 and not self.is_idle(now)):
            made.want = max(0, target - max(0, self.balance))
        made.back = 0 if need else self._surplus(target, now)
        is_due = self.kind == CONCURRENT and self.held > 0 and now - self.stated > _RESTATE_NS
        if need or made.want or made.debt or made.own or made.back or is_due:
            return made
        return None

    def fresh(self, now: int) -> Order:
        """What makes the counter as new, but for what is in reserve here. Debts are forgiven with it."""
        return Order(
            self, debt=max(0, -self.balance), own=self.own, back=self.spent(now) + self.own
        )

    def _target(self, share: Share) -> int:
        """Units to have in reserve."""
        target = max(int(self._speed * _HORIZON_NS[self.kind] / _S), self._lot)
        if self.kind == RATE:
            return min(target, self._most_kept(share))
        return target

    def _most_kept(self, share: Share) -> int:
        """Units of a rate in reserve: all replicas have the agreed part of the burst together."""
        return int(self.amount * share.overshoot / share.replicas)

    def _surplus(self, target: int, now: int) -> int:
        if self.is_idle(now):
            return max(0, self.balance)
        most = target if self.kind == RATE else 2 * target
        return self.balance - target if self.balance > most else 0

    def worth(self, back: int, now: int) -> int:
        """Units that the store lacks of those that go back: the others of a rate came back by time."""
        if self.kind != RATE:
            return back
        return max(0, back - int((now - self._granted_at) / self.unit_ns))

    # Without the store.

    def can_borrow(self, need: int, now: int, share: Share, ends: int) -> bool:
        """Whether this replica's share of what was left, when the store was last heard, has room.

        `ends` is the end of the present window as far as this machine knows.
        """
        if self.kind == RATE:
            # A share of the burst that comes back at a share of the speed: the time is the same.
            own = need * self.unit_ns * share.replicas
            return self._behind(now) + own <= self._burst_ns
        if self.kind == CONCURRENT:
            return self.held + need <= self.amount // share.replicas
        if now >= self.ends:
            self._begin(ends)
        return self.own + need <= max(0, self.amount - self._used) // share.replicas

    def borrow(self, need: int, now: int, share: Share) -> None:
        """Take units out of that share. The store is told when it is back."""
        self.balance += need
        if self.kind == CONCURRENT:
            self.held += need
            return
        self._drain(now, share)
        self.own += need
        if self.kind == RATE:
            own = int(need * self.unit_ns * share.replicas)
            self._full_at = max(self._full_at, now) + own
            self._granted_at = now

    def _drain(self, now: int, share: Share) -> None:
        """Forget what was spent and has come back by time since then."""
        if self.kind == WINDOW and now >= self.ends:
            self._begin(self.ends)
        elif self.kind == RATE:
            back = int((now - self._owed_at) / (self.unit_ns * share.replicas))
            if not self.own or back:
                self.own, self._owed_at = max(0, self.own - back), now

    def _begin(self, ends: int) -> None:
        """Begin a window, in which nothing was used."""
        self._used = self.own = self.balance = 0
        self.ends, self.known = ends, (0, 0, 0, 0)

    # What it answers.

    def leased(self, order: Order, answer: list[int], sent: int, now: int) -> int:
        """Take over an answer of the script. Units to put into the balance."""
        self.heard = now
        if self.kind == CONCURRENT:
            granted, self._used = answer
            self.held += granted
            self.stated = sent
            self.balance += granted
            return granted
        granted, value, change, lineage, window, server_now, ends, _ = answer
        # A debt of a window that has ended meanwhile was not charged.
        units = granted + (order.debt if order.is_charged_in(window) else 0)
        self.known = (lineage, change, value, window)
        self.own = max(0, self.own - order.own)
        if self.kind == RATE:
            self._full_at = sent + (value - server_now) * 1_000
        else:
            self._used, self.ends = value, sent + (ends - server_now) * 1_000
        if granted:
            self._granted_at = sent
        self.balance += units
        return units
