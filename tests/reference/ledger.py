"""Slow twin of the ledger: dictionaries that never fill, and integers that never end."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

RATE, WINDOW, CONCURRENT, LEASE = range(4)
GRANTED, LIMITED, FULL, KNOWN, SHORT = range(5)
USED, RESERVED, INPUT_ALONE, NOTHING = range(4)
SETTLED, UNKNOWN, SETTLED_BEFORE = range(3)
REQUESTS, INPUT, OUTPUT, TOTAL, COST, IN_FLIGHT = range(6)


class Limit(NamedTuple):
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


#: What a counter belongs to: limit, the subject's parts, window.
Key = tuple[int, tuple[int, ...], int]


@dataclass
class Counter:
    """`ends`: from when on it counts for nothing. `held`: of a RATE, ns of unsettled reservations."""

    born: int
    used: int = 0
    held: int = 0
    ends: float = -math.inf


@dataclass
class Item:
    """What one reservation charged to one counter."""

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


def increment(cost: int, interval: float) -> int:
    """Ns that `cost` units take."""
    return math.ceil(cost * interval)


@dataclass
class Ledger:
    """Counters and reservations of one clock."""

    limits: list[Limit]
    counters: dict[Key, Counter] = field(default_factory=dict)
    reservations: dict[int, Reservation] = field(default_factory=dict)

    def key(self, limit: Limit, request: Request, calendar: list[tuple[int, int]]) -> Key:
        """Whose counter it is."""
        parts = tuple(
            part if limit.parts >> bit & 1 else 0 for bit, part in enumerate(request.subject)
        )
        number = calendar[limit.calendar][0] if limit.kind == WINDOW else 0
        return limit.salt, parts, number

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
            left = math.floor(left / limit.interval)
        return max(0, min(left, limit.amount) if limit.kind == RATE else left)

    def reset(self, limit: Limit, key: Key, now: int) -> int:
        """Ns until it is as new."""
        counter = self.alive(key, now)
        if limit.kind in (CONCURRENT, LEASE) or counter is None:
            return 0
        return int(counter.ends) - now

    def reserve(self, request: Request, calendar: list[tuple[int, int]], now: int) -> Answer:
        """All or nothing, first by looking at every limit, and then by charging every one."""
        known = self.reservations.get(request.id)
        if known is not None and not (known.settled and known.deadline <= now):
            return Answer(KNOWN)
        shadowed, short, refusals, charges = 0, False, [], []
        for row in range(request.first, request.last):
            limit = self.limits[row]
            key = self.key(limit, request, calendar)
            cost = request.usage[limit.count]
            need = increment(cost, limit.interval) if limit.kind == RATE else cost
            left = self.left(limit, key, now)
            if cost == 0 or (need <= left and not (limit.kind == RATE and cost > limit.amount)):
                charges.append((row, key, cost, need))
            elif limit.shadow:
                shadowed |= 1 << row - request.first
            elif limit.kind == LEASE:
                short = True
            else:
                wait = {
                    RATE: need - left,
                    WINDOW: self.reset(limit, key, now),
                    CONCURRENT: 0,
                }[limit.kind]
                wait = -1 if cost > limit.amount else wait
                new = calendar[limit.calendar][1] - now if limit.kind == WINDOW else 0
                reset = self.reset(limit, key, now) or new
                refusals.append((row, self.units(limit, left), wait, reset))
        if refusals:
            row, units, wait, reset = max(
                refusals, key=lambda refusal: math.inf if refusal[2] < 0 else refusal[2]
            )
            return Answer(LIMITED, row, units, wait, reset, shadowed)
        if short:
            return Answer(SHORT, shadowed=shadowed)
        items, states = [], []
        for row, key, cost, need in charges:
            limit = self.limits[row]
            items.append(Item(key, limit, cost, self.charge(limit, key, need, calendar, now)))
            if not limit.shadow:
                units = self.units(limit, self.left(limit, key, now))
                share = units / max(limit.amount, 1)
                states.append((share, row, units, self.reset(limit, key, now)))
        self.reservations[request.id] = Reservation(now + request.ttl, now, request, items)
        if not states:
            return Answer(GRANTED, shadowed=shadowed)
        _, row, units, reset = min(states, key=lambda state: state[0])
        return Answer(GRANTED, row, units, 0, reset, shadowed)

    def charge(
        self, limit: Limit, key: Key, need: int, calendar: list[tuple[int, int]], now: int
    ) -> int:
        """Charge one counter. Of a RATE, the instant until which it can be refunded."""
        if need == 0 and limit.kind != WINDOW:
            return 0
        counter = self.alive(key, now)
        if counter is None:
            if limit.kind == LEASE:
                return 0
            counter = self.counters[key] = Counter(born=now)
            counter.ends = calendar[limit.calendar][1] if limit.kind == WINDOW else now
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

    def settle(
        self, id_: int, mode: int, input_: int, output: int, keep: bool, now: int
    ) -> tuple[int, ...]:
        """In the order of the kernel's columns."""
        found = self.reservations.get(id_)
        if found is None or (found.settled and found.deadline <= now):
            return UNKNOWN, 0, 0, 0, 0
        if found.settled:
            return SETTLED_BEFORE, 0, 0, 0, 0
        request = found.request
        expected = request.usage[INPUT], request.usage[OUTPUT]
        input_, output = {
            USED: (input_, output),
            RESERVED: expected,
            INPUT_ALONE: (expected[0], 0),
            NOTHING: (0, 0),
        }[mode]
        for item in found.items:
            actual = [
                0 if mode == NOTHING and not keep else item.cost,
                input_,
                output,
                input_ + output,
                input_ * request.input_price + output * request.output_price,
                0,
            ][item.limit.count]
            if mode == RESERVED and item.limit.count != IN_FLIGHT:
                actual = item.cost
            self.correct(item, actual, found.at, now)
        found.settled = True
        return SETTLED, *expected, found.at, len(found.items)

    def correct(self, item: Item, actual: int, at: int, now: int) -> None:
        """Charge `actual` in place of what an item was charged."""
        counter = self.alive(item.key, now)
        same = counter is not None and counter.born <= at
        kind = item.limit.kind
        if kind == RATE:
            held = increment(item.cost, item.limit.interval)
            more = increment(actual, item.limit.interval) - held
            if more > 0 and counter is None:
                counter = self.counters[item.key] = Counter(born=now, ends=now)
            if counter is None:
                return
            if same:
                counter.held = max(0, counter.held - held)
                counter.ends -= min(max(-more, 0), max(item.until - now, 0))
            counter.ends += max(more, 0)
        elif counter is None:
            return
        elif kind == LEASE:
            counter.used -= actual - item.cost
        elif kind == WINDOW:
            if same or actual > item.cost:
                counter.used += actual - item.cost
        elif same:
            counter.used = max(0, counter.used - item.cost)
            if counter.used == 0:
                counter.ends = -math.inf

    def expire(self, mode: int, now: int) -> int:
        """Settle what nobody settled in time, the highest id first."""
        late = [
            id_
            for id_, found in self.reservations.items()
            if not found.settled and found.deadline <= now
        ]
        for id_ in sorted(late, reverse=True):
            self.settle(id_, mode, 0, 0, True, now)
        return len(late)

    def adjust(self, key: Key, kind: int, delta: int, until: int, now: int) -> int:
        """Add to a counter."""
        counter = self.alive(key, now)
        if counter is None:
            counter = self.counters[key] = Counter(born=now, ends=now)
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

    def live(self, now: int) -> list[tuple[int, float]]:
        """What every counter alive holds, and when it ends."""
        return sorted(
            (counter.held if key_of_rate(key, self.limits) else counter.used, counter.ends)
            for key, counter in self.counters.items()
            if counter.ends > now
        )


def key_of_rate(key: Key, limits: list[Limit]) -> bool:
    """Whether a counter is one of a rate."""
    return any(limit.salt == key[0] and limit.kind == RATE for limit in limits)
