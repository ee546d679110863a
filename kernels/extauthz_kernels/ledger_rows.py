"""One limit for one request: which counter is for it, what it has left, and what a charge changes."""

import math

import numpy as np
from numpy.typing import NDArray

from extauthz_kernels._jit import inlined
from extauthz_kernels.ledger_table import (
    BORN,
    BRIM,
    CONCURRENT,
    EXPIRES,
    KEY,
    LEASE,
    RATE,
    VALUE,
    WINDOW,
    mixed,
    plus,
    seek,
    write_line,
)

#: Columns of a limit.
SALT, PARTS, COUNT, KIND, CALENDAR, AMOUNT, SHADOW = range(7)
#: What a limit counts.
REQUESTS, INPUT_TOKENS, OUTPUT_TOKENS, TOTAL_TOKENS, COST, IN_FLIGHT = range(6)
#: Where a request has its subject (four hashes), and its usage in the order above.
SUBJECT, USAGE = 6, 10
#: Limits of one request.
ROWS = 16

#: Shared cells of each limit and window, a power of two.
_CELLS = 16


@inlined
def clipped(amount: int) -> int:
    """An amount that somebody else named, within 0 and the brim."""
    return min(BRIM, max(0, amount))


@inlined
def times(left: int, right: int) -> int:
    """The product of two amounts, neither below 0."""
    if left == 0 or right <= BRIM // left:
        return left * right
    return BRIM


@inlined
def increment(cost: int, interval: float) -> int:
    """Time in ns that a rate needs for `cost` units."""
    time = math.ceil(min(cost * interval, 1.0 * BRIM))
    return clipped(time)


@inlined
def derived(limit: NDArray[np.int64], request: NDArray[np.int64], number: int) -> int:
    """Key of an identity's own counter. `number` is the window's, for a limit with windows."""
    key = mixed(limit[SALT])
    for part in range(4):
        if (limit[PARTS] >> part) & 1:
            key = mixed(key ^ mixed(request[SUBJECT + part] + part))
    return _in_window(key, limit, number)


@inlined
def shared_cell(limit: NDArray[np.int64], key: int, number: int) -> int:
    """Key of the counter in which the identity counts, with others, that has no slot of its own."""
    return _in_window(mixed(limit[SALT] ^ mixed(1 + (key & (_CELLS - 1)))), limit, number)


@inlined
def _in_window(key: int, limit: NDArray[np.int64], number: int) -> int:
    if limit[KIND] == WINDOW:
        key = mixed(key ^ mixed(number * 4 + limit[CALENDAR]))
    return key if key != 0 else 1


@inlined
def opened(
    counters: NDArray[np.int64],
    kind: int,
    key: int,
    cell: int,
    end: int,
    now: int,
    journal: NDArray[np.int64],
    lines: int,
) -> tuple[int, bool, int]:
    """Find where a limit counts for an identity, or where it is to begin, and write it down.

    Returns:
        The line of the journal, with slot -1 if there is no room; whether it is the shared cell;
        and what else counts against the same limit.
    """
    slot, alive = seek(counters, False, key, now, journal, lines)
    if kind == LEASE or (alive and kind != CONCURRENT):
        line = write_line(counters, slot if alive else -1, alive, key, now, journal, lines)
        return line, False, 0
    place, shared_alive = seek(counters, True, cell, now, journal, lines)
    if slot < 0:
        line = write_line(counters, place, shared_alive, cell, now, journal, lines)
        if not shared_alive and kind == WINDOW:
            journal[line + EXPIRES] = end
        return line, True, 0
    line = write_line(counters, slot, alive, key, now, journal, lines)
    beside = 0
    if kind == CONCURRENT:
        # What went to the cell before this counter began is still in flight there, and will be
        # given back there.
        known = shared_alive and counters[place, KEY] == cell
        if known and counters[place, BORN] <= journal[line + BORN]:
            beside = counters[place, VALUE]
    elif shared_alive and counters[place, KEY] == cell:
        # Whoever counted in the cell until now goes on from there: nobody is freed by a slot.
        journal[line + EXPIRES] = counters[place, EXPIRES]
        if kind == WINDOW:
            journal[line + VALUE] = counters[place, VALUE]
    elif kind == WINDOW:
        journal[line + EXPIRES] = end
    return line, False, beside


@inlined
def left_of(
    kind: int,
    amount: int,
    interval: float,
    journal: NDArray[np.int64],
    line: int,
    beside: int,
    now: int,
) -> int:
    """What a limit has left: units, of a RATE ns. Below 0 if it is exceeded."""
    if kind == RATE:
        return increment(amount, interval) - max(0, int(journal[line + EXPIRES]) - now)
    if kind == LEASE:
        return int(journal[line + VALUE])
    return plus(plus(amount, -journal[line + VALUE]), -beside)


@inlined
def units_of(kind: int, amount: int, interval: float, left: int) -> int:
    """What is left, in whole units and not below 0."""
    if kind == RATE and interval > 0:
        return math.floor(max(0.0, min(left / interval, 1.0 * amount)))
    return max(0, min(amount, left) if kind == RATE else left)


@inlined
def charge(kind: int, need: int, journal: NDArray[np.int64], line: int, now: int) -> int:
    """Change a counter in the journal by what a request needs: units, of a RATE ns.

    Returns:
        Of a RATE the instant until which a refund of this charge has something to give back.
    """
    if kind == RATE:
        before = max(now, journal[line + EXPIRES])
        held = min(journal[line + VALUE], before - now)
        journal[line + EXPIRES] = plus(before, need)
        journal[line + VALUE] = plus(journal[line + VALUE], need)
        # What was charged earlier leaks away first. Refunds of it will move this charge to an
        # earlier time, by no more than what is held.
        return int(journal[line + EXPIRES] - held)
    if kind == LEASE:
        journal[line + VALUE] = plus(journal[line + VALUE], -need)
        return 0
    if kind == CONCURRENT:
        journal[line + EXPIRES] = BRIM
    journal[line + VALUE] = plus(journal[line + VALUE], need)
    return 0
