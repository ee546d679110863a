"""A process may be killed between any two stores: its request is done whole by `redo`, or not at all."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extauthz_kernels import ledger
from tests.kernels.test_ledger import LONG, NOW, Table, ask, limit
from tests.reference.ledger import (
    CONCURRENT,
    GRANTED,
    IN_FLIGHT,
    LEASE,
    NOTHING,
    RATE,
    REQUESTS,
    RESERVED,
    SETTLED,
    USED,
    WINDOW,
)

LIMITS = [
    limit(WINDOW, 50, salt=1),
    limit(RATE, 50, salt=2),
    limit(CONCURRENT, 5, IN_FLIGHT, salt=3),
    limit(LEASE, 0, REQUESTS, salt=4),
]
ROWS = len(LIMITS)

Act = Callable[[Table], object]


class KilledError(Exception):
    """In place of SIGKILL."""


class Mortal(np.ndarray[Any, Any]):
    """An array, also of its own views, whose owner dies before the store after so many."""

    left = 0

    def __setitem__(self, index: Any, value: Any) -> None:
        if Mortal.left == 0:
            raise KilledError
        Mortal.left -= 1
        super().__setitem__(index, value)


ARRAYS = ("counters", "heads", "items", "journal")


def copied(table: Table, kind: type[Any] = np.ndarray) -> Table:
    copy = Table(plain=True)
    for name in ARRAYS:
        setattr(copy, name, getattr(table, name).copy().view(kind))
    return copy


def counts(table: Table, now: int) -> object:
    """What decides later answers: counters alive by key, and reservations with what they charged."""
    counters = {
        key: rest
        for key, *rest in np.asarray(table.counters).tolist()
        if key != 0 and rest[1] > now
    }
    reservations = {}
    for head, items in zip(table.heads.tolist(), table.items.tolist(), strict=True):
        id_, deadline, *facts = head
        if deadline != 0:
            whole = (facts, items[: facts[-1]]) if deadline > 0 else None
            reservations[id_] = deadline, whole
    return counters, reservations


def prepared() -> Table:
    """Two reservations live, one settled; a lease; and a counter that is dead."""
    table = Table(plain=True, counters=64, reservations=16)
    request = ask(0, last=ROWS)
    table.adjust(table.peek(LIMITS, request, NOW)[0][3], LEASE, 9, NOW + LONG, NOW)
    for id_ in (1, 2, 3):
        ttl = 20 if id_ < 3 else LONG
        answer = table.reserve(LIMITS, [ask(id_, 7, last=ROWS, ttl=ttl)], NOW)[0]
        assert answer.state == GRANTED
    table.settle([(3, USED, 2, 0)], NOW + 1)
    table.adjust(12_345, WINDOW, 1, NOW, NOW)
    return table


def key(table: Table, row: int) -> int:
    return copied(table).peek(LIMITS, ask(0, last=ROWS), NOW)[0][row]


NEW = [ask(id_, 5, last=ROWS, ttl=30) for id_ in (4, 5)]
LATER = NOW + 25
#: What is done, and how many steps of it are each whole or not at all.
ACTS: dict[str, tuple[Act, int]] = {
    "reserve": (lambda table: table.reserve(LIMITS, NEW[:1], LATER), 1),
    "reserve two": (lambda table: table.reserve(LIMITS, NEW, LATER), 2),
    "refuse": (lambda table: table.reserve(LIMITS, [ask(4, 49, last=ROWS)], LATER), 0),
    "settle": (lambda table: table.settle([(1, USED, 9, 0)], NOW + 2), 1),
    "settle two": (
        lambda table: table.settle([(1, NOTHING, 0, 0), (2, RESERVED, 0, 0)], NOW + 2),
        2,
    ),
    "unknown": (lambda table: table.settle([(3, USED, 9, 0), (8, USED, 9, 0)], NOW + 2), 0),
    "expire": (lambda table: table.expire(NOTHING, LATER), 2),
    "grant": (lambda table: table.adjust(key(table, 0), WINDOW, -3, NOW + 90, NOW), 1),
    "delay": (lambda table: table.adjust(key(table, 1), RATE, 9, 0, NOW), 1),
    "withdraw": (lambda table: table.withdraw(key(table, 3), 4, NOW), 1),
    "forget": (lambda table: table.forget(key(table, 0), NOW), 1),
    "sweep": (lambda table: table.sweep(NOW), 0),
    "peek": (lambda table: table.peek(LIMITS, ask(0, last=ROWS), NOW), 0),
}
#: One store alone, without the journal, or none that counts.
WITHOUT_JOURNAL = {"refuse", "unknown", "forget", "sweep", "peek"}


@pytest.mark.parametrize("name", ACTS)
def test_killed_at_any_store_a_step_is_done_whole_or_not_at_all(name: str) -> None:
    act, steps = ACTS[name]
    before = prepared()
    seen = [counts(before, NOW)]
    for after in range(2_000):
        dying = copied(before, Mortal)
        Mortal.left = after
        try:
            act(dying)
        except KilledError:
            killed = True
        else:
            killed = False
        left = copied(dying)
        left.redo()
        found = counts(left, NOW)
        if found != seen[-1]:
            seen.append(found)
        redone = [getattr(left, name).tobytes() for name in ARRAYS]
        assert left.redo() == 0
        assert [getattr(left, name).tobytes() for name in ARRAYS] == redone
        if not killed:
            break
    assert not killed
    # One state after the other as stores go on, and none between the steps.
    assert len(seen) == steps + 1
    whole = copied(before)
    act(whole)
    assert counts(whole, NOW) == seen[-1]


@pytest.mark.parametrize("compiled", [False, True], ids=["py", "jit"])
@pytest.mark.parametrize("name", sorted(ACTS.keys() - WITHOUT_JOURNAL))
def test_killed_while_it_is_done_again_it_is_done_again_all_the_same(
    name: str, compiled: bool
) -> None:
    act, before = ACTS[name][0], prepared()
    for after in range(2_000):
        dying = copied(before, Mortal)
        Mortal.left = after
        with pytest.raises(KilledError):
            act(dying)
        if dying.journal[0] == 1:
            break
    whole = copied(dying)
    assert whole.redo() == 1
    for again in range(100):
        second = copied(dying, Mortal)
        Mortal.left = again
        try:
            second.redo()
        except KilledError:
            third = copied(second)
            third.plain = not compiled
            assert third.redo() == 1
            assert counts(third, NOW) == counts(whole, NOW)
        else:
            break
    assert again > 4


@given(after=st.integers(0, 400), which=st.integers(0, 2), later=st.integers(0, 30))
@settings(max_examples=60)
def test_whoever_comes_next_counts_on_as_if_nothing_had_happened(
    after: int, which: int, later: int
) -> None:
    """The next process asks the same again, as its client would: it is charged once."""
    table = copied(prepared(), Mortal)
    Mortal.left = after
    request = ask(4, 5 + which, last=ROWS)
    with suppress(KilledError):
        table.reserve(LIMITS, [request], NOW + 2)
    found = copied(table)
    found.redo()
    found.reserve(LIMITS, [request], NOW + 2 + later)
    at_all = ask(0, last=ROWS)
    used = [state[0] for state in found.peek(LIMITS, at_all, NOW + 2)[1]]
    assert (used[0], used[2]) == (7 + 7 + 2 + 5 + which, 3)
    found.settle([(id_, NOTHING, 0, 0) for id_ in (1, 2, 4)], NOW + 2 + later)
    assert found.reservations == 0
    used = [state[0] for state in found.peek(LIMITS, at_all, NOW + 2)[1]]
    assert (used[0], used[2]) == (2, 0)


def test_the_journal_has_room_for_all_that_a_request_can_change() -> None:
    """Settling may change two counters for each limit: a cell, and the counter that began as it."""
    rows = [limit(WINDOW, 100, salt=number + 1) for number in range(ledger.ROWS)]
    table = Table(counters=1)
    assert table.reserve(rows[:1], [ask(1, who=2)], NOW)[0].state == GRANTED
    assert table.reserve(rows, [ask(2, 3, last=ledger.ROWS)], NOW)[0].state == GRANTED
    assert table.settle([(2, USED, 9, 0)], NOW)[0][0] == SETTLED
    assert table.journal[0] == 0
    used = [state[0] for state in table.peek(rows, ask(0, last=ledger.ROWS), NOW)[1]]
    assert used == [9] * ledger.ROWS
