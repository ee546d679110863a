"""Counters that replicas share through Redis or Valkey: each answers from leases in its own memory."""

import asyncio
import math
from secrets import token_hex
from typing import Final

import msgspec

from extauthz.core.budget.allowance import Allowance
from extauthz.core.budget.demand import Ask
from extauthz.core.budget.limits import Budgets, Charge, OnStoreFailure
from extauthz.core.budget.report import Usage
from extauthz.core.budget.settlement import Settled
from extauthz.core.reasons import Failure
from extauthz.store import Standing, Ticked
from extauthz.store.clock import Clock
from extauthz.store.dialogue import Dialogue, Waiter
from extauthz.store.exchange import EXCHANGE_S, Exchange
from extauthz.store.holdings import Holdings, Lack
from extauthz.store.leases import Lease, Order, Share
from extauthz.store.ledger import NS, Answer, Ledger, private_cells
from extauthz.store.options import StoreOptions
from extauthz.store.plans import CONCURRENT, LEASE, Plans
from extauthz_kernels import ledger as kernels

#: How often a request is put in line again when others took what came for it.
_ROUNDS: Final = 3
#: What the store said of a counter with too little room holds for so long.
_FRESH_NS: Final = int(EXCHANGE_S * NS)
#: Scripts count in doubles, which are exact to here.
_MOST_GIVEN: Final = 1 << 53
#: An operator's question waits for so long.
_OPERATOR_S: Final = 2.0


def redis_store(options: StoreOptions) -> "RedisStore":
    """Counters that replicas share through `options.redis`."""
    ledger = Ledger(private_cells(options.counters, options.reservations))
    return RedisStore(options.redis, ledger, Clock(), Share(options.replicas, options.overshoot))


#: A timer of an idle process is not as late as this.
_LATE_S: Final = 0.001


class RedisStore:
    """Answers from leases; asks the store for more ahead of need, and waits for it 5 ms at most.

    Attributes:
        replica: what other replicas know this one by.
        exchange, dialogue: with the store; how it is, and what was said.
    """

    def __init__(
        self, url: str, ledger: Ledger, clock: Clock, share: Share, secret: bytes = b""
    ) -> None:
        """Share counters through the server at `url`: redis://, rediss:// or unix://."""
        self.replica: Final = token_hex(8)
        self._ledger: Final = ledger
        self._clock: Final = clock
        self._holdings: Final = Holdings(ledger, share, secret)
        self.dialogue: Final = Dialogue(
            self.replica, self._holdings, clock, self._retry, self._delivered
        )
        self.exchange: Final = Exchange(url, self.dialogue)
        self.serve(Budgets())

    def serve(self, budgets: Budgets) -> None:
        """Limit by these from now on. What was counted for a limit stays."""
        self._budgets = budgets
        self._holdings.follow(budgets.limits, self._clock.now())
        strict = tuple(msgspec.structs.replace(one, shadow=False) for one in budgets.limits)
        #: As if no limit were a shadow: a shadow that is short of units has not refused yet.
        self._strict = Plans(
            msgspec.structs.replace(budgets, limits=strict), self._ledger.digest, LEASE
        )
        self._plans = Plans(budgets, self._ledger.digest, LEASE)

    async def open(self) -> bool:
        """Connect, for a second at most. Whether the store is there."""
        self.exchange.start()
        return await self.exchange.first()

    @property
    def where(self) -> str:
        """Where the counters are, and whether they can be reached: for a person."""
        how = "up" if self.exchange.prompt else "slow" if self.exchange.up else "down"
        return f"with other replicas, in a store that is {how}; {self.leases} leased here"

    @property
    def leases(self) -> int:
        """Counters of which something is known here."""
        return len(self._holdings)

    # A request.

    async def reserve(self, ask: Ask, until: float) -> Allowance | Failure:
        """Charge a request to every limit that is for it, or to none.

        `until` is the instant of the event loop's clock at which an answer must be there. OVERLOADED
        where there is no room to count in, STORE_FAULT where counters are out of reach.
        """
        found = self._from_leases(ask)
        if not isinstance(found, list):
            return found
        if self.exchange.prompt:
            waited = await self._wait(ask, found, until)
            if waited is not None:
                return waited
            found = self._from_leases(ask)
            if not isinstance(found, list):
                return found
        for lack in found:
            lack.lease.missed = max(lack.lease.missed, lack.units)
        return self._alone(ask, found)

    async def _wait(self, ask: Ask, lacks: list[Lack], until: float) -> Allowance | Failure | None:
        loop = asyncio.get_running_loop()
        waiter = Waiter(ask, lacks)
        due = min(loop.time() + self.exchange.patience_s, until)
        timer = loop.call_at(due, self._give_up, waiter, due)
        self.dialogue.waiting.append(waiter)
        self.exchange.wake()
        try:
            return await waiter.found
        finally:
            timer.cancel()

    def _give_up(self, waiter: Waiter, due: float) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - due > _LATE_S:
            # It is this process that was late. What has arrived meanwhile is read first.
            loop.call_later(_LATE_S, self._give_up, waiter, math.inf)
        elif not waiter.found.done():
            self.exchange.too_slow()
            waiter.end(None)

    def _retry(self, waiter: Waiter) -> None:
        """The store has answered what a request waited for. Others before it may have taken it."""
        if waiter.found.done():
            return
        found = self._from_leases(waiter.ask)
        if not isinstance(found, list):
            waiter.end(found)
        elif waiter.rounds < _ROUNDS:
            waiter.lacks, waiter.rounds = found, waiter.rounds + 1
            self.dialogue.waiting.append(waiter)
            self.exchange.wake()
        else:
            waiter.end(None)

    def _from_leases(self, ask: Ask) -> Allowance | Failure | list[Lack]:
        """Room for a request in what is held, or word from the store that there is none, or a lack."""
        now = self._clock.now()
        answer = self._try(self._strict, ask, now)
        if answer.state != kernels.SHORT:
            return self._told(self._strict, ask, answer, now)
        keys, lacking = self._ledger.row_keys[0].tolist(), self._ledger.lacking[0].tolist()
        leases = self._holdings.of(self._plans, ask, keys, now)
        calendar = self._clock.calendar(now)[:, 1].tolist()
        lacks = self._holdings.lacks(self._plans, ask, calendar, lacking, leases)
        hopeless = [
            lack
            for lack in lacks
            if now - lack.lease.heard < _FRESH_NS and lack.units > lack.lease.room(now)
        ]
        if refusing := [lack for lack in hopeless if not lack.lease.limit.shadow]:
            return _limited(refusing, now)
        if len(hopeless) == len(lacks):
            return self._told(self._plans, ask, self._try(self._plans, ask, now), now)
        return lacks

    def _try(self, plans: Plans, ask: Ask, now: int) -> Answer:
        ttl = self._budgets.settle.expire_s * NS
        return self._ledger.reserve(plans, ask, self._clock.calendar(now), now, ttl)

    def _told(self, plans: Plans, ask: Ask, answer: Answer, now: int) -> Allowance | Failure:
        """A granted request in the policy's words. The strictest limit is that of all replicas."""
        if answer.state in (kernels.FULL, kernels.SHORT):
            return Failure.OVERLOADED
        first, last = plans.of(ask)
        keys = self._ledger.row_keys[0, : last - first].tolist()
        if not keys or not keys[0]:  # no limit, or the id is known and nothing was looked up
            return Allowance(reserved=ask.usage)
        kept = self._ledger.lacking[0].tolist()
        leases = self._holdings.of(self._plans, ask, keys, now)
        left = [lease.room(now) - min(0, lack) for lease, lack in zip(leases, kept, strict=False)]
        open_rows = [row for row, lease in enumerate(leases) if not lease.limit.shadow]
        shadowed = [
            lease.limit.name for row, lease in enumerate(leases) if answer.shadowed >> row & 1
        ]
        if not open_rows:
            return Allowance(shadowed=tuple(shadowed), reserved=ask.usage)
        strictest = min(open_rows, key=lambda row: left[row] / max(1, leases[row].amount))
        return Allowance(
            limit=leases[strictest].limit,
            remaining=left[strictest],
            reset_s=leases[strictest].reset_ns(now) / NS,
            shadowed=tuple(shadowed),
            reserved=ask.usage,
        )

    def _alone(self, ask: Ask, lacks: list[Lack]) -> Allowance | Failure:
        """What the policy says where the store cannot be asked."""
        if self._budgets.on_store_failure is OnStoreFailure.DENY:
            return Failure.STORE_FAULT
        if self._budgets.on_store_failure is OnStoreFailure.ALLOW:
            return Allowance(uncounted=True)
        now, share = self._clock.now(), self._holdings.share
        without = [
            lack for lack in lacks if not lack.lease.can_borrow(lack.units, now, share, lack.ends)
        ]
        if refusing := [lack for lack in without if not lack.lease.limit.shadow]:
            return _limited(refusing, now)
        self._holdings.borrow([lack for lack in lacks if lack not in without], now)
        plans = self._plans if without else self._strict
        return self._told(plans, ask, self._try(plans, ask, now), now)

    # What became of it.

    def settle(self, replica: str, call_id: str, charge: Usage | Charge) -> Settled | None:
        """Charge what was used of what `replica` reserved. None where nothing is reserved here."""
        if self.forwards(replica):
            self.dialogue.forward(replica, call_id, charge)
            return None
        return self._delivered(call_id, charge)

    def forwards(self, replica: str) -> bool:
        """Whether what `replica` reserved is not settled here but there."""
        return replica not in ("", self.replica)

    def _delivered(self, call_id: str, charge: Usage | Charge) -> Settled | None:
        now = self._clock.now()
        return self._ledger.settle(call_id, charge, now)

    def release(self, call_id: str) -> None:
        """Take back what was reserved for a request that is refused after all, but that it was one."""
        self._delivered(call_id, Charge.NOTHING)

    def tick(self) -> Ticked:
        """Settle by rule what nobody will settle, and free what has ended. Once a second."""
        self.exchange.start()
        now = self._clock.now()
        return self._ledger.tick(self._budgets.settle.lost, now)

    async def close(self) -> None:
        """Give back what is held, if the store is there."""
        await self.exchange.close()

    # An operator's questions.

    async def standing(self, ask: Ask) -> list[Standing]:
        """How each limit for a request stands: in the store, or as last heard if that is away."""
        leases = await self._refreshed(ask)
        now = self._clock.now()
        return [
            Standing(
                lease.limit,
                lease.spent(now),
                max(0, lease.amount - lease.spent(now)),
                lease.reset_ns(now) / NS,
            )
            for lease in leases
        ]

    async def grant(self, ask: Ask, amount: int) -> int:
        """Give back units of every limit that is for `ask`. Of how many limits."""
        leases = [lease for lease in await self._refreshed(ask) if lease.kind != CONCURRENT]
        gift = min(amount, _MOST_GIVEN)
        return await self._ask_directly([Order(lease, gift=gift) for lease in leases])

    async def reset(self, ask: Ask) -> int:
        """Make every limit that is for `ask` as new. How many that are.

        What replicas hold of them stays theirs, and so do places of requests that are under way.
        """
        leases = [lease for lease in await self._refreshed(ask) if lease.kind != CONCURRENT]
        now = self._clock.now()
        return await self._ask_directly([lease.fresh(now) for lease in leases])

    async def _refreshed(self, ask: Ask) -> list[Lease]:
        now = self._clock.now()
        rows = self._ledger.standing(self._plans, ask, self._clock.calendar(now), now)
        leases = self._holdings.of(self._plans, ask, [seen.key for seen in rows], now)
        await self._ask_directly([Order(lease) for lease in leases])
        now = self._clock.now()
        for lease in leases:
            self._holdings.look(lease, now)
        return leases

    async def _ask_directly(self, orders: list[Order]) -> int:
        """Ask the store, and wait for it. How many questions were answered."""
        if not orders or not await self.open():
            return 0
        asked = [self.dialogue.ask(order) for order in orders]
        self.exchange.wake()
        done, _ = await asyncio.wait(asked, timeout=_OPERATOR_S)
        return sum(not answer.cancelled() for answer in done)


def _limited(refusing: list[Lack], now: int) -> Allowance:
    """Refused, by the limit with the longest wait."""

    def wait_ns(lack: Lack) -> float:
        if lack.units + lack.held > lack.lease.amount:
            return math.inf  # there is never so much
        return lack.lease.wait_ns(lack.units, now)

    longest = max(refusing, key=wait_ns)
    wait, lease = wait_ns(longest), longest.lease
    return Allowance(
        limited=True,
        limit=lease.limit,
        remaining=max(0, lease.room(now) + longest.held),
        wait_s=None if math.isinf(wait) else wait / NS,
        reset_s=lease.reset_ns(now) / NS,
    )
