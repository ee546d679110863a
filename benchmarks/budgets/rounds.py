"""Interleaved rounds of all contestants."""

import gc
import random
import statistics
import time
from typing import Any, Final

from benchmarks.budgets import dicts, libraries, ours
from benchmarks.budgets.contest import IDENTITIES, Contestant, Request, requests_of

_ROUND: Final = 8_192


def measure(limits: int, rounds: int, folder: str) -> list[dict[str, Any]]:
    """CPU ns of a decision and of a settlement, by contestant; medians over rounds."""
    with ours.contestants(limits) as own:
        contestants = own | dicts.contestants(limits) | libraries.contestants(folder, limits)
        spent: dict[str, list[dict[str, float]]] = {name: [] for name in contestants}
        rng = random.Random(limits)
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


def _round(contestant: Contestant, rng: random.Random) -> dict[str, float]:
    requests, due = requests_of(rng, _ROUND, IDENTITIES)
    contestant.prepare([Request(*request) for request in requests])
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
