"""The one body of tests of all stores, over counters that are leased from a server.

The server's time is the test's: its clock stands still here as it does for counters in memory.
"""

from collections.abc import AsyncIterator, Iterator

import pytest

from extauthz.core.budget.allowance import Allowance
from extauthz.core.budget.demand import Ask
from extauthz.core.budget.limits import Budgets, Charge
from extauthz.core.reasons import Failure
from extauthz.store.leases import Share
from extauthz.store.ledger import Ledger, private_cells
from tests.store import test_stores, valkey
from tests.store.replicas import StillReplica, tell_the_time
from tests.store.still_clock import StillClock
from tests.store.test_stores import ask, day

globals().update(
    {name: test for name, test in vars(test_stores).items() if name.startswith("test_")}
)


@pytest.fixture(scope="module", params=valkey.PROGRAMS, ids=valkey.name_of)
def running(request: pytest.FixtureRequest) -> Iterator[valkey.Server]:
    with valkey.serving(request.param) as server:
        yield server


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StillClock:
    still = StillClock()
    tell_the_time(monkeypatch, still)
    return still


@pytest.fixture
async def store(running: valkey.Server, clock: StillClock) -> AsyncIterator[StillReplica]:
    running.client.flushall()
    ledger = Ledger(private_cells(test_stores.COUNTERS, test_stores.RESERVATIONS))
    leasing = StillReplica(running.url, ledger, clock, Share())
    assert await leasing.open()
    yield leasing
    await leasing.close()


async def granted(store: StillReplica, asked: Ask) -> bool:
    answer = await store.reserve(asked, 0.0)
    assert isinstance(answer, Allowance)
    return not answer.limited


async def test_a_flood_of_identities_frees_nobody_who_is_over(
    store: StillReplica, clock: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other than in memory, whoever comes newly shares no counter: there is room again after a while."""
    monkeypatch.setattr("extauthz.store.holdings._MOST_LEASES", 64)
    store.serve(Budgets(limits=(day(amount=100),)))
    assert await granted(store, ask("0", who="offender"))
    answers = set()
    for n in range(2 * test_stores.COUNTERS):
        answer = await store.reserve(ask(f"f{n}", who=f"nobody {n}", tokens=1), 0.0)
        answers.add(answer if isinstance(answer, Failure) else answer.limited)
        store.settle(store.replica, f"f{n}", Charge.RESERVED)

    assert answers == {False, Failure.OVERLOADED}
    assert not await granted(store, ask("1", who="offender", tokens=1))
    clock.forward(901)
    store.tick()
    assert await granted(store, ask("2", who="a newcomer", tokens=1))
    assert not await granted(store, ask("3", who="offender", tokens=1))
