"""The one body of tests of all stores, over counters that are leased from a server.

The server's time is the test's: its clock stands still here as it does for counters in memory.
"""

from collections.abc import AsyncIterator, Iterator

import pytest

from extauthz.store.leases import Share
from extauthz.store.ledger import Ledger, private_cells
from tests.store import test_stores, valkey
from tests.store.replicas import StillReplica, tell_the_time
from tests.store.still_clock import StillClock

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
