"""What a request did use: its reservation is given back, and the real usage charged instead."""

import numba
import numpy as np
from numpy.typing import NDArray

from extauthz_kernels._jit import inlined, kernel, prefetch
from extauthz_kernels.ledger_reserve import (
    ITEM_CELL,
    ITEM_COST,
    ITEM_INTERVAL,
    ITEM_KEY,
    ITEM_UNTIL,
    ITEM_WHAT,
    seek_reservation,
)
from extauthz_kernels.ledger_rows import (
    COST,
    IN_FLIGHT,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    REQUESTS,
    clipped,
    increment,
    opened,
    times,
)
from extauthz_kernels.ledger_table import (
    BORN,
    CONCURRENT,
    DEADLINE,
    EXPIRES,
    ID,
    INPUT,
    INPUT_PRICE,
    ITEMS,
    LEASE,
    OUTPUT,
    OUTPUT_PRICE,
    RATE,
    RESERVED_AT,
    SLOT,
    VALUE,
    commit,
    home_of,
    kept,
    plus,
    seek,
    write_line,
)

#: What is charged: the usage told, all that was reserved, the input alone, or nothing.
USED, RESERVED, INPUT_ALONE, NOTHING = range(4)
#: What became of a settlement.
SETTLED, UNKNOWN, SETTLED_BEFORE = range(3)

_TABLE = numba.int64[:, ::1]
_CUBE = numba.int64[:, :, ::1]
_WORDS = numba.int64[::1]


@inlined
def _actual(
    count: int,
    cost: int,
    head: NDArray[np.int64],
    mode: int,
    input_tokens: int,
    output_tokens: int,
) -> int:
    """What an item is charged in the end. What is in flight is so no more; a request was one."""
    if count == IN_FLIGHT:
        return 0
    if mode == RESERVED or count == REQUESTS:
        return cost
    if count == INPUT_TOKENS:
        return input_tokens
    if count == OUTPUT_TOKENS:
        return output_tokens
    if count == COST:
        return plus(
            times(input_tokens, head[INPUT_PRICE]), times(output_tokens, head[OUTPUT_PRICE])
        )
    return plus(input_tokens, output_tokens)


@inlined
def _give_back(
    kind: int,
    cost: int,
    extra: int,
    held: int,
    time: int,
    until: int,
    journal: NDArray[np.int64],
    line: int,
    now: int,
) -> None:
    """Change the counter that was charged, in the journal.

    Args:
        kind: how it counts.
        cost: units that were reserved.
        extra: units to charge beyond that, below 0 to give back.
        held: of a RATE: ns that were reserved.
        time: of a RATE: ns to charge beyond that.
        until: of a RATE: the instant at which the last of what was charged leaks away.
        journal: changed.
        line: of the counter.
        now: instant in ns.
    """
    if kind == RATE:
        journal[line + VALUE] = max(0, plus(journal[line + VALUE], -held))
        if time < 0:
            # What has leaked away was given back by time: once is enough.
            time = -min(-time, max(0, until - now))
        journal[line + EXPIRES] = plus(journal[line + EXPIRES], time)
    elif kind == CONCURRENT:
        journal[line + VALUE] = max(0, plus(journal[line + VALUE], -cost))
        if journal[line + VALUE] == 0:
            journal[line + EXPIRES] = 0
    elif kind == LEASE:
        journal[line + VALUE] = plus(journal[line + VALUE], -extra)
    else:
        journal[line + VALUE] = plus(journal[line + VALUE], extra)


@inlined
def _settle_one(
    counters: NDArray[np.int64],
    heads: NDArray[np.int64],
    items: NDArray[np.int64],
    bits: NDArray[np.float64],
    slot: int,
    mode: int,
    told_input: int,
    told_output: int,
    now: int,
    journal: NDArray[np.int64],
) -> None:
    """Settle a live reservation."""
    head = heads[slot]
    input_tokens = output_tokens = 0
    if mode == USED:
        input_tokens, output_tokens = clipped(told_input), clipped(told_output)
    elif mode == INPUT_ALONE:
        input_tokens = head[INPUT]
    lines = 0
    for number in range(head[ITEMS]):
        prefetch(counters, home_of(counters, items[slot, number, ITEM_KEY]))
    for number in range(head[ITEMS]):
        item = items[slot, number]
        kind = (item[ITEM_WHAT] >> 8) & 255
        in_cell = item[ITEM_WHAT] >> 16 == 1
        cost = item[ITEM_COST]
        count = item[ITEM_WHAT] & 255
        extra = -cost
        if kind != CONCURRENT:
            extra += _actual(count, cost, head, mode, input_tokens, output_tokens)
        held = time = 0
        if kind == RATE:
            held = increment(cost, bits[slot, number, ITEM_INTERVAL])
            time = increment(cost + extra, bits[slot, number, ITEM_INTERVAL]) - held
        key, cell = item[ITEM_KEY], item[ITEM_CELL]
        charged = cell if in_cell else key
        place, alive = seek(counters, in_cell, charged, now, journal, lines)
        if alive:
            line = write_line(counters, place, True, charged, now, journal, lines)
            # A counter that began after the reservation has nothing of it, unless it is a lease:
            # what is given back to one was taken from the same budget.
            same = kind == LEASE or journal[line + BORN] <= head[RESERVED_AT]
            if same:
                until = item[ITEM_UNTIL]
                _give_back(kind, cost, extra, held, time, until, journal, line, now)
            elif extra > 0:
                _give_back(kind, 0, extra, 0, time, now, journal, line, now)
            if same or extra > 0:
                lines = kept(line, lines)
        elif kind == RATE and time > 0:
            line, _, _ = opened(counters, kind, key, cell, now, now, journal, lines)
            if journal[line + SLOT] >= 0:
                journal[line + EXPIRES] = plus(max(now, journal[line + EXPIRES]), time)
                lines = kept(line, lines)
        if alive and in_cell and extra > 0:
            # It may have got a counter of its own since then, which began as the cell was.
            place, alive = seek(counters, False, key, now, journal, lines)
            if alive:
                line = write_line(counters, place, True, key, now, journal, lines)
                _give_back(kind, 0, extra, 0, time, now, journal, line, now)
                lines = kept(line, lines)
    commit(counters, heads, journal, lines, slot, head[ID], min(-1, -head[DEADLINE]))


@kernel(
    numba.int64(_TABLE, _TABLE, _CUBE, _TABLE, numba.int64, _TABLE, _WORDS),
    allocates=False,
)
def settle(
    counters: NDArray[np.int64],
    heads: NDArray[np.int64],
    items: NDArray[np.int64],
    settlements: NDArray[np.int64],
    now: int,
    results: NDArray[np.int64],
    journal: NDArray[np.int64],
) -> int:
    """Charge what each request used instead of what was reserved for it.

    What was reserved beyond that is given back, except what a RATE has gained back by itself: so
    what is used within any time t is no more than a burst and what t gains, as long as nothing is
    used beyond what was reserved. A counter that is as new meanwhile gets nothing back. What was
    used beyond the reservation is charged without regard to the limit; a WINDOW that has ended and
    a LEASE that is gone are not charged any more.

    Args:
        counters: (s + SHARED, 4) int64, changed.
        heads: (r, 8) int64, changed.
        items: (r, ROWS, 6) int64.
        settlements: (n, 4) int64: id; USED, RESERVED, INPUT_ALONE or NOTHING, which counts as a
            request all the same; input and output tokens, if USED.
        now: instant in ns.
        results: (n, 4) int64, overwritten: SETTLED, UNKNOWN or SETTLED_BEFORE, where nothing
            changes; if settled the input and output tokens that were expected, and the instant at
            which they were reserved.
        journal: (JOURNAL,) int64, overwritten.

    Returns:
        Number of reservations settled.
    """
    bits = items.view(np.float64)
    settled = 0
    for index in range(settlements.shape[0]):
        told = settlements[index]
        result = results[index]
        result[:] = 0
        slot, known = seek_reservation(heads, told[0], now)
        if not known:
            result[0] = UNKNOWN
            continue
        head = heads[slot]
        if head[DEADLINE] < 0:
            result[0] = SETTLED_BEFORE
            continue
        result[1], result[2], result[3] = head[INPUT], head[OUTPUT], head[RESERVED_AT]
        _settle_one(counters, heads, items, bits, slot, told[1], told[2], told[3], now, journal)
        settled += 1
    return settled


@kernel(
    numba.int64(_TABLE, _TABLE, _CUBE, numba.int64, numba.int64, numba.int64, _WORDS),
    allocates=False,
)
def expire(
    counters: NDArray[np.int64],
    heads: NDArray[np.int64],
    items: NDArray[np.int64],
    mode: int,
    now: int,
    limit: int,
    journal: NDArray[np.int64],
) -> int:
    """Settle the reservations that reached their deadlines, and let searches end earlier.

    Args:
        counters: (s + SHARED, 4) int64, changed.
        heads: (r, 8) int64, changed.
        items: (r, ROWS, 6) int64.
        mode: RESERVED, INPUT_ALONE or NOTHING.
        now: instant in ns.
        limit: reservations to settle at most.
        journal: (JOURNAL,) int64, overwritten.

    Returns:
        Number of reservations settled.
    """
    bits = items.view(np.float64)
    settled = 0
    size = heads.shape[0]
    for slot in range(size - 1, -1, -1):
        deadline = heads[slot, DEADLINE]
        if 0 < deadline <= now and settled < limit:
            _settle_one(counters, heads, items, bits, slot, mode, 0, 0, now, journal)
            settled += 1
            deadline = heads[slot, DEADLINE]
        if deadline < 0 and -deadline <= now:
            after = 0 if slot == size - 1 else slot + 1
            if heads[after, DEADLINE] == 0:
                heads[slot, DEADLINE] = 0
    return settled
