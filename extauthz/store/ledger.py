"""The arrays that hold counters and reservations, and one method for each kernel over them."""

import math
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from hashlib import blake2b
from secrets import token_bytes
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from extauthz.core.budget.allowance import NO_USAGE
from extauthz.core.budget.demand import Ask
from extauthz.core.budget.limits import Budgets, Charge
from extauthz.core.budget.report import Usage
from extauthz.core.budget.settlement import Settled
from extauthz.store import Ticked
from extauthz.store.plans import CALENDAR, KIND, RATE, Plans
from extauthz_kernels import ledger as kernels

_MODES: Final = {
    Charge.RESERVED: kernels.RESERVED,
    Charge.INPUT: kernels.INPUT_ALONE,
    Charge.NOTHING: kernels.NOTHING,
}
#: Limits that one request may fall under.
ROWS: Final = kernels.ROWS
_NOBODY_ELSE: Final = nullcontext()
_REQUEST: Final = struct.Struct("16q")
_ANSWER: Final = struct.Struct("6q")
_SETTLEMENT: Final = struct.Struct("4q")
_SECRET_BYTES: Final = 32
NS: Final = 1_000_000_000
#: Reservations that end in one call: others wait for the next, so that no request waits for them.
_EXPIRED_AT_ONCE: Final = 10_000
_SWEEP_NS: Final = 30 * NS
#: Where kernels saturate: no amount of the policy is as large.
_MOST: Final = 1 << 62
#: Digests kept, of names that come again and again.
_KEPT_DIGESTS: Final = 4_096


class Answer(NamedTuple):
    """What `reserve` says of one request. Times are ns; `row` counts within the plans, or is -1."""

    state: int
    row: int
    remaining: int
    wait_ns: int
    reset_ns: int
    shadowed: int


class Seen(NamedTuple):
    """One limit for one request: its row and counter, units used and left, ns until it is as new."""

    row: int
    key: int
    used: int
    remaining: int
    reset_ns: int


class Cells(NamedTuple):
    """The arrays of a ledger, as the kernels describe them."""

    counters: NDArray[np.int64]
    heads: NDArray[np.int64]
    items: NDArray[np.int64]
    journal: NDArray[np.int64]


def cells_size(counters: int, reservations: int) -> int:
    """Bytes that the arrays take."""
    return 8 * sum(math.prod(shape) for shape in _shapes(counters, reservations))


def cells_in(memory: NDArray[np.int64], counters: int, reservations: int) -> Cells:
    """The arrays in `memory`, one behind the other; zeros are empty arrays. Sizes are powers of two."""
    cells, begin = [], 0
    for shape in _shapes(counters, reservations):
        end = begin + math.prod(shape)
        cells.append(memory[begin:end].reshape(shape))
        begin = end
    return Cells(*cells)


def private_cells(counters: int, reservations: int) -> Cells:
    """Empty arrays of this process's own. What is not used of them costs nothing."""
    memory = np.zeros(cells_size(counters, reservations) // 8, np.int64)
    return cells_in(memory, counters, reservations)


def _shapes(counters: int, reservations: int) -> tuple[tuple[int, ...], ...]:
    return (
        (counters + kernels.SHARED, 4),
        (reservations, 8),
        (reservations, ROWS, 6),
        (kernels.JOURNAL,),
    )


class Ledger:
    """Counters and reservations, without a clock: `now` is an instant in ns of the caller's."""

    def __init__(
        self,
        cells: Cells,
        secret: bytes = b"",
        alone: AbstractContextManager[object] = _NOBODY_ELSE,
        instant: Callable[[int], int] = int,
    ) -> None:
        """Count in `cells`. Counters are named by a `secret`, so that nobody can aim at one.

        What changes `cells` is done within `alone`, where others may change them too, and `instant`
        makes of the time at which each looked at the clock one that does not go back.
        """
        self._cells: Final = cells
        self._alone: Final = alone
        self._instant: Final = instant
        self._keyed: Final = blake2b(digest_size=8, key=secret or token_bytes(_SECRET_BYTES))
        # Tenants, routes and models come again and again.
        self._kept: Final = lru_cache(_KEPT_DIGESTS)(self.digest)
        # One request at a time goes through these, without an array being made for it.
        self._request, self._as_request = _row(1, ROWS)
        self._settlement, self._as_settlement = _row(1, 4)
        self._answers, self._from_answers = _row(1, 6)
        self._results: Final = np.zeros((1, 4), np.int64)
        self.row_keys: Final = np.zeros((1, ROWS), np.int64)
        #: Of rows that are leases: units that the last request lacked, or (negative) left over.
        self.lacking: Final = np.zeros((1, ROWS), np.int64)
        self._live = self._sweep_at = 0
        self._warm_up()

    def _warm_up(self) -> None:
        """Ask for nothing once: the first call of a kernel takes some milliseconds."""
        plans, calendar = Plans(Budgets(), self.digest), np.zeros((3, 2), np.int64)
        counters, heads, items, journal = self._cells
        rows, answers = plans.rows, self._answers[:0]
        asked, keys, lacking = self._request[:0], self.row_keys[:0], self.lacking[:0]
        kernels.reserve(
            counters, heads, items, rows, plans.intervals, asked, calendar, 1, answers, keys, lacking, journal
        )  # fmt: skip
        kernels.settle(counters, heads, items, self._settlement[:0], 1, self._results[:0], journal)

    def digest(self, text: str) -> int:
        """What `text` is called in keys: 64 bits, as a signed number."""
        keyed = self._keyed.copy()
        keyed.update(text.encode())
        return int.from_bytes(keyed.digest(), "little", signed=True)

    def reserve(
        self, plans: Plans, ask: Ask, calendar: NDArray[np.int64], now: int, ttl_ns: int
    ) -> Answer:
        """Charge a request to every limit that is for it, or to none.

        `calendar` is `Clock.calendar`. The reservation is settled by rule after `ttl_ns`.
        """
        first, last = plans.of(ask)
        self._write(ask, first, last, ttl_ns)
        counters, heads, items, journal = self._cells
        with self._alone:
            now = self._instant(now)
            kernels.reserve(
                counters,
                heads,
                items,
                plans.rows,
                plans.intervals,
                self._request,
                calendar,
                now,
                self._answers,
                self.row_keys,
                self.lacking,
                journal,
            )
        return Answer._make(_ANSWER.unpack_from(self._from_answers))

    def settle(self, call_id: str, charge: Usage | Charge, now: int) -> Settled | None:
        """Charge what a request used, or what the rule says. None where nothing is reserved.

        A request that is charged NOTHING was a request all the same.
        """
        mode = kernels.USED if isinstance(charge, Usage) else _MODES[charge]
        usage = charge if isinstance(charge, Usage) else NO_USAGE
        _SETTLEMENT.pack_into(self._as_settlement, 0, self.digest(call_id), mode, *usage)
        counters, heads, items, journal = self._cells
        with self._alone:
            now = self._instant(now)
            kernels.settle(counters, heads, items, self._settlement, now, self._results, journal)
        state, estimated_input, estimated_output, reserved_at = self._results[0].tolist()
        if state != kernels.SETTLED:
            return None
        return Settled(Usage(estimated_input, estimated_output), (now - reserved_at) / NS)

    def tick(self, lost: Charge, now: int) -> Ticked:
        """Settle by rule what nobody will settle, and now and then free what has ended.

        A sweep of a large table keeps the event loop for some milliseconds, and what it frees is only
        found sooner.
        """
        counters, heads, items, journal = self._cells
        with self._alone:
            now = self._instant(now)
            expired = kernels.expire(
                counters, heads, items, _MODES[lost], now, _EXPIRED_AT_ONCE, journal
            )
            if now >= self._sweep_at:
                self._sweep_at = now + _SWEEP_NS
                self._live = kernels.sweep(counters, now)
        open_ = int((heads[:, kernels.DEADLINE] > 0).sum())
        return Ticked(self._live, open_, expired)

    def standing(self, plans: Plans, ask: Ask, calendar: NDArray[np.int64], now: int) -> list[Seen]:
        """Each limit for a request, as it stands."""
        first, last = plans.of(ask)
        self._write(ask, first, last, 0)
        states = np.zeros((1, ROWS, 3), np.int64)
        with self._alone:
            now = self._instant(now)
            kernels.peek(
                self._cells.counters,
                plans.rows,
                plans.intervals,
                self._request,
                calendar,
                now,
                states,
                self.row_keys,
                self._cells.journal,
            )
        rows = range(first, last)
        return [
            Seen(row, int(self.row_keys[0, row - first]), *states[0, row - first].tolist())
            for row in rows
        ]

    def adjust(self, key: int, kind: int, delta: int, ends: int, now: int) -> int | None:
        """Add to the counter `key`, which lives until `ends`. Its new value; None without room."""
        counters, heads, _, journal = self._cells
        with self._alone:
            now = self._instant(now)
            value = kernels.adjust(counters, heads, key, kind, delta, ends, now, journal)
        return None if value == kernels.FULL_TABLE else value

    def withdraw(self, key: int, most: int, now: int) -> int:
        """Take up to `most` units out of a lease. How many there were."""
        counters, heads, _, journal = self._cells
        with self._alone:
            now = self._instant(now)
            return kernels.withdraw(counters, heads, key, most, now, journal)

    def give_back(
        self, plans: Plans, ask: Ask, amount: int, calendar: NDArray[np.int64], now: int
    ) -> int:
        """Give back units of every limit that is for a request. Of how many limits."""
        found = self.standing(plans, ask, calendar, now)
        given = 0
        for seen in found:
            kind, interval = int(plans.rows[seen.row, KIND]), float(plans.intervals[seen.row])
            delta = -min(_MOST, round(amount * interval) if kind == RATE else amount)
            ends = int(calendar[plans.rows[seen.row, CALENDAR], 1])
            given += self.adjust(seen.key, kind, delta, ends, now) is not None
        return given

    def forget(self, plans: Plans, ask: Ask, calendar: NDArray[np.int64], now: int) -> int:
        """Make every limit that is for a request as new. How many that are."""
        found = self.standing(plans, ask, calendar, now)
        with self._alone:
            now = self._instant(now)
            for seen in found:
                kernels.forget(self._cells.counters, seen.key, now, self._cells.journal)
        return len(found)

    def _write(self, ask: Ask, first: int, last: int, ttl_ns: int) -> None:
        used, made = ask.usage
        price = used * ask.input_price + made * ask.output_price
        _REQUEST.pack_into(
            self._as_request,
            0,
            self.digest(ask.id),
            first,
            last,
            ttl_ns,
            ask.input_price,
            ask.output_price,
            self.digest(ask.principal),
            self._kept(ask.tenant),
            self._kept(ask.route),
            self._kept(ask.model),
            min(ask.requests, _MOST),
            min(used, _MOST),
            min(made, _MOST),
            min(used + made, _MOST),
            min(price, _MOST),
            1,
        )


def _row(rows: int, columns: int) -> tuple[NDArray[np.int64], memoryview]:
    """An array, and its bytes to write into."""
    array = np.zeros((rows, columns), np.int64)
    return array, array.data.cast("B")
