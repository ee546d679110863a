"""What a request may use is charged before it runs, to all of its limits or to none."""

import numba
import numpy as np
from numpy.typing import NDArray

from extauthz_kernels._jit import inlined, kernel, prefetch
from extauthz_kernels.ledger_rows import (
    AMOUNT,
    CALENDAR,
    COUNT,
    KIND,
    ROWS,
    SHADOW,
    USAGE,
    charge,
    clipped,
    derived,
    increment,
    left_of,
    opened,
    shared_cell,
    units_of,
)
from extauthz_kernels.ledger_table import (
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
    PROBES,
    RATE,
    RESERVED_AT,
    SLOT,
    WINDOW,
    commit,
    home_of,
    kept,
    plus,
)

#: What becomes of a request.
GRANTED, LIMITED, FULL, KNOWN, SHORT = range(5)
#: Columns of an item: what a reservation charged to one counter.
ITEM_KEY, ITEM_CELL, ITEM_COST, ITEM_WHAT, ITEM_UNTIL, ITEM_INTERVAL = range(6)
#: Columns of a request, before its subject and usage.
REQUEST_ID, FIRST, LAST, TTL, REQUEST_INPUT_PRICE, REQUEST_OUTPUT_PRICE = range(6)
#: Columns of an answer.
STATE, ROW, REMAINING, WAIT, RESET, SHADOWED = range(6)

_TABLE = numba.int64[:, ::1]
_CUBE = numba.int64[:, :, ::1]
_WORDS = numba.int64[::1]


@inlined
def seek_reservation(heads: NDArray[np.int64], name: int, now: int) -> tuple[int, bool]:
    """The slot of a reservation, settled or not; else one for a new one, -1 if there is none.

    One that is past its deadline and not settled still holds what it reserved: its slot is not free.
    """
    size = heads.shape[0]
    free = settled = -1
    for step in range(min(PROBES, size)):
        slot = ((name & (size - 1)) + step) & (size - 1)
        deadline = heads[slot, DEADLINE]
        if deadline == 0:
            return (free if free >= 0 else slot), False
        if deadline < 0 and -deadline <= now:
            if free < 0:
                free = slot
        elif heads[slot, ID] == name:
            return slot, True
        elif deadline < 0 and settled < 0:
            settled = slot
    return (free if free >= 0 else settled), False


@inlined
def _reset(kind: int, journal: NDArray[np.int64], line: int, now: int) -> int:
    """Time in ns until a counter of the journal is as new, 0 if nobody knows."""
    if kind in (CONCURRENT, LEASE):
        return 0
    return max(0, int(journal[line + EXPIRES]) - now)


@kernel(
    numba.int64(
        _TABLE, _TABLE, _CUBE, _TABLE, numba.float64[::1], _TABLE, _TABLE, numba.int64,
        _TABLE, _TABLE, _TABLE, _WORDS,
    ),
    allocates=False,
)  # fmt: skip
def reserve(
    counters: NDArray[np.int64],
    heads: NDArray[np.int64],
    items: NDArray[np.int64],
    limits: NDArray[np.int64],
    intervals: NDArray[np.float64],
    requests: NDArray[np.int64],
    calendar: NDArray[np.int64],
    now: int,
    answers: NDArray[np.int64],
    row_keys: NDArray[np.int64],
    missing: NDArray[np.int64],
    journal: NDArray[np.int64],
) -> int:
    """Charge each request to all of its limits, or to none, one request after the other.

    A request is granted if it fits every limit that is not a shadow; of 0 units it always does. A
    shadow is charged where it fits and denies nothing.

    - RATE is GCRA: a cost fits if it and what has not leaked away yet are no more than a burst.
    - WINDOW fits if used and cost are no more than the amount; it is as new when its window ends.
    - CONCURRENT likewise, and gives back all when the request is settled.
    - LEASE fits if its balance is no less than the cost.

    Args:
        counters: (s + SHARED, 4) int64, changed: KEY, VALUE, EXPIRES (ns), BORN (ns) of each slot. s
            is a power of two. Who finds no slot counts in one of 16 shared cells of the limit, with
            others: earlier refused, never later.
        heads: (r, 8) int64, changed: ID, DEADLINE (ns), RESERVED_AT (ns), INPUT and OUTPUT (tokens),
            INPUT_PRICE, OUTPUT_PRICE, ITEMS of each reservation. r is a power of two.
        items: (r, ROWS, 6) int64, changed: what it charged.
        limits: (p, 8) int64: SALT, PARTS of the subject that have counters of their own (1, 2, 4,
            8), COUNT, KIND, CALENDAR (0 hour, 1 day, 2 month), AMOUNT (units; of a RATE the burst),
            SHADOW (1 or 0).
        intervals: (p,) float64, of a RATE: ns in which it gains one unit.
        requests: (b, 16) int64: id, first limit and one after the last, ns until its deadline, price
            of an input and of an output token, hashes of principal, tenant, route and model, usage
            in the order of COUNT.
        calendar: (3, 2) int64: number and end (ns, after `now`) of the present hour, day and month.
        now: instant in ns, above 0.
        answers: (b, 6) int64, overwritten: GRANTED, LIMITED by a limit that is no lease, SHORT of
            leases alone, FULL (no slot left), KNOWN (the id was reserved before: nothing changes);
            the refusing limit with the longest wait, or that with the smallest share left, or -1;
            its units left; ns until the request would fit (-1 never, 0 not known); ns until the
            limit is as new (0 not known); bits of the request's shadows that would refuse.
        row_keys: (b, ROWS) int64, overwritten: key of each limit's counter.
        missing: (b, ROWS) int64, overwritten, of each LEASE: units it lacks, or minus what is left.
        journal: (JOURNAL,) int64, overwritten.

    Returns:
        Number of requests granted, KNOWN ones among them.
    """
    bits = items.view(np.float64)
    granted = 0
    for index in range(requests.shape[0]):
        request = requests[index]
        answer = answers[index]
        answer[:] = 0
        answer[ROW] = -1
        row_keys[index, :] = 0
        missing[index, :] = 0
        head, known = seek_reservation(heads, request[REQUEST_ID], now)
        if known:
            answer[STATE] = KNOWN
            granted += 1
            continue
        first = request[FIRST]
        last = min(request[LAST], limits.shape[0], first + ROWS)
        for row in range(first, last):
            limit = limits[row]
            key = derived(limit, request, calendar[limit[CALENDAR], 0])
            row_keys[index, row - first] = key
            prefetch(counters, home_of(counters, key))
        full = head < 0 or last < request[LAST]
        limited = short = False
        lines = charged = 0
        smallest = np.inf
        for row in range(first, last):
            limit = limits[row]
            kind = limit[KIND]
            amount = clipped(limit[AMOUNT])
            interval = intervals[row]
            number = calendar[limit[CALENDAR], 0]
            cost = clipped(request[USAGE + limit[COUNT]])
            key = row_keys[index, row - first]
            cell = shared_cell(limit, key, number)
            end = calendar[limit[CALENDAR], 1]
            line, in_cell, beside = opened(counters, kind, key, cell, end, now, journal, lines)
            placed = journal[line + SLOT] >= 0
            left = left_of(kind, amount, interval, journal, line, beside, now)
            need = increment(cost, interval) if kind == RATE else cost
            if kind == LEASE:
                missing[index, row - first] = plus(cost, -left)
            changes = need > 0 or kind == WINDOW
            fits = cost == 0 or (need <= left and (kind != RATE or cost <= amount))
            if limit[SHADOW] and not (fits and (placed or not changes)):
                answer[SHADOWED] |= 1 << (row - first)
                continue
            if not fits and kind == LEASE:
                short = True
                continue
            if not fits:
                wait = 0
                if cost > amount:
                    wait = -1
                elif kind == RATE:
                    wait = need - left
                elif kind == WINDOW:
                    wait = journal[line + EXPIRES] - now
                longer = wait < 0 or wait > answer[WAIT]
                if not limited or (answer[WAIT] >= 0 and longer):
                    limited = True
                    answer[ROW] = row
                    answer[WAIT] = wait
                    answer[REMAINING] = units_of(kind, amount, interval, left)
                    answer[RESET] = _reset(kind, journal, line, now)
                continue
            if limited or short or full:
                continue
            if changes and not placed:
                full = True
                continue
            item = items[head, charged]
            item[ITEM_KEY] = key
            item[ITEM_CELL] = cell
            item[ITEM_COST] = cost
            item[ITEM_WHAT] = limit[COUNT] | kind << 8 | int(in_cell) << 16
            item[ITEM_UNTIL] = 0
            bits[head, charged, ITEM_INTERVAL] = interval
            charged += 1
            if changes:
                item[ITEM_UNTIL] = charge(kind, need, journal, line, now)
                lines = kept(line, lines)
            if limit[SHADOW]:
                continue
            units = units_of(kind, amount, interval, left - need)
            share = units / max(amount, 1)
            if share < smallest:
                smallest = share
                answer[ROW] = row
                answer[REMAINING] = units
                answer[RESET] = _reset(kind, journal, line, now)
        if limited:
            answer[STATE] = LIMITED
        elif full or short:
            answer[STATE] = FULL if full else SHORT
            answer[ROW] = -1
            answer[REMAINING] = answer[RESET] = 0
        else:
            heads[head, RESERVED_AT] = now
            heads[head, INPUT] = clipped(request[USAGE + 1])
            heads[head, OUTPUT] = clipped(request[USAGE + 2])
            heads[head, INPUT_PRICE] = clipped(request[REQUEST_INPUT_PRICE])
            heads[head, OUTPUT_PRICE] = clipped(request[REQUEST_OUTPUT_PRICE])
            heads[head, ITEMS] = charged
            deadline = plus(now, clipped(request[TTL]))
            commit(counters, heads, journal, lines, head, request[REQUEST_ID], deadline)
            granted += 1
    return granted


@kernel(
    numba.int64(
        _TABLE, _TABLE, numba.float64[::1], _TABLE, _TABLE, numba.int64, _CUBE, _TABLE, _WORDS
    ),
    allocates=False,
)
def peek(
    counters: NDArray[np.int64],
    limits: NDArray[np.int64],
    intervals: NDArray[np.float64],
    requests: NDArray[np.int64],
    calendar: NDArray[np.int64],
    now: int,
    states: NDArray[np.int64],
    row_keys: NDArray[np.int64],
    journal: NDArray[np.int64],
) -> int:
    """See each limit of each request as `reserve` would, and change nothing.

    Args:
        counters: (s + SHARED, 4) int64.
        limits: (p, 8) int64, as for `reserve`; so are the next four.
        intervals: (p,) float64.
        requests: (b, 16) int64.
        calendar: (3, 2) int64.
        now: instant in ns.
        states: (b, ROWS, 3) int64, overwritten: units used and left, ns until it is as new.
        row_keys: (b, ROWS) int64, overwritten.
        journal: (JOURNAL,) int64, overwritten.

    Returns:
        Number of limits seen.
    """
    seen = 0
    states[:] = 0
    row_keys[:] = 0
    for index in range(requests.shape[0]):
        request = requests[index]
        first = request[FIRST]
        for row in range(first, min(request[LAST], limits.shape[0], first + ROWS)):
            limit = limits[row]
            kind = limit[KIND]
            amount = clipped(limit[AMOUNT])
            number = calendar[limit[CALENDAR], 0]
            key = derived(limit, request, number)
            row_keys[index, row - first] = key
            end = calendar[limit[CALENDAR], 1]
            cell = shared_cell(limit, key, number)
            line, _, beside = opened(counters, kind, key, cell, end, now, journal, 0)
            left = left_of(kind, amount, intervals[row], journal, line, beside, now)
            state = states[index, row - first]
            state[1] = units_of(kind, amount, intervals[row], left)
            if kind == RATE:
                state[0] = amount - state[1]
            elif kind != LEASE:
                state[0] = plus(amount, -left)
            state[2] = _reset(kind, journal, line, now)
            seen += 1
    return seen
