"""Slow twin of the ledger: dictionaries that never fill, and integers that never end."""

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

RATE, WINDOW, CONCURRENT, LEASE = range(4)
GRANTED, LIMITED, FULL, KNOWN, SHORT = range(5)
USED, RESERVED, INPUT_ALONE, NOTHING = range(4)
SETTLED, UNKNOWN, SETTLED_BEFORE = range(3)
REQUESTS, INPUT, OUTPUT, TOTAL, COST, IN_FLIGHT = range(6)

#: Number and end of the present hour, day and month.
Calendar = list[tuple[int, int]]
#: What a counter belongs to: limit, the subject's parts, window.
Key = tuple[int, tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Limit:
    """One limit; `interval` is ns for a unit of a RATE."""

    salt: int
    parts: int
    count: int
    kind: int
    calendar: int
    amount: int
    shadow: int = 0
    interval: float = 0.0


class Request(NamedTuple):
    """What is reserved: the limits `first` to `last`, for a subject of four, in six counts."""

    id: int
    first: int
    last: int
    ttl: int
    input_price: int
    output_price: int
    subject: tuple[int, ...]
    usage: tuple[int, ...]


class Answer(NamedTuple):
    """In the order of the kernel's columns."""

    state: int
    row: int = -1
    remaining: int = 0
    wait: int = 0
    reset: int = 0
    shadowed: int = 0


@dataclass
class Counter:
    """`ends`: from when on it counts for nothing. `held`: of a RATE, ns of unsettled reservations."""

    kind: int
    born: int
    used: int = 0
    held: int = 0
    ends: float = -math.inf


@dataclass
class Item:
    """What one reservation charged to one counter, and of a RATE until when it can be refunded."""

    key: Key
    limit: Limit
    cost: int
    until: int


@dataclass
class Reservation:
    """`settled` ones are remembered until their deadline."""

    deadline: int
    at: int
    request: Request
    items: list[Item]
    settled: bool = False


class Seen(NamedTuple):
    """One limit as a request finds it: `left` and `need` in units, of a RATE in ns."""

    row: int
    key: Key
    cost: int
    need: int
    left: int
    fits: bool


def increment(cost: int, interval: float) -> int:
    """Ns that `cost` units take."""
    return math.ceil(cost * Fraction(interval))


@dataclass
class Ledger:
    """Counters and reservations of one clock."""

    limits: list[Limit]
    counters: dict[Key, Counter] = field(default_factory=dict)
    reservations: dict[int, Reservation] = field(default_factory=dict)

    def key(self, limit: Limit, request: Request, calendar: Calendar) -> Key:
        """Whose counter it is."""
        parts = tuple(
            part if limit.parts >> bit & 1 else 0 for bit, part in enumerate(request.subject)
        )
        number = calendar[limit.calendar][0]
        return limit.salt, parts, (limit.calendar, number) if limit.kind == WINDOW else ()

    def alive(self, key: Key, now: int) -> Counter | None:
        """The counter, if it counts."""
        counter = self.counters.get(key)
        return counter if counter is not None and counter.ends > now else None

    def left(self, limit: Limit, key: Key, now: int) -> int:
        """Units left, of a RATE ns."""
        counter = self.alive(key, now)
        if limit.kind == LEASE:
            return counter.used if counter else 0
        if limit.kind == RATE:
            burst = increment(limit.amount, limit.interval)
            return burst - (int(counter.ends) - now if counter else 0)
        return limit.amount - (counter.used if counter else 0)

    def units(self, limit: Limit, left: int) -> int:
        """Whole units left."""
        if limit.kind == RATE and limit.interval > 0:
            left = math.floor(left / Fraction(limit.interval))
        return max(0, min(left, limit.amount) if limit.kind == RATE else left)

    def reset(self, limit: Limit, key: Key, calendar: Calendar, now: int) -> int:
        """Ns until it is as new, also of a window in which nobody has counted yet."""
        counter = self.alive(key, now)
        if limit.kind in (RATE, WINDOW) and counter:
            return int(counter.ends) - now
        return calendar[limit.calendar][1] - now if limit.kind == WINDOW else 0

    def see(self, request: Request, calendar: Calendar, now: int) -> list[Seen]:
        """Each limit as it stands for a request."""
        seen = []
        for row in range(request.first, request.last):
            limit = self.limits[row]
            key, cost = self.key(limit, request, calendar), request.usage[limit.count]
            need = increment(cost, limit.interval) if limit.kind == RATE else cost
            left = self.left(limit, key, now)
            fits = need <= left and not (limit.kind == RATE and cost > limit.amount)
            seen.append(Seen(row, key, cost, need, left, cost == 0 or fits))
        return seen

    def peek(self, request: Request, calendar: Calendar, now: int) -> list[tuple[int, int, int]]:
        """Units used and left of each limit, and ns until it is as new."""
        states = []
        for seen in self.see(request, calendar, now):
            limit = self.limits[seen.row]
            units = self.units(limit, seen.left)
            used = {RATE: limit.amount - units, LEASE: 0}.get(limit.kind, limit.amount - seen.left)
            states.append((used, units, self.reset(limit, seen.key, calendar, now)))
        return states

    def lacking(self, request: Request, calendar: Calendar, now: int) -> list[int]:
        """Units that each lease lacks for a request, or minus what it has left over."""
        return [
            seen.cost - seen.left if self.limits[seen.row].kind == LEASE else 0
            for seen in self.see(request, calendar, now)
        ]

    def known(self, id_: int, now: int) -> Reservation | None:
        """The reservation, settled or not."""
        found = self.reservations.get(id_)
        return None if found and found.settled and found.deadline <= now else found

    def reserve(self, request: Request, calendar: Calendar, now: int) -> Answer:
        """All or nothing, first by looking at every limit, and then by charging every one."""
        if self.known(request.id, now):
            return Answer(KNOWN)
        seen = self.see(request, calendar, now)
        refusing = [one for one in seen if not one.fits]
        shadows = [one.row - request.first for one in refusing if self.limits[one.row].shadow]
        shadowed = sum(1 << row for row in shadows)
        refusing = [one for one in refusing if not self.limits[one.row].shadow]
        refusals = [one for one in refusing if self.limits[one.row].kind != LEASE]
        if refusals:
            waits = [self.wait(one, calendar, now) for one in refusals]
            longest = max(waits)
            one = refusals[waits.index(longest)]
            limit = self.limits[one.row]
            units, reset = self.units(limit, one.left), self.reset(limit, one.key, calendar, now)
            wait = -1 if longest == math.inf else int(longest)
            return Answer(LIMITED, one.row, units, wait, reset, shadowed)
        if refusing:
            return Answer(SHORT, shadowed=shadowed)
        items, states = [], []
        for one in (one for one in seen if one.fits):
            limit = self.limits[one.row]
            until = self.charge(limit, one.key, one.need, calendar, now)
            items.append(Item(one.key, limit, one.cost, until))
            if not limit.shadow:
                units = self.units(limit, self.left(limit, one.key, now))
                reset = self.reset(limit, one.key, calendar, now)
                states.append((Fraction(units, max(limit.amount, 1)), one.row, units, reset))
        self.reservations[request.id] = Reservation(now + request.ttl, now, request, items)
        if not states:
            return Answer(GRANTED, shadowed=shadowed)
        _, row, units, reset = min(states, key=lambda state: state[0])
        return Answer(GRANTED, row, units, 0, reset, shadowed)

    def wait(self, seen: Seen, calendar: Calendar, now: int) -> float:
        """Ns until what was refused would fit, if nothing else happens. 0 if nobody knows."""
        limit = self.limits[seen.row]
        if seen.cost > limit.amount:
            return math.inf
        if limit.kind == RATE:
            return seen.need - seen.left
        return self.reset(limit, seen.key, calendar, now) if limit.kind == WINDOW else 0

    def charge(self, limit: Limit, key: Key, need: int, calendar: Calendar, now: int) -> int:
        """Charge one counter. Of a RATE, the instant until which it can be refunded."""
        if need == 0 and limit.kind != WINDOW:
            return 0
        counter = self.alive(key, now)
        if counter is None:
            counter = self.counters[key] = Counter(limit.kind, born=now, ends=now)
            if limit.kind == WINDOW:
                counter.ends = calendar[limit.calendar][1]
        if limit.kind == RATE:
            waiting = int(counter.ends) - now
            # Of what is ahead of this charge, unsettled reservations may still be taken away.
            until = now + waiting - min(counter.held, waiting) + need
            counter.ends += need
            counter.held += need
            return until
        counter.used += -need if limit.kind == LEASE else need
        if limit.kind == CONCURRENT:
            counter.ends = math.inf
        return 0

    def settle(self, id_: int, mode: int, input_: int, output: int, now: int) -> tuple[int, ...]:
        """In the order of the kernel's columns."""
        found = self.known(id_, now)
        if found is None:
            return UNKNOWN, 0, 0, 0
        if found.settled:
            return SETTLED_BEFORE, 0, 0, 0
        request = found.request
        expected = request.usage[INPUT], request.usage[OUTPUT]
        input_, output = {USED: (input_, output), INPUT_ALONE: (expected[0], 0)}.get(mode, (0, 0))
        money = input_ * request.input_price + output * request.output_price
        for item in found.items:
            actual = [item.cost, input_, output, input_ + output, money, 0][item.limit.count]
            if mode == RESERVED and item.limit.count != IN_FLIGHT:
                actual = item.cost
            if item.limit.kind == RATE:
                self.correct_rate(item, actual, found.at, now)
            else:
                self.correct(item, actual, found.at, now)
        found.settled = True
        return SETTLED, *expected, found.at

    def correct_rate(self, item: Item, actual: int, at: int, now: int) -> None:
        """Charge `actual` in place of what an item was charged, unless that has leaked away."""
        counter = self.alive(item.key, now)
        reserved = increment(item.cost, item.limit.interval)
        more = increment(actual, item.limit.interval) - reserved
        if counter is not None and counter.born <= at:
            counter.held = max(0, counter.held - reserved)
            counter.ends -= min(max(-more, 0), max(item.until - now, 0))
        if counter is None and more > 0:
            counter = self.counters[item.key] = Counter(RATE, born=now, ends=now)
        if counter is not None:
            counter.ends += max(more, 0)

    def correct(self, item: Item, actual: int, at: int, now: int) -> None:
        """Charge `actual` in place of what an item was charged."""
        counter = self.alive(item.key, now)
        if counter is None:
            return
        same = counter.born <= at
        if item.limit.kind == LEASE:
            counter.used -= actual - item.cost
        elif item.limit.kind == WINDOW:
            counter.used += actual - item.cost if same else max(0, actual - item.cost)
        elif same:
            counter.used = max(0, counter.used - item.cost)
            counter.ends = -math.inf if counter.used == 0 else counter.ends

    def expire(self, mode: int, now: int, most: int) -> int:
        """Settle what nobody settled in time, the highest id first."""
        late = [
            id_
            for id_, found in self.reservations.items()
            if not found.settled and found.deadline <= now
        ]
        late = sorted(late, reverse=True)[:most]
        for id_ in late:
            self.settle(id_, mode, 0, 0, now)
        return len(late)

    def adjust(self, key: Key, kind: int, delta: int, until: int, now: int) -> int:
        """Add to a counter."""
        counter = self.alive(key, now)
        if counter is None:
            counter = self.counters[key] = Counter(kind, born=now, ends=now)
        if kind == RATE:
            counter.ends += delta
            return int(counter.ends)
        counter.ends = max(counter.ends, until)
        counter.used += delta
        return counter.used

    def withdraw(self, key: Key, most: int, now: int) -> int:
        """Take from a balance."""
        counter = self.alive(key, now)
        taken = max(0, min(most, counter.used)) if counter else 0
        if counter:
            counter.used -= taken
        return taken

    def forget(self, key: Key, now: int) -> bool:
        """Begin anew."""
        alive = self.alive(key, now) is not None
        self.counters.pop(key, None)
        return alive

    def live(self, now: int) -> list[tuple[int, float, int]]:
        """What every counter alive holds, when it ends, and when it began."""
        return sorted(
            (counter.held if counter.kind == RATE else counter.used, counter.ends, counter.born)
            for counter in self.counters.values()
            if counter.ends > now
        )
