"""Several replicas in one process, each with a ledger of its own, on one server."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from extauthz.core.budget.allowance import Allowance
from extauthz.core.budget.demand import Ask
from extauthz.core.budget.limits import Budgets, Limit
from extauthz.core.budget.report import Usage
from extauthz.core.reasons import Failure
from extauthz.store.clock import Clock
from extauthz.store.leases import Share
from extauthz.store.ledger import Ledger, private_cells
from extauthz.store.redis import RedisStore

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


def patient(store: RedisStore) -> None:
    """A noisy machine may be late by more than 5 ms: wait for the server all the same."""
    store.exchange.patience_s = 10.0


@asynccontextmanager
async def replicas(
    url: str,
    policy: Budgets,
    count: int = 1,
    *,
    share: Share | None = None,
    hasty: bool = False,
) -> AsyncIterator[list[RedisStore]]:
    """Connected replicas until the block ends."""
    async with AsyncExitStack() as stack:
        stores = []
        for _ in range(count):
            ledger = Ledger(private_cells(1 << 12, 1 << 14))
            store = RedisStore(url, ledger, Clock(), share or Share(count))
            stack.push_async_callback(store.close)
            if not hasty:
                patient(store)
            store.serve(policy)
            assert await store.open()
            stores.append(store)
        yield stores


async def turns(store: RedisStore, count: int = 1) -> None:
    """Wait until a replica has had its say `count` times more, whatever was urgent."""
    for _ in range(count):
        await store.exchange.turned()
