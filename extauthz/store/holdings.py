"""All leases of this replica: whose they are, what the store is asked for, and what the ledger holds."""

from collections.abc import Iterable
from hashlib import blake2b
from itertools import islice
from typing import Final, NamedTuple

from extauthz.core.budget.demand import Ask
from extauthz.core.budget.limits import Count, Limit
from extauthz.store.leases import Lease, Order, Share
from extauthz.store.ledger import Ledger
from extauthz.store.plans import CALENDAR, CONCURRENT, LEASE, Plans, most_at_once

#: Leases that are kept. One that falls out is given back, and begins anew when it is asked for.
_MOST_LEASES: Final = 100_000
#: Leases looked at in a turn: of those that requests used since the last, and of all in rotation, since
#: settlements change balances too. A few microseconds each.
_USED_AT_ONCE, _ALL_AT_ONCE = 512, 128
#: Counters told in a turn to a server that may have forgotten: 2,000 a second.
_TOLD_AT_ONCE: Final = 100
#: Leases on their way back while the store is away. What others hold is then as if it were used.
_MOST_RETURNED: Final = 10_000
_NAME_BYTES: Final = 16


class Lack(NamedTuple):
    """What one limit's lease lacks for a request.

    `held` is there already, or negative; `ends` is the end of the present window as we know it.
    """

    lease: Lease
    units: int
    held: int
    ends: int


class Holdings:
    """Leases by the key of their balance in the ledger."""

    def __init__(self, ledger: Ledger, share: Share, secret: bytes) -> None:
        """Hold nothing yet. All replicas name their counters with the same `secret`, or none."""
        self.share: Final = share
        self._ledger: Final = ledger
        self._secret: Final = blake2b(secret).digest() if secret else b""
        self._leases: dict[int, Lease] = {}
        self._used: dict[Lease, None] = {}
        self._round: list[Lease] = []
        #: What went back between two exchanges.
        self._returned: list[Order] = []
        self._untold: list[Lease] = []

    def __len__(self) -> int:
        """Leases that are kept."""
        return len(self._leases)

    def find(self, key: int, ask: Ask, limit: Limit, now: int) -> Lease:
        """The lease of a limit for a request, which is about to use it."""
        lease = self._leases.get(key)
        if lease is None:
            if len(self._leases) >= _MOST_LEASES:
                self._evict(now)
            lease = self._leases[key] = Lease(self._name(ask, limit), key, limit, now)
        elif lease.limit is not limit:
            lease.follow(limit)
        self._used[lease] = None
        return lease

    def of(self, plans: Plans, ask: Ask, keys: Iterable[int], now: int) -> list[Lease]:
        """The lease of each limit for a request. `keys` are those of the rows."""
        first, last = plans.of(ask)
        return [
            self.find(key, ask, limit, now)
            for key, limit in zip(keys, plans.limits[first:last], strict=False)
        ]

    def follow(self, limits: Iterable[Limit], now: int) -> None:
        """Give back what is held beyond an amount that a reload made smaller. Others follow when used."""
        named = {limit.identity: limit for limit in limits}
        smaller: dict[int, Limit | None] = {}  # by the old one, of which there are few
        for lease in self._leases.values():
            if lease.balance <= 0 and lease not in self._used:
                continue
            old = lease.limit
            if id(old) not in smaller:
                new = named.get(old.identity)
                smaller[id(old)] = new if new and most_at_once(new) < lease.amount else None
            limit = smaller[id(old)]
            if limit is not None:
                self._shrink(lease, limit, now)

    def _shrink(self, lease: Lease, limit: Limit, now: int) -> None:
        lease.follow(limit)
        self.look(lease, now)
        excess = min(lease.balance, lease.used(now) - lease.amount)
        if excess > 0 and len(self._returned) < _MOST_RETURNED:
            order = Order(lease, back=excess)
            self._take_back(order, now)
            self._returned.append(order)

    def look(self, lease: Lease, now: int) -> None:
        """Let a lease take note of its balance, which is below 0 where more was used than it had."""
        balance = self._ledger.adjust(lease.key, LEASE, 0, lease.expires(now), now)
        lease.look(balance or 0, now)

    def lacks(
        self, plans: Plans, ask: Ask, calendar: list[int], lacking: list[int], leases: list[Lease]
    ) -> list[Lack]:
        """What each limit lacks of those that a request was refused for."""
        first, _ = plans.of(ask)
        found = []
        for row, (lease, units) in enumerate(zip(leases, lacking, strict=False), first):
            cost = _cost(lease.limit.count, ask)
            if units > 0 and cost > 0:
                ends = calendar[int(plans.rows[row, CALENDAR])]
                found.append(Lack(lease, units, cost - units, ends))
        return found

    def orders(
        self, needs: dict[Lease, tuple[int, int]], now: int, *, all_due: bool
    ) -> list[Order]:
        """What to ask the store for: for whoever waits, and (`all_due`) for whatever is due."""
        orders, self._returned = self._returned, []
        for lease, (need, least) in needs.items():
            self._order(orders, lease, now, need, least)
        if all_due:
            for lease in self._turn():
                if lease not in needs:
                    self._order(orders, lease, now)
        return orders

    def _turn(self) -> dict[Lease, None]:
        """Leases to look at now."""
        turn = dict.fromkeys(islice(self._used, _USED_AT_ONCE))
        for lease in turn:
            del self._used[lease]
        if not self._round:
            self._round = list(self._leases.values())
        turn |= {
            lease: None
            for lease in self._round[-_ALL_AT_ONCE:]
            if self._leases.get(lease.key) is lease
        }
        del self._round[-_ALL_AT_ONCE:]
        return turn

    def _order(
        self, orders: list[Order], lease: Lease, now: int, need: int = 0, least: int = 0
    ) -> None:
        self.look(lease, now)
        order = lease.order(now, self.share, need, least)
        if order is not None:
            if order.back:
                self._take_back(order, now)
            orders.append(order)

    def _take_back(self, order: Order, now: int) -> None:
        """Take out of the ledger what is given back, so that nobody uses it in the meantime."""
        lease = order.lease
        taken = self._ledger.withdraw(lease.key, order.back, now)
        lease.balance -= taken
        order.back = lease.worth(taken, now)
        if lease.kind == CONCURRENT:
            lease.held -= taken

    def answered(self, order: Order, answer: list[int], sent: int, now: int) -> None:
        """Put what was granted into the ledger."""
        lease = order.lease
        units = lease.leased(order, answer, sent, now)
        if units or lease.kind == CONCURRENT:
            self._ledger.adjust(lease.key, LEASE, units, lease.expires(now), now)

    def borrow(self, lacks: Iterable[Lack], now: int) -> None:
        """Take what a request lacks out of this replica's share."""
        for lease, units, *_ in lacks:
            lease.borrow(units, now, self.share)
            self._ledger.adjust(lease.key, LEASE, units, lease.expires(now), now)

    def give_all_back(self, now: int) -> list[Order]:
        """Give back whatever nobody uses."""
        orders, self._returned = self._returned, []
        for lease in self._leases.values():
            lease.stop()
            self._order(orders, lease, now)
        return orders

    def tell_again(self) -> None:
        """The server may have forgotten: tell it, little by little, what we know of each counter."""
        self._untold = [lease for lease in self._leases.values() if lease.heard]

    def told(self, since: int, now: int) -> list[Order]:
        """Questions for nothing, which tell what we know of counters not asked about `since` then."""
        orders: list[Order] = []
        while self._untold and len(orders) < _TOLD_AT_ONCE:
            lease = self._untold.pop()
            if lease.heard < since and not lease.is_new(now):
                orders.append(Order(lease))
        return orders

    def _evict(self, now: int) -> None:
        """Let go of the oldest lease that holds no places of requests under way."""
        oldest = list(islice(self._leases.values(), 16))
        lease = next((lease for lease in oldest if lease.held == 0), oldest[0])
        del self._leases[lease.key]
        self._used.pop(lease, None)
        lease.stop()
        if len(self._returned) < _MOST_RETURNED:
            self._order(self._returned, lease, now)

    def _name(self, ask: Ask, limit: Limit) -> str:
        """The counter's key in the store. Nothing of an identity can be read in it."""
        parts = [limit.identity, *(getattr(ask, part) for part in sorted(limit.by))]
        text = "".join(f"{len(part)} {part}" for part in parts)
        name = blake2b(text.encode(), digest_size=_NAME_BYTES, key=self._secret)
        return f"extauthz:{{{name.hexdigest()}}}"


def _cost(count: Count, ask: Ask) -> int:
    """Units that a request is to be charged."""
    usage = ask.usage
    match count:
        case Count.REQUESTS:
            return ask.requests
        case Count.INPUT_TOKENS:
            return usage.input_tokens
        case Count.OUTPUT_TOKENS:
            return usage.output_tokens
        case Count.TOTAL_TOKENS:
            return usage.input_tokens + usage.output_tokens
        case Count.COST:
            return usage.input_tokens * ask.input_price + usage.output_tokens * ask.output_price
        case _:
            return 1
