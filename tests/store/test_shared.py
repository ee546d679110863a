"""Counters in a file: exact for all processes that count in it, whatever happens to one of them."""

import asyncio
import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest

from extauthz.core.budget.limits import Budgets
from extauthz.core.budget.report import Usage
from extauthz.core.reasons import Failure
from extauthz.store.ledger import Ledger
from extauthz.store.memory import MemoryStore, shared_store
from extauthz.store.options import StoreOptions
from extauthz.store.shared import SharedCells
from tests.store.still_clock import StillClock
from tests.store.test_stores import ask, day, slots

OPTIONS = StoreOptions(counters=1024, reservations=1024)
SPAWN = multiprocessing.get_context("spawn")
PROCESSES = 4
BUDGET = 3_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "counters"


def opened(path: Path, amount: float = 1_000) -> MemoryStore:
    store = shared_store(path, OPTIONS)
    store.serve(Budgets(limits=(day(amount=amount), slots(10**6))))
    return store


def remaining(store: MemoryStore) -> int:
    return asyncio.run(store.standing(ask("")))[0].remaining


async def test_two_who_open_one_file_count_together_and_settle_for_each_other(path: Path) -> None:
    first, second = opened(path), opened(path)
    await first.reserve(ask("1", tokens=600), 0.0)

    refused = await second.reserve(ask("2", tokens=600), 0.0)

    assert not isinstance(refused, Failure)
    assert refused.limited
    assert second.settle(first.replica, "1", Usage(100, 0)) is not None
    assert first.settle(first.replica, "1", Usage(100, 0)) is None
    assert [one.remaining for one in await first.standing(ask(""))] == [900, 10**6]


async def test_who_waited_for_the_lock_gets_back_from_a_counter_that_began_meanwhile(
    path: Path,
) -> None:
    """Each looks at the clock before it has the lock: the second to enter may have looked first."""
    stores, clocks = [], [StillClock(), StillClock()]
    clocks[0].forward(0.000_001)
    for clock in clocks:
        cells = SharedCells(path, 1024, 1024)
        stores.append(MemoryStore(Ledger(cells.cells, cells.secret, cells, cells.instant), clock))
        stores[-1].serve(Budgets(limits=(day(),)))
    for call_id, store in zip("12", stores, strict=True):
        await store.reserve(ask(call_id, tokens=100), 0.0)
    for call_id, store in zip("12", stores, strict=True):
        store.settle(store.replica, call_id, Usage(30, 0))
    assert [one.remaining for one in await stores[0].standing(ask(""))] == [940]


def test_a_file_of_other_sizes_or_of_another_kind_is_refused(path: Path) -> None:
    opened(path)
    with pytest.raises(ValueError, match="remove it first"):
        SharedCells(path, 2048, 1024)
    other = path.with_name("notes")
    other.write_text("my notes\n")
    with pytest.raises(ValueError, match="remove it first"):
        SharedCells(other, 1024, 1024)
    assert other.read_text() == "my notes\n"


def test_counters_of_an_earlier_run_of_the_machine_are_not_believed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(opened(path).reserve(ask("1", tokens=600), 0.0))
    assert remaining(opened(path)) == 400
    boot = path.with_name("boot")
    boot.write_text("another\n")
    monkeypatch.setattr("extauthz.store.shared._BOOT_ID", boot)
    assert remaining(opened(path)) == 1_000


def test_the_file_is_nobody_elses_to_read(path: Path) -> None:
    opened(path)
    assert path.stat().st_mode & 0o777 == 0o600


async def test_counters_that_another_process_holds_for_too_long_are_a_fault(path: Path) -> None:
    store, holder = opened(path), SharedCells(path, 1024, 1024)
    with holder:
        assert await store.reserve(ask("1"), 0.0) is Failure.STORE_FAULT
        assert store.tick().expired == 0
    assert await store.reserve(ask("1"), 0.0) is not Failure.STORE_FAULT


async def test_what_could_not_be_settled_then_is_settled_at_the_next_tick(path: Path) -> None:
    store, holder = opened(path), SharedCells(path, 1024, 1024)
    for call_id in ("1", "2"):
        await store.reserve(ask(call_id, tokens=100), 0.0)
    with holder:
        assert store.settle(store.replica, "1", Usage(30, 0)) is None
        store.release("2")
        store.tick()
    store.tick()
    used, places = await store.standing(ask(""))
    assert (used.used, places.used) == (30, 0)


def test_a_file_that_others_may_change_is_refused(path: Path) -> None:
    path.touch(0o600)
    path.chmod(0o666)
    with pytest.raises(ValueError, match="not this user's alone"):
        SharedCells(path, 1024, 1024)
    link = path.with_name("link")
    link.symlink_to(path)
    with pytest.raises(OSError, match="link"):
        SharedCells(link, 1024, 1024)


#: One request: when its reserve began and ended, whether it was granted, when its settlement did.
Seen = tuple[float, float, bool, float, float]


def _spend(path: Path, number: int, told: Connection, start: Barrier) -> None:
    """Reserve 7 tokens at a time and settle each as 3, a thousand times."""

    async def spend() -> list[Seen]:
        store, seen = opened(path, BUDGET), []
        start.wait(60)
        for index in range(1_000):
            asked = ask(f"{number}-{index}", tokens=7)
            begun = time.monotonic()
            allowance = await store.reserve(asked, 0.0)
            while allowance is Failure.STORE_FAULT:
                allowance = await store.reserve(asked, 0.0)
            assert not isinstance(allowance, Failure)
            answered = time.monotonic()
            # None: another process held the counters for too long.
            while not allowance.limited and not store.settle(store.replica, asked.id, Usage(3, 0)):
                pass
            seen.append((begun, answered, not allowance.limited, answered, time.monotonic()))
        return seen

    told.send(asyncio.run(spend()))


def test_processes_that_spend_one_budget_spend_just_that(path: Path) -> None:
    """Every answer is one that some order of the requests explains: linearizable, as far as times tell."""
    pipes, start = [], SPAWN.Barrier(PROCESSES)
    for number in range(PROCESSES):
        receives, sends = SPAWN.Pipe(duplex=False)
        process = SPAWN.Process(target=_spend, args=(path, number, sends, start))
        process.start()
        pipes.append((process, receives))
    seen: list[Seen] = []
    for process, receives in pipes:
        seen += receives.recv()
        process.join(60)
        assert process.exitcode == 0

    granted = np.array([one for one in seen if one[2]])
    assert remaining(opened(path, BUDGET)) == BUDGET - 3 * len(granted)
    assert BUDGET - 7 * PROCESSES < 3 * len(granted) <= BUDGET
    reserving, reserved, _, settling, settled = granted.T
    for begun, ended, passed, *_ in seen:
        if passed:  # what others held all the while leaves room
            surely = np.where(settling < ended, 3, 7)[reserved < begun].sum()
            assert surely + 7 <= BUDGET
        else:  # what others may have held at some time leaves none
            perhaps = np.where(settled > begun, 7, 3)[reserving < ended].sum()
            assert perhaps + 7 > BUDGET


def _spend_for_ever(path: Path, told: Connection) -> None:
    async def spend() -> None:
        store = opened(path, 10**12)
        told.send(True)
        index = 0
        while True:
            index += 1
            asked = ask(f"{os.getpid()}-{index}", tokens=7)
            await store.reserve(asked, 0.0)
            store.settle(store.replica, asked.id, Usage(3, 0))

    asyncio.run(spend())


def test_a_process_that_is_killed_leaves_whole_requests_and_no_lock(path: Path) -> None:
    for round_ in range(8):
        receives, sends = SPAWN.Pipe(duplex=False)
        process = SPAWN.Process(target=_spend_for_ever, args=(path, sends))
        process.start()
        assert receives.poll(60)
        time.sleep(0.002 * round_)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join(60)

    store = opened(path, 10**12)
    used, places = asyncio.run(store.standing(ask("")))
    reserved = store.tick().reservations
    # A request is whole: 7 tokens and a place while it is reserved, 3 and none once it is settled.
    assert reserved <= 8
    assert places.used == reserved
    assert (used.used - 7 * reserved) % 3 == 0
