"""The kernels, the ledger and the store of this project."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from benchmarks.budgets.contest import (
    BURST_NS,
    IDENTITIES,
    TTL_NS,
    Base,
    Contestant,
    Request,
    ask_of,
    limits_of,
    name_of,
    spent_limit,
)
from extauthz.core.budget.allowance import Allowance
from extauthz.core.budget.demand import Ask
from extauthz.core.budget.limits import Budgets
from extauthz.core.budget.report import Usage
from extauthz.store.clock import Clock
from extauthz.store.ledger import Cells, Ledger, private_cells
from extauthz.store.memory import MemoryStore
from extauthz.store.plans import RATE, Plans
from extauthz.store.shared import SharedCells
from extauthz_kernels import ledger as kernels

BATCHED: Final = "ours, batches of {}"
_KERNEL, _LEDGER = "ours, kernel alone, 512", "ours, Ledger.reserve"
_STORE, _FILE = "ours, MemoryStore.reserve", "ours, shared file"
SECRET: Final = bytes(range(32))
FOREVER: Final = 1 << 61
_BATCHES: Final = (1, 16, 64, 512)
_COUNTERS: Final = 1 << 21
_RESERVATIONS: Final = 1 << 16


def _number(call_id: str) -> int:
    """The first 64 bits of an id, as a signed number."""
    return int.from_bytes(bytes.fromhex(call_id[:16]), signed=True)


class Rows:
    """Requests as rows of the kernels, and the arrays that answer them."""

    def __init__(self, cells: Cells, plans: Plans, ledger: Ledger, batch: int) -> None:
        ask = Ask("", "", "acme", "chat", "large", Usage(0, 0))
        self._cells, self._plans, self._clock = cells, plans, Clock()
        self._first = np.zeros(16, np.int64)
        self._first[1:4] = (*plans.of(ask), TTL_NS)
        self._first[7:10] = [ledger.digest(name) for name in ("acme", "chat", "large")]
        self._first[10] = self._first[15] = 1
        self.answers = np.zeros((batch, 6), np.int64)
        self.keys = np.zeros((batch, kernels.ROWS), np.int64)
        self._missing = np.zeros_like(self.keys)

    def of(self, requests: Sequence[Request]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """All of a row but the identity. Ids are numbers of 128 random bits, of which 64 do."""
        rows = np.tile(self._first, (len(requests), 1))
        rows[:, 0] = [_number(request.call_id) for request in requests]
        rows[:, 11:14] = [request.usage for request in requests]
        return rows

    def reserve(self, rows: np.ndarray[Any, np.dtype[np.int64]]) -> int:
        """How many are granted."""
        counters, heads, items, journal = self._cells
        now = self._clock.now()
        return kernels.reserve(
            counters,
            heads,
            items,
            self._plans.rows,
            self._plans.intervals,
            rows,
            self._clock.calendar(now),
            now,
            self.answers,
            self.keys,
            self._missing,
            journal,
        )

    def settle(self, settlements: np.ndarray[Any, np.dtype[np.int64]]) -> int:
        """How many are settled."""
        counters, heads, items, journal = self._cells
        results = np.empty_like(settlements)
        now = self._clock.now()
        return kernels.settle(counters, heads, items, settlements, now, results, journal)


def _hashes(names: Sequence[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
    digests = [blake2b(name.encode(), digest_size=8, key=SECRET).digest() for name in names]
    return np.frombuffer(b"".join(digests), np.int64)


class Batched(Base):
    """The kernels over batches."""

    def __init__(self, rows: Rows, batch: int, *, hashed: bool) -> None:
        self._rows, self._batch, self._hashed = rows, batch, hashed

    def prepare(self, requests: Sequence[Request]) -> None:
        """Their rows, without the digests if those are timed."""
        rows = self._rows.of(requests)
        names = [request.who for request in requests]
        if not self._hashed:
            rows[:, 6] = _hashes(names)
        step = range(0, len(requests), self._batch)
        self._batches = [(rows[i : i + self._batch], names[i : i + self._batch]) for i in step]
        told = np.zeros((len(requests), 4), np.int64)
        told[:, 0], told[:, 2:4] = rows[:, 0], rows[:, 11:13] // 2
        self._told = [told[i : i + self._batch] for i in step]

    def reserve(self) -> int:
        """Batch by batch."""
        granted = 0
        for rows, names in self._batches:
            if self._hashed:
                rows[:, 6] = _hashes(names)
            granted += self._rows.reserve(rows)
        return granted

    def settle(self) -> int:
        """Batch by batch."""
        return sum(map(self._rows.settle, self._told))


class _Asking(Base):
    """What takes one request at a time, as the service asks it."""

    def prepare(self, requests: Sequence[Request]) -> None:
        self._asks = [ask_of(request) for request in requests]
        self._told = [
            (one.call_id, Usage(one.usage[0] // 2, one.usage[1] // 2)) for one in requests
        ]


class _OneByOne(_Asking):
    """A ledger: of this process, or in a file with its lock."""

    def __init__(self, ledger: Ledger, plans: Plans) -> None:
        self._ledger, self._plans, self._clock = ledger, plans, Clock()

    def reserve(self) -> int:
        granted, now = 0, self._clock.now
        ledger, plans, calendar = self._ledger, self._plans, self._clock.calendar
        for ask in self._asks:
            instant = now()
            state = ledger.reserve(plans, ask, calendar(instant), instant, TTL_NS).state
            granted += state == kernels.GRANTED
        return granted

    def settle(self) -> int:
        ledger, now = self._ledger, self._clock.now
        return sum(ledger.settle(name, usage, now()) is not None for name, usage in self._told)


class _Stored(_Asking):
    """The store that a server has, with the answer in the policy's words."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def reserve(self) -> int:
        return asyncio.run(self._reserve())

    async def _reserve(self) -> int:
        granted, store = 0, self._store
        for ask in self._asks:
            allowance = await store.reserve(ask, 0.0)
            granted += isinstance(allowance, Allowance) and not allowance.limited
        return granted

    def settle(self) -> int:
        settle = self._store.settle
        return sum(settle("", name, usage) is not None for name, usage in self._told)


def fill(rows: Rows, ledger: Ledger, identities: int, limits: int) -> None:
    """Make a counter of each limit for each identity, and use up those that are to be."""
    now, ended = time.monotonic_ns(), FOREVER
    for begin in range(0, identities, 512):
        numbers = range(begin, min(identities, begin + 512))
        asked = [Request(f"{number:016x}", name_of(number), (1, 1, 1)) for number in numbers]
        batch = rows.of(asked)
        batch[:, 6] = _hashes([request.who for request in asked])
        assert rows.reserve(batch) == len(asked)
        for index, number in enumerate(numbers):
            limit = spent_limit(number, limits)
            if limit >= 0:
                ledger.adjust(int(rows.keys[index, limit]), RATE, BURST_NS, ended, now)
        told = np.zeros((len(asked), 4), np.int64)
        told[:, 0], told[:, 1] = batch[:, 0], kernels.RESERVED
        rows.settle(told)


@contextmanager
def contestants(limits: int) -> Iterator[dict[str, Contestant]]:
    """All of them, each over counters of all identities."""
    budgets = Budgets(limits=limits_of(limits))
    ask = Ask("", "", "acme", "chat", "large", Usage(0, 0))
    with TemporaryDirectory() as folder:
        cells = private_cells(_COUNTERS, _RESERVATIONS)
        file = SharedCells(Path(folder) / "counters", _COUNTERS, _RESERVATIONS)
        ledger = Ledger(cells, SECRET)
        shared = Ledger(file.cells, SECRET, file)
        made: dict[str, Contestant] = {}
        plans = Plans(budgets, ledger.digest)
        plans.of(ask)
        fill(Rows(cells, plans, ledger, 512), ledger, IDENTITIES, limits)
        fill(Rows(file.cells, plans, shared, 512), shared, IDENTITIES, limits)
        made[_KERNEL] = Batched(Rows(cells, plans, ledger, 512), 512, hashed=False)
        for batch in reversed(_BATCHES):
            rows = Rows(cells, plans, ledger, batch)
            made[BATCHED.format(batch)] = Batched(rows, batch, hashed=True)
        made[_LEDGER] = _OneByOne(ledger, plans)
        store = MemoryStore(ledger, Clock())
        store.serve(budgets)
        made[_STORE] = _Stored(store)
        made[_FILE] = _OneByOne(shared, plans)
        yield made
