"""A table of counters in one flat array: found by key, replaced when dead, never half written."""

import numba
import numpy as np
from numpy.typing import NDArray

from extauthz_kernels._jit import inlined, kernel, publish

#: Largest amount and latest instant. Whatever would be above is this, and below its negative that.
BRIM = 1 << 62
#: Slots at the end of a table that many identities share when there is no room for their own.
SHARED = 4_096
#: Slots in which a key may lie. With less than two thirds of the slots alive the chance that one
#: finds none is below 10^-6.
PROBES = 64

#: Columns of a counter. A slot without a KEY was never used. It is dead, and may be taken, once
#: EXPIRES is reached.
KEY, VALUE, EXPIRES, BORN = range(4)
#: Columns of a reservation. DEADLINE is 0 in a slot never used, negative once it is settled.
ID, DEADLINE, RESERVED_AT, INPUT, OUTPUT, INPUT_PRICE, OUTPUT_PRICE, ITEMS = range(8)

#: How a counter counts. A RATE holds in EXPIRES the theoretical arrival time of GCRA, and in VALUE
#: the ns that unsettled reservations hold; the others hold in VALUE units: used, or of a LEASE left.
RATE, WINDOW, CONCURRENT, LEASE = range(4)

#: The journal: whether it is to be applied, how many counters, then a reservation (slot or -1, id,
#: deadline), then the counters.
_LINES, _HEAD, _FIRST = 1, 2, 5
#: A counter in it: what its four columns become, and its slot.
LINE = 5
SLOT = 4
#: Length of a journal. A request has 16 items, and one may change two counters.
JOURNAL = _FIRST + 2 * 16 * LINE
#: What `adjust` says when there is no slot.
FULL_TABLE = -(1 << 63)

_TABLE = numba.int64[:, ::1]
_WORDS = numba.int64[::1]


@inlined
def plus(left: int, right: int) -> int:
    """The sum of two amounts."""
    if right > 0:
        return min(left, BRIM - right) + right
    return max(left, -BRIM - right) + right


@inlined
def mixed(word: int) -> int:
    """A word whose bits all depend on all bits of `word`: the finalizer of MurmurHash3."""
    word ^= (word >> 33) & 0x7FFFFFFF
    word *= -0x00AE502812AA7333
    word ^= (word >> 33) & 0x7FFFFFFF
    word *= -0x3B314601E57A13AD
    return word ^ ((word >> 33) & 0x7FFFFFFF)


@inlined
def line_of(journal: NDArray[np.int64], lines: int, slot: int) -> int:
    """Where the journal has a slot already, -1 if it does not."""
    for line in range(lines):
        if journal[_FIRST + line * LINE + SLOT] == slot:
            return _FIRST + line * LINE
    return -1


@inlined
def home_of(counters: NDArray[np.int64], key: int) -> int:
    """The slot at which the search for an identity's own counter begins."""
    return int(mixed(key) & (counters.shape[0] - SHARED - 1))


@inlined
def seek(
    counters: NDArray[np.int64],
    shared: bool,
    key: int,
    now: int,
    journal: NDArray[np.int64],
    lines: int,
) -> tuple[int, bool]:
    """The slot of a key and whether it is alive; else the slot that it may take, -1 if none.

    A slot that the journal gives to another key is not free any more.
    """
    own = counters.shape[0] - SHARED
    first = own if shared else 0
    size = SHARED if shared else own
    home = mixed(key) & (size - 1)
    free = -1
    for step in range(min(PROBES, size)):
        slot = first + ((home + step) & (size - 1))
        held = counters[slot, KEY]
        if held != 0 and counters[slot, EXPIRES] > now:
            if held == key:
                return slot, True
            continue
        line = line_of(journal, lines, slot)
        if line >= 0:
            if journal[line + KEY] == key:
                return slot, True
            continue
        if free < 0:
            free = slot
        if held == 0:
            break
    return free, False


@inlined
def write_line(
    counters: NDArray[np.int64],
    slot: int,
    alive: bool,
    key: int,
    now: int,
    journal: NDArray[np.int64],
    lines: int,
) -> int:
    """Where in the journal a counter is to be changed. It is kept if it lies before line `lines`."""
    if slot >= 0:
        line = line_of(journal, lines, slot)
        if line >= 0:
            return line
    line = _FIRST + lines * LINE
    journal[line + SLOT] = slot
    journal[line + KEY] = key
    if alive:
        journal[line + VALUE] = counters[slot, VALUE]
        journal[line + EXPIRES] = counters[slot, EXPIRES]
        journal[line + BORN] = counters[slot, BORN]
    else:
        journal[line + VALUE] = 0
        journal[line + EXPIRES] = now
        journal[line + BORN] = now
    return line


@inlined
def kept(line: int, lines: int) -> int:
    """Number of lines of the journal once `line` is kept."""
    return max(lines, (line - _FIRST) // LINE + 1)


@inlined
def apply(
    counters: NDArray[np.int64], heads: NDArray[np.int64], journal: NDArray[np.int64]
) -> None:
    """Do what the journal says. Doing it again, or from the middle on, leads to the same."""
    for number in range(journal[_LINES]):
        line = _FIRST + number * LINE
        slot = journal[line + SLOT]
        for column in range(4):
            counters[slot, column] = journal[line + column]
    head = journal[_HEAD]
    if head >= 0:
        heads[head, ID] = journal[_HEAD + 1]
        heads[head, DEADLINE] = journal[_HEAD + 2]


@inlined
def commit(
    counters: NDArray[np.int64],
    heads: NDArray[np.int64],
    journal: NDArray[np.int64],
    lines: int,
    head: int,
    name: int,
    deadline: int,
) -> None:
    """Apply the first lines of the journal, and a reservation's id and deadline unless `head` is -1.

    Killed before the journal is published, a process has changed nothing that counts; after that,
    the next one applies the journal (`redo`).
    """
    journal[_LINES] = lines
    journal[_HEAD] = head
    journal[_HEAD + 1] = name
    journal[_HEAD + 2] = deadline
    publish(journal, 1)
    apply(counters, heads, journal)
    publish(journal, 0)


@kernel(numba.int64(_TABLE, _TABLE, _WORDS), allocates=False)
def redo(counters: NDArray[np.int64], heads: NDArray[np.int64], journal: NDArray[np.int64]) -> int:
    """Finish what a process was killed in the middle of. To be called before anything else then.

    Args:
        counters: (s + SHARED, 4) int64, changed.
        heads: (r, 8) int64, changed.
        journal: (JOURNAL,) int64, of that process.

    Returns:
        1 if there was something to finish.
    """
    if journal[0] != 1:
        return 0
    apply(counters, heads, journal)
    publish(journal, 0)
    return 1


@kernel(numba.int64(_TABLE, numba.int64), allocates=False)
def sweep(counters: NDArray[np.int64], now: int) -> int:
    """Let searches end earlier: a dead slot before one that was never used becomes such a one.

    Args:
        counters: (s + SHARED, 4) int64, changed.
        now: instant in ns.

    Returns:
        Number of counters alive.
    """
    own = counters.shape[0] - SHARED
    live = 0
    for slot in range(counters.shape[0] - 1, -1, -1):
        if counters[slot, KEY] == 0:
            continue
        if counters[slot, EXPIRES] > now:
            live += 1
            continue
        # Searches go on from the last slot of a region to its first.
        after = own if slot == counters.shape[0] - 1 else 0 if slot == own - 1 else slot + 1
        if counters[after, KEY] == 0:
            counters[slot, KEY] = 0
    return live


@kernel(
    numba.int64(
        _TABLE, _TABLE, numba.int64, numba.int64, numba.int64, numba.int64, numba.int64, _WORDS
    ),
    allocates=False,
)
def adjust(
    counters: NDArray[np.int64],
    heads: NDArray[np.int64],
    key: int,
    kind: int,
    delta: int,
    expires_at: int,
    now: int,
    journal: NDArray[np.int64],
) -> int:
    """Add to an identity's own counter, which begins at 0 if it is not alive.

    Args:
        counters: (s + SHARED, 4) int64, changed.
        heads: (r, 8) int64.
        key: as `reserve` tells it.
        kind: RATE, WINDOW, CONCURRENT or LEASE.
        delta: units; of a RATE ns, which make requests wait.
        expires_at: instant until which it lives at least. Not for a RATE, which lives until it is new.
        now: instant in ns.
        journal: (JOURNAL,) int64, overwritten.

    Returns:
        What it holds then: units; of a RATE the instant at which it is as new. FULL_TABLE if there
        is no slot.
    """
    slot, alive = seek(counters, False, key, now, journal, 0)
    if slot < 0:
        return FULL_TABLE
    line = write_line(counters, slot, alive, key, now, journal, 0)
    if kind == RATE:
        value = journal[line + EXPIRES] = plus(journal[line + EXPIRES], delta)
    else:
        journal[line + EXPIRES] = min(BRIM, max(journal[line + EXPIRES], expires_at))
        value = journal[line + VALUE] = plus(journal[line + VALUE], delta)
    commit(counters, heads, journal, 1, -1, 0, 0)
    return int(value)


@kernel(numba.int64(_TABLE, _TABLE, numba.int64, numba.int64, numba.int64, _WORDS), allocates=False)
def withdraw(
    counters: NDArray[np.int64],
    heads: NDArray[np.int64],
    key: int,
    most: int,
    now: int,
    journal: NDArray[np.int64],
) -> int:
    """Take what is left of a lease, at most `most` units.

    Args:
        counters: (s + SHARED, 4) int64, changed.
        heads: (r, 8) int64.
        key: as `reserve` tells it.
        most: units.
        now: instant in ns.
        journal: (JOURNAL,) int64, overwritten.

    Returns:
        Units taken.
    """
    slot, alive = seek(counters, False, key, now, journal, 0)
    if not alive:
        return 0
    taken = int(max(0, min(most, counters[slot, VALUE])))
    line = write_line(counters, slot, alive, key, now, journal, 0)
    journal[line + VALUE] -= taken
    commit(counters, heads, journal, 1, -1, 0, 0)
    return taken


@kernel(numba.int64(_TABLE, numba.int64, numba.int64, _WORDS), allocates=False)
def forget(counters: NDArray[np.int64], key: int, now: int, journal: NDArray[np.int64]) -> int:
    """Make an identity's own counter as new.

    Args:
        counters: (s + SHARED, 4) int64, changed.
        key: as `reserve` tells it.
        now: instant in ns.
        journal: (JOURNAL,) int64, not changed.

    Returns:
        1 if it was alive.
    """
    slot, alive = seek(counters, False, key, now, journal, 0)
    if not alive:
        return 0
    counters[slot, EXPIRES] = 0
    return 1
