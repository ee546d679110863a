"""Several replicas in one process, each with a ledger of its own, on one server."""

import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import pytest

from extauthz.core.budget.allowance import Allowance
from extauthz.core.budget.demand import Ask
from extauthz.core.budget.limits import Budgets, Limit
from extauthz.core.budget.report import Usage
from extauthz.core.reasons import Failure
from extauthz.store.clock import Clock
from extauthz.store.leases import Order, Share
from extauthz.store.ledger import Ledger, private_cells
from extauthz.store.plans import CONCURRENT
from extauthz.store.redis import RedisStore
from tests.store.still_clock import StillClock

_names = itertools.count()


def ask(tokens: int = 0, *, who: str = "alice", **facts: Any) -> Ask:
    """A request that is to be charged `tokens` of input."""
    name = f"request-{next(_names)}"
    told = {"tenant": "acme", "route": "chat", "model": "large", "usage": Usage(tokens, 0)}
    return Ask(name, who, **told | facts)


def budgets(*limits: Limit, **facts: Any) -> Budgets:
    return Budgets(limits=limits, **facts)


async def reserve(store: RedisStore, request: Ask, within_s: float = 1.0) -> Allowance | Failure:
    return await store.reserve(request, asyncio.get_running_loop().time() + within_s)


async def granted(store: RedisStore, request: Ask) -> bool:
    """Whether there is room for a request, by the word of a store that is there."""
    found = await reserve(store, request)
    assert isinstance(found, Allowance)
    return not found.limited


def _wall_ns(clock: StillClock) -> int:
    """The Unix time of a clock, from the hour that it is in and what is left of it."""
    number, end = clock.calendar(clock.now())[0].tolist()
    return int((number + 1) * 3_600_000_000_000 - (end - clock.now()))


def tell_the_time(patch: pytest.MonkeyPatch, clock: StillClock) -> None:
    """Let scripts take the test's time for that of the server."""
    plain = Order.arguments

    def arguments(order: Order, replica: str, share: Share) -> list[object]:
        ns = 1_000_000 if order.lease.kind == CONCURRENT else 1_000
        return [*plain(order, replica, share), _wall_ns(clock) // ns]

    patch.setattr(Order, "arguments", arguments)


class StillReplica(RedisStore):
    """A replica for which no time passes while it waits for the server."""

    def __init__(self, url: str, ledger: Ledger, clock: StillClock, share: Share) -> None:
        super().__init__(url, ledger, clock, share)
        self.exchange.patience_s = 10.0

    async def reserve(self, ask: Ask, _until: float) -> Allowance | Failure:
        return await super().reserve(ask, math.inf)

    async def vanish(self) -> None:
        """As if it was killed: it says nothing more."""
        task = self.exchange._task
        assert task is not None
        task.cancel()
        await asyncio.wait([task])
        await self.exchange._hang_up()


@asynccontextmanager
async def still_replicas(
    url: str, policy: Budgets, clock: StillClock, count: int, **share: float
) -> AsyncIterator[list[StillReplica]]:
    """Connected replicas with one clock until the block ends."""
    async with AsyncExitStack() as stack:
        stores = []
        for _ in range(count):
            ledger = Ledger(private_cells(1 << 12, 1 << 12))
            agreed = Share(**{"replicas": count} | share)  # type: ignore[arg-type]
            store = StillReplica(url, ledger, clock, agreed)
            stack.push_async_callback(store.close)
            store.serve(policy)
            assert await store.open()
            stores.append(store)
        yield stores


class SkippingClock(Clock):
    """A clock on which time may pass at once."""

    def __init__(self) -> None:
        self._skipped = 0
        super().__init__()

    def now(self) -> int:
        return super().now() + self._skipped

    def skip(self, seconds: float) -> None:
        self._skipped += int(seconds * 1e9)


class Replica(RedisStore):
    """A replica whose time the test moves, and that waits for a server on a noisy machine.

    Attributes:
        waits: how often a request waited for the store.
    """

    def __init__(self, url: str, share: Share, secret: bytes = b"") -> None:
        self.clock = SkippingClock()
        ledger = Ledger(private_cells(1 << 12, 1 << 14))
        super().__init__(url, ledger, self.clock, share, secret)
        self.exchange.patience_s = 10.0
        self.waits = 0
        self._heard = asyncio.Event()
        for name in ("answered", "failed"):
            setattr(self.dialogue, name, self._heard_after(getattr(self.dialogue, name)))

    def _heard_after(self, hear: Callable[..., None]) -> Callable[..., None]:
        def heard(*answers: object) -> None:
            hear(*answers)
            self._heard.set()

        return heard

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for exchanges until something is so."""
        while not is_so():
            self._heard.clear()
            await self._heard.wait()

    async def up(self) -> None:
        """Wait until the server answers."""
        await self.until(lambda: self.exchange.up)

    async def down(self) -> None:
        """Wait until the server is taken for lost."""
        await self.until(lambda: not self.exchange.up)

    async def _wait(self, *waiting: Any) -> Allowance | Failure | None:
        self.waits += 1
        return await super()._wait(*waiting)

    async def later(self, seconds: float = 0.05) -> None:
        """Let time pass, and what is due then be asked and answered."""
        for passed in (0.05, seconds):
            self.clock.skip(passed)
            await self.standing(ask(who="nobody"))


def at_once(store: RedisStore, request: Ask) -> Allowance | Failure:
    """What a replica says without waiting for anything."""
    deciding = store.reserve(request, asyncio.get_running_loop().time() + 1)
    try:
        deciding.send(None)
    except StopIteration as found:
        return cast("Allowance | Failure", found.value)
    deciding.close()
    raise AssertionError("it waited")


@asynccontextmanager
async def replicas(
    url: str, policy: Budgets, count: int = 1, **share: float
) -> AsyncIterator[list[Replica]]:
    """Connected replicas until the block ends."""
    async with AsyncExitStack() as stack:
        stores = []
        for _ in range(count):
            store = Replica(url, Share(**{"replicas": count} | share))  # type: ignore[arg-type]
            stack.push_async_callback(store.close)
            store.serve(policy)
            await store.open()
            await store.up()
            stores.append(store)
        yield stores
