"""Budgets against their slow twin, and what must hold of any history of them."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from numpy.typing import NDArray

from extauthz_kernels import ledger
from tests.reference import ledger as reference
from tests.reference.ledger import (
    CONCURRENT,
    GRANTED,
    IN_FLIGHT,
    INPUT,
    KNOWN,
    LEASE,
    LIMITED,
    NOTHING,
    RATE,
    RESERVED,
    SETTLED,
    SETTLED_BEFORE,
    USED,
    WINDOW,
    Answer,
    Limit,
    Request,
)

BRIM, MOST = ledger.BRIM, 2**63 - 1
#: Lengths of an hour, a day and a month in these tests, in ns.
PERIODS = (16, 40, 120)
NOW = 1_000
#: A deadline that does not come.
LONG = 1 << 40

kernels = pytest.mark.parametrize("plain", [False, True], ids=["jit", "py"])


class Table:
    """The arrays of a ledger, and the kernels over them: compiled, or `plain` Python."""

    def __init__(self, plain: bool = False, counters: int = 1024, reservations: int = 256) -> None:
        self.plain = plain
        self.counters: NDArray[np.int64] = np.zeros((counters + ledger.SHARED, 4), np.int64)
        self.heads: NDArray[np.int64] = np.zeros((reservations, 8), np.int64)
        self.items: NDArray[np.int64] = np.zeros((reservations, ledger.ROWS, 6), np.int64)
        self.journal: NDArray[np.int64] = np.zeros(ledger.JOURNAL, np.int64)
        #: Of each row of the last request: units that a lease lacked.
        self.missing: NDArray[np.int64] = np.zeros((0, ledger.ROWS), np.int64)

    def run(self, kernel: Any, *arguments: Any) -> int:
        """Call a kernel. Python integers would not wrap in the hash as the compiled ones do."""
        if not self.plain:
            return int(kernel(*arguments))
        words = [np.int64(one) if isinstance(one, int) else one for one in arguments]
        with np.errstate(over="ignore"):
            return int(kernel.py_func(*words))

    def reserve(
        self, limits: Sequence[Limit], requests: Sequence[Request], now: int
    ) -> list[Answer]:
        """What becomes of each request."""
        answers = np.full((len(requests), 6), -7, np.int64)
        row_keys, self.missing = np.full((2, len(requests), ledger.ROWS), -7, np.int64)
        granted = self.run(
            ledger.reserve,
            self.counters,
            self.heads,
            self.items,
            rows_of(limits),
            np.array([limit.interval for limit in limits], np.float64),
            words_of(requests),
            np.array(calendar_at(now), np.int64),
            now,
            answers,
            row_keys,
            self.missing,
            self.journal,
        )
        found = [Answer(*answer) for answer in answers.tolist()]
        assert granted == sum(answer.state in (GRANTED, KNOWN) for answer in found)
        return found

    def peek(
        self, limits: Sequence[Limit], request: Request, now: int
    ) -> tuple[list[int], list[tuple[int, ...]]]:
        """Key and state of each limit of a request."""
        states = np.full((1, ledger.ROWS, 3), -7, np.int64)
        keys = np.full((1, ledger.ROWS), -7, np.int64)
        seen = self.run(
            ledger.peek,
            self.counters,
            rows_of(limits),
            np.array([limit.interval for limit in limits], np.float64),
            words_of([request]),
            np.array(calendar_at(now), np.int64),
            now,
            states,
            keys,
            self.journal,
        )
        assert seen == request.last - request.first
        return keys[0, :seen].tolist(), [tuple(state) for state in states[0, :seen].tolist()]

    def settle(self, settlements: Sequence[tuple[int, ...]], now: int) -> list[tuple[int, ...]]:
        """What becomes of each settlement."""
        results = np.full((len(settlements), 4), -7, np.int64)
        told = np.array(settlements, np.int64).reshape(len(settlements), 4)
        arrays = self.counters, self.heads, self.items
        settled = self.run(ledger.settle, *arrays, told, now, results, self.journal)
        found = [tuple(result) for result in results.tolist()]
        assert settled == sum(result[0] == SETTLED for result in found)
        return found

    def expire(self, mode: int, now: int, most: int = 1 << 30) -> int:
        arrays = self.counters, self.heads, self.items
        return self.run(ledger.expire, *arrays, mode, now, most, self.journal)

    def sweep(self, now: int) -> int:
        return self.run(ledger.sweep, self.counters, now)

    def adjust(self, key: int, kind: int, delta: int, until: int, now: int) -> int:
        arrays = self.counters, self.heads
        return self.run(ledger.adjust, *arrays, key, kind, delta, until, now, self.journal)

    def withdraw(self, key: int, most: int, now: int) -> int:
        return self.run(ledger.withdraw, self.counters, self.heads, key, most, now, self.journal)

    def forget(self, key: int, now: int) -> int:
        return self.run(ledger.forget, self.counters, key, now, self.journal)

    def redo(self) -> int:
        return self.run(ledger.redo, self.counters, self.heads, self.journal)

    def live(self, now: int) -> list[tuple[int, float, int]]:
        """What every counter alive holds, when it ends, and when it began."""
        alive = (self.counters[:, ledger.KEY] != 0) & (self.counters[:, ledger.EXPIRES] > now)
        return sorted(
            (value, math.inf if ends == BRIM else ends, born)
            for _, value, ends, born in self.counters[alive].tolist()
        )

    @property
    def reservations(self) -> int:
        return int((self.heads[:, ledger.DEADLINE] > 0).sum())


def hashed(name: int) -> int:
    """A name of 64 bits, as callers give them."""
    return (name * 0x9E3779B97F4A7C15 + 2**63) % 2**64 - 2**63


def rows_of(limits: Sequence[Limit]) -> NDArray[np.int64]:
    rows = [
        (hashed(-one.salt), *(one.parts, one.count, one.kind, one.calendar, one.amount, one.shadow))
        for one in limits
    ]
    return np.array([(*row, 0) for row in rows], np.int64).reshape(-1, 8)


def words_of(requests: Sequence[Request]) -> NDArray[np.int64]:
    words = [(*one[:6], *map(hashed, one.subject), *one.usage) for one in requests]
    return np.array(words, np.int64).reshape(-1, 16)


def calendar_at(now: int) -> reference.Calendar:
    return [(now // period, (now // period + 1) * period) for period in PERIODS]


def limit(kind: int, amount: int, count: int = INPUT, **fields: Any) -> Limit:
    """One for each principal, in months, and of a rate a unit for each ns, but for the `fields`."""
    plain: dict[str, Any] = {"salt": 7, "parts": 1, "calendar": 2}
    if kind == RATE:
        plain["interval"] = 1.0
    return Limit(**plain | {"count": count, "kind": kind, "amount": amount} | fields)


def ask(id_: int, cost: int = 1, who: int = 1, **fields: Any) -> Request:
    """A request of `cost` input tokens under the first limit."""
    plain: dict[str, Any] = {
        "id": id_,
        "first": 0,
        "last": 1,
        "ttl": LONG,
        "input_price": 0,
        "output_price": 0,
        "subject": (who, 2, 3, 4),
        "usage": (1, cost, 0, cost, 0, 1),
    }
    return Request(**plain | fields)


def states(answers: Sequence[Answer]) -> list[int]:
    return [answer.state for answer in answers]


small = st.integers(0, 12)
subjects = st.tuples(*[st.integers(1, 2)] * 4)


@st.composite
def policies(draw: st.DrawFn) -> list[Limit]:
    """Limits of any kind. No limit has the salt of another."""
    kinds = draw(st.lists(st.integers(0, 3), min_size=1, max_size=6))
    return [
        Limit(
            salt=number + 1,
            parts=draw(st.integers(0, 15)),
            count=IN_FLIGHT if kind == CONCURRENT else draw(st.integers(0, 5)),
            kind=kind,
            calendar=draw(st.integers(0, 2)),
            amount=draw(st.integers(0, 20)),
            shadow=draw(st.sampled_from([0, 0, 0, 1])),
            # Multiples of 1/8, so that the kernel's doubles are as exact as the twin's fractions.
            interval=draw(st.sampled_from([0.125, 0.5, 1.0, 2.5, 10.0])),
        )
        for number, kind in enumerate(kinds)
    ]


class Twins(RuleBasedStateMachine):
    """Any history of events, told to the kernels and to the twin: they must say the same."""

    plain = False

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        # Ids below the number of slots, so that slots are in the order of ids.
        self.last_id = 0
        self.table = Table(self.plain, reservations=1024)
        self.twin = reference.Ledger([])

    @property
    def calendar(self) -> reference.Calendar:
        return calendar_at(self.now)

    @initialize(policy=policies())
    def serve(self, policy: list[Limit]) -> None:
        self.twin.limits = policy

    @rule(data=st.data(), size=st.integers(1, 3))
    def reserve(self, data: st.DataObject, size: int) -> None:
        requests = [self.draw_request(data) for _ in range(size)]
        lacking, expected = [], []
        for request in requests:
            known = self.twin.known(request.id, self.now)
            lacks = [] if known else self.twin.lacking(request, self.calendar, self.now)
            lacking.append(lacks + [0] * (ledger.ROWS - len(lacks)))
            expected.append(self.twin.reserve(request, self.calendar, self.now))
        assert self.table.reserve(self.twin.limits, requests, self.now) == expected
        assert self.table.missing.tolist() == lacking

    def draw_request(self, data: st.DataObject) -> Request:
        again = self.last_id > 0 and data.draw(st.integers(0, 5)) == 0
        if not again:
            self.last_id += 1
        first = data.draw(st.integers(0, len(self.twin.limits)))
        return Request(
            id=data.draw(st.integers(1, self.last_id)) if again else self.last_id,
            first=first,
            last=data.draw(st.integers(first, len(self.twin.limits))),
            ttl=data.draw(st.integers(0, 200)),
            input_price=data.draw(st.integers(0, 3)),
            output_price=data.draw(st.integers(0, 3)),
            subject=data.draw(subjects),
            usage=data.draw(st.tuples(*[small] * 5, st.integers(0, 2))),
        )

    @rule(data=st.data(), size=st.integers(1, 3))
    def settle(self, data: st.DataObject, size: int) -> None:
        id_ = st.integers(max(0, self.last_id - 8), self.last_id + 1)
        one = st.tuples(id_, st.integers(0, 3), small, small)
        told = data.draw(st.lists(one, min_size=size, max_size=size))
        expected = [
            self.twin.settle(id_, mode, input_, output, self.now)
            for id_, mode, input_, output in told
        ]
        assert self.table.settle(told, self.now) == expected

    @rule(mode=st.integers(1, 3), most=st.sampled_from([0, 1, 100]))
    def expire(self, mode: int, most: int) -> None:
        expected = self.twin.expire(mode, self.now, most)
        assert self.table.expire(mode, self.now, most) == expected

    @rule(passed=st.sampled_from([1, 2, 5, 13, 40, 200]))
    def time_passes(self, passed: int) -> None:
        self.now += passed

    @rule(which=st.integers(0, 2), before=st.integers(0, 1))
    def a_window_is_about_to_end_or_has(self, which: int, before: int) -> None:
        self.now = max(self.now, self.calendar[which][1] - before)

    @precondition(lambda self: self.table.live(self.now))
    @rule(which=st.integers(0, 20), before=st.integers(0, 1))
    def a_counter_is_about_to_end_or_has(self, which: int, before: int) -> None:
        live = self.table.live(self.now)
        end = live[which % len(live)][1]
        if end < math.inf:
            self.now = max(self.now, int(end) - before)

    @rule(amount=st.integers(0, 20), interval=st.sampled_from([0.5, 1.0, 4.0]), row=small)
    def reload(self, amount: int, interval: float, row: int) -> None:
        limits = list(self.twin.limits)
        changed = vars(limits[row % len(limits)]) | {"amount": amount, "interval": interval}
        limits[row % len(limits)] = Limit(**changed)
        self.twin.limits = limits

    @rule(row=small, subject=subjects, delta=st.integers(-8, 30), lives=st.integers(0, 200))
    def adjust(self, row: int, subject: tuple[int, ...], delta: int, lives: int) -> None:
        name, key, limit = self.pick(row, subject)
        rest = (limit.kind, delta, self.now + lives, self.now)
        assert self.table.adjust(key, *rest) == self.twin.adjust(name, *rest)

    @rule(row=small, subject=subjects, most=st.integers(-1, 30))
    def withdraw(self, row: int, subject: tuple[int, ...], most: int) -> None:
        name, key, limit = self.pick(row, subject)
        if limit.kind == LEASE:
            expected = self.twin.withdraw(name, most, self.now)
            assert self.table.withdraw(key, most, self.now) == expected

    @rule(row=small, subject=subjects)
    def forget(self, row: int, subject: tuple[int, ...]) -> None:
        name, key, _ = self.pick(row, subject)
        assert self.table.forget(key, self.now) == self.twin.forget(name, self.now)

    @rule()
    def sweep(self) -> None:
        assert self.table.sweep(self.now) == len(self.twin.live(self.now))

    def pick(self, row: int, subject: tuple[int, ...]) -> tuple[reference.Key, int, Limit]:
        """What the counter of a limit is called by the twin and by the kernel, which see the same."""
        row %= len(self.twin.limits)
        request = ask(0, first=row, last=row + 1, subject=subject)
        keys, seen = self.table.peek(self.twin.limits, request, self.now)
        assert seen == self.twin.peek(request, self.calendar, self.now)
        limit = self.twin.limits[row]
        return self.twin.key(limit, request, self.calendar), keys[0], limit

    @invariant()
    def the_same_counts(self) -> None:
        assert self.table.live(self.now) == self.twin.live(self.now)
        live = sum(not one.settled for one in self.twin.reservations.values())
        assert self.table.reservations == live
        assert self.table.journal[0] == 0


class PlainTwins(Twins):
    plain = True


TestCompiled = Twins.TestCase
TestCompiled.settings = settings(max_examples=200, stateful_step_count=40)
TestPlain = PlainTwins.TestCase
TestPlain.settings = settings(max_examples=15, stateful_step_count=30)


Event = tuple[Any, ...]
#: What one principal does under the first limit: reserve for some time, settle (or tell again) what
#: was reserved so many requests ago, wait, or expire.
events = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.integers(0, 9), st.sampled_from([3, 30, LONG])),
        st.tuples(st.just("settle"), st.integers(0, 4), st.integers(0, 3), st.integers(0, 12)),
        st.tuples(st.just("wait"), st.sampled_from([0, 1, 2, 7, 20])),
        st.tuples(st.just("expire"), st.integers(1, 3)),
    ),
    min_size=1,
    max_size=60,
)


class History:
    """What becomes of events, in the books of somebody who only adds up."""

    def __init__(self, limits: Sequence[Limit], plain: bool, past_estimate: bool = False) -> None:
        self.table, self.limits = Table(plain), limits
        self.past_estimate = past_estimate
        self.now, self.last_id = NOW, 0
        #: Of each request that was granted: when, its deadline, what it reserved.
        self.granted: dict[int, tuple[int, int, int]] = {}
        #: What it is charged, from when it is settled on.
        self.settled: dict[int, int] = {}

    def do(self, event: Event) -> None:
        kind, *rest = event
        if kind == "reserve":
            self.reserve(*rest)
        elif kind == "settle":
            self.settle(*rest)
        elif kind == "wait":
            self.now += rest[0]
        else:
            self.expire(*rest)

    def reserve(self, cost: int, ttl: int) -> None:
        self.last_id += 1
        request = ask(self.last_id, cost, ttl=ttl, last=len(self.limits))
        if self.table.reserve(self.limits, [request], self.now)[0].state == GRANTED:
            self.granted[self.last_id] = self.now, self.now + ttl, cost

    def settle(self, ago: int, mode: int, told: int) -> None:
        id_ = self.last_id - ago
        told = told if self.past_estimate else min(told, self.granted.get(id_, (0, 0, 0))[2])
        (state, *_), again = self.table.settle([(id_, mode, told, 0)] * 2, self.now)
        assert again[0] != SETTLED
        assert (state == SETTLED) == (id_ in self.granted and id_ not in self.settled)
        if state == SETTLED:
            cost = self.granted[id_][2]
            self.settled[id_] = {USED: told, NOTHING: 0}.get(mode, cost)

    def expire(self, mode: int) -> None:
        late = [
            id_
            for id_, (_, deadline, _) in self.granted.items()
            if deadline <= self.now and id_ not in self.settled
        ]
        assert self.table.expire(mode, self.now) == len(late)
        for id_ in late:
            self.settled[id_] = 0 if mode == NOTHING else self.granted[id_][2]

    def charged(self, since: int) -> int:
        """Units of all requests since then, as far as anybody knows by now."""
        known = self.granted.items()
        return sum(self.settled.get(id_, cost) for id_, (at, _, cost) in known if at >= since)

    def used(self, row: int = 0) -> int:
        """Units that a limit says are used."""
        request = ask(0, last=len(self.limits))
        return self.table.peek(self.limits, request, self.now)[1][row][0]


@kernels
@given(history=events, amount=st.integers(0, 30), past_estimate=st.booleans())
@settings(max_examples=150)
def test_a_window_and_slots_hold_what_was_reserved_or_used_and_nothing_else(
    plain: bool, history: list[Event], amount: int, past_estimate: bool
) -> None:
    limits = [limit(WINDOW, amount), limit(CONCURRENT, 5, IN_FLIGHT, salt=8)]
    books = History(limits, plain, past_estimate)
    for event in [*history, ("wait", 2 * LONG), ("expire", RESERVED)]:
        books.do(event)
        used = books.charged(books.now // PERIODS[2] * PERIODS[2])
        over = sum(max(0, told - books.granted[id_][2]) for id_, told in books.settled.items())
        assert books.used() == used <= amount + over
        in_flight = len(books.granted.keys() - books.settled.keys())
        assert books.used(1) == books.table.reservations == in_flight <= 5
    assert books.table.live(books.now) == []


@kernels
@given(history=events, amount=st.integers(1, 20), interval=st.sampled_from([0.3, 1.0, 2.7]))
@settings(max_examples=300)
def test_within_any_time_a_rate_passes_no_more_than_a_burst_and_what_the_time_gains(
    plain: bool, history: list[Event], amount: int, interval: float
) -> None:
    books = History([limit(RATE, amount, interval=interval)], plain)
    for event in history:
        books.do(event)
    passed = [(at, books.settled.get(id_, cost)) for id_, (at, _, cost) in books.granted.items()]
    for since, until in itertools.combinations_with_replacement([at for at, _ in passed], 2):
        units = sum(cost for at, cost in passed if since <= at <= until)
        assert units <= amount + (until - since) / interval + 1
        assert units <= amount or until > since


@kernels
@given(history=events, interval=st.sampled_from([0.3, 1.0, 2.7]))
@settings(max_examples=100)
def test_a_rate_that_is_settled_and_left_alone_is_as_new(
    plain: bool, history: list[Event], interval: float
) -> None:
    books = History([limit(RATE, 20, interval=interval)], plain, past_estimate=True)
    for event in [*history, ("wait", 2 * LONG), ("expire", RESERVED), ("wait", LONG)]:
        books.do(event)
    requests = [ask(200, 20), ask(201, 1)]
    found = books.table.reserve(books.limits, requests, books.now)
    assert states(found) == [GRANTED, LIMITED]


@kernels
@given(
    kind=st.sampled_from([RATE, WINDOW, CONCURRENT]),
    amount=st.integers(0, 50),
    costs=st.lists(st.integers(0, 12), max_size=30),
)
def test_at_one_instant_no_more_passes_than_the_amount_and_all_that_fits_does(
    plain: bool, kind: int, amount: int, costs: list[int]
) -> None:
    passed = 0
    requests = [ask(number + 1, cost) for number, cost in enumerate(costs)]
    found = Table(plain).reserve([limit(kind, amount, interval=2.0)], requests, NOW)
    for cost, answer in zip(costs, found, strict=True):
        fits = cost == 0 or passed + cost <= amount
        passed += cost * fits
        assert answer.state == (GRANTED if fits else LIMITED)
        assert answer.remaining == amount - passed


@kernels
@given(policy=policies(), data=st.data())
@settings(max_examples=60)
def test_a_batch_is_its_requests_one_after_the_other(
    plain: bool, policy: list[Limit], data: st.DataObject
) -> None:
    requests = [
        ask(
            data.draw(st.integers(1, 20)),
            last=len(policy),
            subject=data.draw(subjects),
            usage=data.draw(st.tuples(*[small] * 6)),
        )
        for _ in range(data.draw(st.integers(0, 12)))
    ]
    told = [(request.id, mode % 4, 3, 4) for mode, request in enumerate(requests)]
    together, apart = Table(plain), Table(plain)

    answers = together.reserve(policy, requests, NOW)
    settled = together.settle(told, NOW + 5)

    assert answers == [apart.reserve(policy, [one], NOW)[0] for one in requests]
    assert settled == [apart.settle([one], NOW + 5)[0] for one in told]
    for name in ("counters", "heads", "items"):
        assert (getattr(together, name) == getattr(apart, name)).all()


@kernels
@given(policy=policies(), data=st.data())
@settings(max_examples=40)
def test_whatever_is_told_again_changes_nothing(
    plain: bool, policy: list[Limit], data: st.DataObject
) -> None:
    table, now = Table(plain), NOW
    for id_ in range(1, data.draw(st.integers(1, 12)) + 1):
        request = ask(id_, last=len(policy), usage=data.draw(st.tuples(*[small] * 6)))
        if table.reserve(policy, [request], now)[0].state != GRANTED:
            continue
        before = table.counters.tobytes() + table.heads.tobytes()
        now += data.draw(st.integers(0, 3))
        again = request._replace(usage=(9,) * 6, subject=(2,) * 4)
        assert table.reserve(policy, [again], now) == [Answer(KNOWN)]
        assert table.counters.tobytes() + table.heads.tobytes() == before
        mode = data.draw(st.integers(0, 3))
        assert table.settle([(id_, mode, 5, 5)], now)[0][0] == SETTLED
        before = table.counters.tobytes() + table.heads.tobytes()
        now += data.draw(st.integers(0, 3))
        told = [(id_, mode, 9, 9) for mode in range(4)]
        assert {result[0] for result in table.settle(told, now)} == {SETTLED_BEFORE}
        assert table.reserve(policy, [again], now) == [Answer(KNOWN)]
        assert table.expire(NOTHING, now) == 0
        assert table.counters.tobytes() + table.heads.tobytes() == before
