"""What time does to leases: windows that end, rates that come back, replicas that are never heard again.

All clocks are the test's, the server's among them.
"""

from collections.abc import Iterator

import pytest

from extauthz.core.budget.allowance import Allowance
from extauthz.core.budget.demand import Ask
from extauthz.core.budget.limits import By, Calendar, Count, Every, Limit
from extauthz.core.budget.report import Usage
from tests.store import valkey
from tests.store.replicas import StillReplica, ask, budgets, still_replicas, tell_the_time
from tests.store.still_clock import StillClock

DAILY = Limit(
    name="daily",
    count=Count.TOTAL_TOKENS,
    amount=1_000,
    by=(By.PRINCIPAL,),
    calendar=Calendar.DAY,
)
RATE = Limit(name="rate", count=Count.TOTAL_TOKENS, amount=600, every=Every.MINUTE, burst=100)
AT_ONCE = Limit(name="at once", count=Count.CONCURRENT, amount=10, by=(By.PRINCIPAL,))


@pytest.fixture(scope="module", params=valkey.PROGRAMS, ids=valkey.name_of)
def running(request: pytest.FixtureRequest) -> Iterator[valkey.Server]:
    with valkey.serving(request.param) as server:
        yield server


@pytest.fixture
def server(running: valkey.Server) -> valkey.Server:
    running.client.flushall()
    return running


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StillClock:
    still = StillClock()
    tell_the_time(monkeypatch, still)
    return still


async def granted(store: StillReplica, request: Ask) -> bool:
    found = await store.reserve(request, 0.0)
    assert isinstance(found, Allowance)
    return not found.limited


async def spend(stores: list[StillReplica], cost: int) -> int:
    """All that replicas give, in turn."""
    total, refused = 0, 0
    while refused < len(stores):
        for store in stores:
            passed = await granted(store, ask(cost))
            total += cost * passed
            refused = 0 if passed else refused + 1
    return total


async def pass_on(stores: list[StillReplica], clock: StillClock, seconds: float) -> None:
    """Let time pass, and what is due then be asked and answered."""
    for passed in (0.05, seconds):
        clock.forward(passed)
        for store in stores:
            await store.standing(ask(who="nobody"))


async def test_each_window_has_the_whole_amount_and_no_more(
    server: valkey.Server, clock: StillClock
) -> None:
    async with still_replicas(server.url, budgets(DAILY), clock, 3) as stores:
        for _ in range(3):
            assert 900 < await spend(stores, 10) <= 1_000
            await pass_on(stores, clock, clock.seconds_of_day_left())


async def test_what_is_settled_after_its_window_is_none_of_the_next(
    server: valkey.Server, clock: StillClock
) -> None:
    async with still_replicas(server.url, budgets(DAILY), clock, 2) as stores:
        less, more = ask(100), ask(100)
        assert await granted(stores[0], less)
        assert await granted(stores[0], more)
        clock.forward(clock.seconds_of_day_left() + 1)
        assert await granted(stores[1], ask(300))
        stores[0].settle("", less.id, Usage(0, 0))
        stores[0].settle("", more.id, Usage(5_000, 0))
        await pass_on(stores, clock, 6)
        await pass_on(stores, clock, 6)

        for store in stores:
            assert [one.used for one in await store.standing(ask())] == [300]


@pytest.mark.parametrize("overshoot", [0.0, 0.01, 0.2])
async def test_a_rate_is_a_burst_and_what_came_back(
    server: valkey.Server, clock: StillClock, overshoot: float
) -> None:
    policy = budgets(RATE)
    async with still_replicas(server.url, policy, clock, 4, overshoot=overshoot) as stores:
        total = 0
        for passed in range(1, 301):
            total += await spend(stores, 1)
            clock.forward(0.2)
            assert total <= 100 * (1 + overshoot) + 10 * 0.2 * passed
        assert total >= 0.95 * (100 + 10 * 60)


class TestAReplicaThatVanishes:
    async def test_has_spent_what_it_held_until_the_window_ends(
        self, server: valkey.Server, clock: StillClock
    ) -> None:
        async with still_replicas(server.url, budgets(DAILY), clock, 2) as (gone, other):
            assert await granted(gone, ask(100))
            await gone.vanish()
            await pass_on([other], clock, 600)
            rest = await spend([other], 10)
            assert 500 < rest < 900  # its reserve is a part of what was left
            (daily,) = await other.standing(ask())
            assert daily.remaining < 10

            await pass_on([other], clock, clock.seconds_of_day_left())
            assert await spend([other], 10) == 1_000

    async def test_leaves_its_places_after_half_a_minute(
        self, server: valkey.Server, clock: StillClock
    ) -> None:
        async with still_replicas(server.url, budgets(AT_ONCE), clock, 2) as (gone, other):
            for _ in range(8):
                assert await granted(gone, ask())
            await gone.vanish()
            free = [await granted(other, ask()) for _ in range(10)]
            assert sum(free) <= 2
            await pass_on([other], clock, 29)
            assert not all([await granted(other, ask()) for _ in range(8)])

            await pass_on([other], clock, 2)
            more = [await granted(other, ask()) for _ in range(12)]
            assert sum(free) + sum(more) >= 8
            (places,) = await other.standing(ask())
            assert places.used == 10


async def test_a_smaller_amount_holds_at_once_for_what_is_in_reserve(
    server: valkey.Server, clock: StillClock
) -> None:
    async with still_replicas(server.url, budgets(DAILY), clock, 1) as (store,):
        assert await granted(store, ask(600))
        assert await granted(store, ask(50))  # out of the reserve
        smaller = Limit(
            name="daily",
            count=Count.TOTAL_TOKENS,
            amount=660,
            by=(By.PRINCIPAL,),
            calendar=Calendar.DAY,
        )
        store.serve(budgets(smaller))

        assert not await granted(store, ask(11))
        assert await granted(store, ask(10))
        assert not await granted(store, ask(1))
