"""Bytes that a counter takes, and what it takes to free those that have ended."""

import random
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.budgets.contest import (
    BURST,
    Contestant,
    Request,
    limits_of,
    name_of,
    requests_of,
)
from benchmarks.budgets.dicts import DICTS
from benchmarks.budgets.libraries import FIXED, THROTTLED, hit_all, library, limit, throttle_of
from benchmarks.budgets.ours import FOREVER, SECRET, Batched, Rows, fill
from extauthz.core.budget.demand import Ask
from extauthz.core.budget.limits import Budgets
from extauthz.core.budget.report import Usage
from extauthz.store.ledger import Cells, Ledger, private_cells
from extauthz.store.plans import Plans
from extauthz_kernels import ledger as kernels


def _rss() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4_096


def _our_memory(identities: int, slots: int) -> dict[str, Any]:
    """Bytes for each counter, CPU ns for each decision, and ms of a sweep; in a process of its own."""
    budgets = Budgets(limits=limits_of(1))
    ask = Ask("", "", "acme", "chat", "large", Usage(0, 0))
    warm = private_cells(1 << 10, 1 << 10)
    plans = Plans(budgets, Ledger(warm, SECRET).digest)
    plans.of(ask)
    fill(Rows(warm, plans, Ledger(warm, SECRET), 512), Ledger(warm, SECRET), 512, 1)
    before = _rss()
    cells = private_cells(slots, 1 << 10)
    ledger = Ledger(cells, SECRET)
    rows = Rows(cells, plans, ledger, 512)
    fill(rows, ledger, identities, 1)
    grown = _rss() - before
    now = time.monotonic_ns()
    live = kernels.sweep(cells.counters, now)
    contestant, rng = Batched(rows, 512, hashed=True), random.Random(0)
    spent = []
    for _ in range(8):
        requests, due = requests_of(rng, 512, identities)
        spent.append(_small_round(contestant, requests, due))
    alive, dead = [], []
    for _ in range(5):
        alive.append(_sweep_ms(cells, now))
        kept = cells.counters.copy()
        dead.append(_sweep_ms(cells, FOREVER))
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


def _small_round(contestant: Contestant, requests: Sequence[Request], due: int) -> float:
    contestant.prepare(requests)
    start = time.thread_time()
    granted = contestant.reserve()
    took = time.thread_time() - start
    assert granted == due
    contestant.settle()
    return took / len(requests)


def _sweep_ms(cells: Cells, now: int) -> float:
    start = time.thread_time()
    kernels.sweep(cells.counters, now)
    return (time.thread_time() - start) * 1e3


def _dict_memory(identities: int) -> dict[str, Any]:
    before, now = _rss(), time.monotonic_ns()
    tats = {name_of(number): now + number for number in range(identities)}
    return _bytes(DICTS, _rss() - before, len(tats))


def _limits_memory(identities: int, folder: str) -> dict[str, Any]:
    found = library("limits", folder)
    storage = found.storage.MemoryStorage()
    limiter = found.strategies.FixedWindowRateLimiter(storage)
    before = _rss()
    hit_all(limiter.hit, [found.RateLimitItemPerDay(BURST, 1, namespace="limit-0")], identities)
    storage.timer.join()
    return _bytes(FIXED, _rss() - before, len(storage.storage))


def _throttled_memory(identities: int, folder: str) -> dict[str, Any]:
    throttle = throttle_of(folder)
    before = _rss()
    hit_all(limit, [throttle], identities)
    return _bytes(THROTTLED, _rss() - before, identities)


def _bytes(name: str, grown: int, live: int) -> dict[str, Any]:
    return {
        "contestant": name,
        "identities": live,
        "live_counters": live,
        "bytes_per_counter": round(grown / live, 1),
    }


def measure(folder: str) -> list[dict[str, Any]]:
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
