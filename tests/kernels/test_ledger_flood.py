"""More identities than there is room for: nobody is freed early, and in the end all is as new."""

import random
from collections import deque

import pytest

from extauthz_kernels import ledger
from tests.kernels.test_ledger import LONG, NOW, PERIODS, Table, ask, calendar_at, kernels, limit
from tests.reference import ledger as reference
from tests.reference.ledger import (
    CONCURRENT,
    GRANTED,
    IN_FLIGHT,
    INPUT_ALONE,
    LEASE,
    LIMITED,
    NOTHING,
    RATE,
    REQUESTS,
    RESERVED,
    SETTLED,
    USED,
    WINDOW,
    Limit,
)

TINY = 64
COMPILED_EVENTS, PLAIN_EVENTS = 12_000, 1_500
#: Much later: all windows have ended, and rates leaked away.
END = NOW + 2 * LONG

tables = pytest.mark.parametrize("size", [1, 4, TINY])


class Flood:
    """Random identities, told to a tiny table, and what that one grants to the twin."""

    def __init__(self, limits: list[Limit], size: int, seed: int, plain: bool = False) -> None:
        self.rng = random.Random(seed)
        self.table = Table(plain, counters=size, reservations=4_096)
        self.twin, self.limits = reference.Ledger(limits), limits
        self.now, self.last_id = NOW, 0
        self.live: deque[int] = deque()
        self.refused = 0

    def reserve(self, who: int, cost: int, ttl: int) -> None:
        """What the table grants the twin grants too: nobody is better off for the lack of room."""
        self.last_id += 1
        request = ask(self.last_id, cost, who, ttl=ttl, last=len(self.limits))
        state = self.table.reserve(self.limits, [request], self.now)[0].state
        assert state in (GRANTED, LIMITED)
        if state == GRANTED:
            answer = self.twin.reserve(request, calendar_at(self.now), self.now)
            assert answer.state == GRANTED
            self.live.append(self.last_id)
        else:
            self.refused += 1

    def settle(self, mode: int, told: int) -> None:
        if self.live:
            self.live.rotate(self.rng.randrange(8))
            told_of = self.live.popleft()
            found = self.table.settle([(told_of, mode, told, 0)], self.now)[0]
            assert found == self.twin.settle(told_of, mode, told, 0, self.now)

    def expire(self, mode: int) -> None:
        expired = self.table.expire(mode, self.now)
        assert expired == self.twin.expire(mode, self.now, self.last_id)

    def run(self, events: int, modes: list[int], most: int = 6) -> None:
        rng = self.rng
        for _ in range(events):
            some = rng.random()
            if some < 0.55:
                # A few who come again and again, and many who come once.
                who = rng.randrange(12) if rng.random() < 0.4 else rng.getrandbits(40)
                self.reserve(who, rng.randrange(most), rng.choice([20, LONG]))
            elif some < 0.85:
                self.settle(rng.choice(modes), rng.randrange(9))
            elif some < 0.95:
                self.now += rng.choice([0, 1, 1, 3, 15])
            elif some < 0.99:
                assert self.table.sweep(self.now) == len(self.table.live(self.now))
            else:
                self.expire(rng.choice([one for one in modes if one != USED] or [RESERVED]))

    def end(self) -> None:
        """All is settled, windows end, rates leak away: everybody has everything."""
        self.now += LONG + 1
        self.table.expire(RESERVED, self.now)
        assert self.table.reservations == 0
        self.now += LONG
        assert self.table.live(self.now) == []
        assert self.table.sweep(self.now) == 0
        for who in range(12):
            request = ask(1_000_000 + who, 0, who, last=len(self.limits))
            _, seen = self.table.peek(self.limits, request, self.now)
            assert [left for _, left, _ in seen] == [one.amount for one in self.limits]


def of_each_kind(amount: int) -> list[Limit]:
    return [
        limit(WINDOW, 8 * amount, salt=1),
        limit(CONCURRENT, amount, IN_FLIGHT, salt=2),
        limit(WINDOW, 4 * amount, REQUESTS, salt=3, calendar=0, parts=3),
    ]


@kernels
@tables
@pytest.mark.parametrize("amount", [2, 10])
def test_windows_and_slots_are_never_freed_early_whatever_is_settled(
    plain: bool, size: int, amount: int
) -> None:
    flood = Flood(of_each_kind(amount), size, seed=size + amount, plain=plain)
    events = PLAIN_EVENTS if plain else COMPILED_EVENTS
    flood.run(events, [USED, RESERVED, INPUT_ALONE, NOTHING])
    assert 0 < flood.refused < flood.last_id
    flood.end()


@kernels
@tables
@pytest.mark.parametrize("amount", [25, 60])
def test_rates_are_never_freed_early(plain: bool, size: int, amount: int) -> None:
    flood = Flood([limit(RATE, amount, interval=1.5)], size, seed=size, plain=plain)
    flood.run(PLAIN_EVENTS if plain else COMPILED_EVENTS, [RESERVED], 25)
    assert flood.refused > 0
    flood.end()


@tables
@pytest.mark.parametrize("interval", [0.75, 3.0])
def test_what_each_uses_of_a_rate_stays_below_a_burst_and_what_the_time_gains(
    size: int, interval: float
) -> None:
    """Refunds too: those of others in the same cell, and those for a counter that began as it."""
    rng, table = random.Random(size), Table(counters=size, reservations=4_096)
    limits, now = [limit(RATE, 20, interval=interval)], NOW
    used: dict[int, list[list[int]]] = {}
    live: list[tuple[int, int, list[int]]] = []
    for id_ in range(1, COMPILED_EVENTS):
        now += rng.choice([0, 0, 1, 2, 9])
        who = rng.randrange(6) if rng.random() < 0.6 else rng.getrandbits(40)
        cost = rng.randrange(1, 20)
        if table.reserve(limits, [ask(id_, cost, who)], now)[0].state == GRANTED:
            used.setdefault(who, []).append([now, cost])
            live.append((id_, cost, used[who][-1]))
        while len(live) > 30 or (live and rng.random() < 0.4):
            settled, cost, noted = live.pop(rng.randrange(len(live)))
            noted[1] = rng.randrange(cost + 1)
            assert table.settle([(settled, USED, noted[1], 0)], now)[0][0] == SETTLED
    for who in range(6):
        for first in range(len(used[who])):
            units = 0
            for at, cost in used[who][first : first + 60]:
                units += cost
                assert units <= 20 + (at - used[who][first][0]) / interval + 1


@kernels
@pytest.mark.parametrize("kind", [RATE, WINDOW, CONCURRENT])
def test_an_offender_is_refused_for_as_long_as_if_he_were_alone(plain: bool, kind: int) -> None:
    table = Table(plain, counters=TINY, reservations=4_096)
    limits = [limit(kind, 10, interval=PERIODS[2] / 10)]
    assert table.reserve(limits, [ask(1, 10)], NOW)[0].state == GRANTED
    for number in range(600 if plain else 6_000):
        nobody = ask(2, 1, who=1_000 + number)
        if table.reserve(limits, [nobody], NOW + 1)[0].state == GRANTED and kind == CONCURRENT:
            table.settle([(2, RESERVED, 0, 0)], NOW + 1)
        table.heads[2] = 0
        if number % 50 == 0:
            table.sweep(NOW + 1)
        assert table.reserve(limits, [ask(3, 1)], NOW + 1)[0].state == LIMITED
    end = calendar_at(NOW)[2][1]
    if kind == CONCURRENT:
        table.settle([(1, RESERVED, 0, 0)], end)
    else:
        assert table.reserve(limits, [ask(3, 10)], end - 1)[0].state == LIMITED
    later = end + PERIODS[2]
    assert table.reserve(limits, [ask(3, 10)], later)[0].state == GRANTED


@kernels
@pytest.mark.parametrize("later", [0, 1])
def test_slots_that_are_held_in_a_cell_count_with_a_counter_that_begins_later(
    plain: bool, later: int
) -> None:
    limits, table = [limit(CONCURRENT, 3, IN_FLIGHT)], Table(plain, counters=1)
    one, other = ask(1, who=1), ask(2, who=2)
    assert table.reserve(limits, [one, other], NOW)[1].state == GRANTED
    table.settle([(1, RESERVED, 0, 0)], NOW)
    found = table.reserve(limits, [ask(number, who=2) for number in (3, 4, 5)], NOW + later)
    assert [answer.state for answer in found] == [GRANTED, GRANTED, LIMITED]
    for number in (2, 3, 4):
        table.settle([(number, RESERVED, 0, 0)], NOW + 2)
    assert table.live(NOW + 2) == []


@kernels
def test_what_is_used_beyond_the_estimate_follows_out_of_the_cell(plain: bool) -> None:
    limits, table = [limit(WINDOW, 10), limit(CONCURRENT, 9, IN_FLIGHT, salt=8)], Table(plain, 1)
    end = calendar_at(NOW)[0][1]
    short = [limit(WINDOW, 10, salt=9, calendar=0)]
    table.reserve(short, [ask(1)], NOW)
    assert table.reserve(limits, [ask(2, 1, who=2)], NOW)[0].state == GRANTED
    table.settle([(1, RESERVED, 0, 0)], end)
    assert table.reserve(limits, [ask(3, 1, who=2)], end)[0].state == GRANTED
    table.settle([(2, USED, 9, 0)], end)
    assert table.reserve(limits, [ask(4, 1, who=2)], end)[0].state == LIMITED


@kernels
def test_a_lease_without_room_is_full_or_short_and_never_shared(plain: bool) -> None:
    limits, table = [limit(LEASE, 0)], Table(plain, counters=1)
    (key, *_), _ = table.peek(limits, ask(0), NOW)
    assert table.adjust(key, LEASE, 5, NOW + LONG, NOW) == 5
    (other, *_), _ = table.peek(limits, ask(0, who=2), NOW)
    assert table.adjust(other, LEASE, 5, NOW + LONG, NOW) == ledger.FULL_TABLE
    assert table.reserve(limits, [ask(1, who=2)], NOW)[0].state == reference.SHORT
    assert table.reserve(limits, [ask(1, 5)], NOW)[0].state == GRANTED


@kernels
def test_without_room_in_the_cells_either_it_is_full_and_nothing_is_charged(plain: bool) -> None:
    table = Table(plain, counters=1)
    table.counters[:, ledger.KEY] = 99
    table.counters[:, ledger.EXPIRES] = NOW + 5
    before = table.counters.tobytes()
    for kind in (RATE, WINDOW, CONCURRENT):
        found = table.reserve([limit(kind, 9)], [ask(1), ask(2, 10)], NOW)
        assert [answer.state for answer in found] == [ledger.FULL, LIMITED]
        shadow = table.reserve([limit(kind, 9, shadow=1)], [ask(kind + 3)], NOW)[0]
        assert (shadow.state, shadow.shadowed) == (GRANTED, 1)
    assert table.counters.tobytes() == before
    assert table.reserve([limit(WINDOW, 9)], [ask(1)], NOW + 5)[0].state == GRANTED


@kernels
def test_who_has_a_counter_has_all_of_it_however_many_share_a_cell(plain: bool) -> None:
    limits, table = [limit(CONCURRENT, 3, IN_FLIGHT)], Table(plain, counters=1)
    assert table.reserve(limits, [ask(1, who=1)], NOW)[0].state == GRANTED
    others = [ask(100 + who, who=who) for who in range(2, 200)]
    found = table.reserve(limits, others, NOW + 1)
    # In each of 16 cells three places.
    assert sum(answer.state == GRANTED for answer in found) == 3 * 16
    found = table.reserve(limits, [ask(number, who=1) for number in (2, 3, 4)], NOW + 2)
    assert [answer.state for answer in found] == [GRANTED, GRANTED, LIMITED]
