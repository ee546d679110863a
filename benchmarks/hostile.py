"""What the worst bodies cost: event-loop time, CPU and memory of one check, at the size limit.

Each body of the catalogue goes through a whole Authorizer on a real event loop, with a scorer that
answers at once, in a process of its own. Measured for each:

  stall    the longest time that a task waking every millisecond was kept from running, counting
           only what this process computed meanwhile: what other programs on the machine took is
           not the body's doing. Less what is measured while nothing runs; least of several checks.
  late     the same by the clock on the wall, whoever was to blame
  cpu      CPU time of the whole process for one check
  memory   growth of the peak resident set over one check, in multiples of the decoded body
           (up to the size limit), beyond the message that brought it
"""

import argparse
import asyncio
import gc
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import uvloop

from benchmarks.environment import print_table, save
from benchmarks.worst_bodies import Body, catalogue
from extauthz.accounts import alone
from extauthz.core.call import Passage
from extauthz.core.cancellation import Cancellation
from extauthz.core.policy import Detect, Patterns, Policy, Rule
from extauthz.core.reasons import Failure
from extauthz.model import directory
from extauthz.model.directory import ModelDirectory
from extauthz.model.scorer import Scores, TextScore
from extauthz.protocol._pb.check_pb2 import CheckRequest
from extauthz.service import Authorizer
from extauthz.settings import DEFAULT_MODEL
from extauthz.telemetry.observation import Observation

_SIZES: Final = {"64 KB": 64 * 1024, "8 MiB": 8 * 1024 * 1024}
_STALL_MS, _MEMORY_TIMES = 10, 40
_SMALL_BYTES: Final = 4 * 1024
#: As in `extauthz.server.serve`.
_SWITCH_S: Final = 0.0005
_TICK_S: Final = 0.001
_IDLE_S: Final = 0.05
#: No check of the catalogue may take longer than this, whatever it is.
_PATIENCE_S: Final = 60.0
#: Texts within the classifier's reach are rare here; the rest is refused before it is asked.
_PATTERNS: Final = Patterns(
    "benchmark",
    regex=(r"(a+)+$", r"\s+previous", r"(?i)ignore (all|any|the) .{0,40}(rules|instructions)"),
    literals=("reveal the system prompt", "begin private key"),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one body cost. Milliseconds, and multiples of the decoded body."""

    name: str
    size: str
    wire_bytes: int
    reason: str
    stall_ms: float
    late_ms: float
    cpu_ms: float
    wall_ms: float
    memory_times: float
    memory_mib: float

    @property
    def within(self) -> bool:
        """Whether the bar is met."""
        return self.stall_ms <= _STALL_MS and self.memory_times <= _MEMORY_TIMES


class Agreeable:
    """A scorer that finds nothing, at once."""

    def __init__(self, directory: ModelDirectory) -> None:
        self.directory = directory

    async def score(
        self, texts: Sequence[Passage], max_tokens: int, deadline: float, cancellation: Cancellation
    ) -> Scores | Failure:
        """The lowest score for each text."""
        del max_tokens, deadline, cancellation
        return tuple(TextScore(0.0, 1, 1) for _ in texts)


class _Ticker:
    """Wakes every millisecond and remembers by how much it was late at the worst."""

    def __init__(self) -> None:
        self._late_s = self._stalled_s = 0.0
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            before, cpu = time.perf_counter(), time.process_time()
            await asyncio.sleep(_TICK_S)
            late = time.perf_counter() - before - _TICK_S
            self._late_s = max(self._late_s, late)
            self._stalled_s = max(self._stalled_s, min(late, time.process_time() - cpu))

    def worst(self) -> tuple[float, float]:
        """Seconds late at the worst since the last look, and of those the seconds that we computed."""
        worst = self._late_s, self._stalled_s
        self._late_s = self._stalled_s = 0.0
        return worst

    def stop(self) -> None:
        self._task.cancel()


def _message(body: Body) -> bytes:
    message = CheckRequest()
    http = message.attributes.request.http
    http.id, http.method, http.path, http.host = "1", "POST", body.path, "api.example.com"
    http.raw_body, http.size = body.data, len(body.data)
    for name, value in {"content-length": str(len(body.data)), **body.headers}.items():
        http.headers[name] = value
    return message.SerializeToString()


async def _cost(
    name: str, size: str, body: Body, small: Body, served: ModelDirectory, checks: int
) -> Cost:
    reasons: list[str] = []

    def observe(seen: Observation) -> None:
        reasons.append(seen.decision.reason.value)

    rule = Rule(detect=Detect(patterns=(_PATTERNS,)))
    policy = Policy(digest="benchmark", routes=(), default=rule)
    authorizer = Authorizer(policy, Agreeable(served), alone(), observe)
    message, loop = _message(body), asyncio.get_running_loop()
    # What is loaded and cached at the first request of a kind is no cost of the one measured.
    await authorizer.check(_message(small), loop.time() + _PATIENCE_S, Cancellation())
    gc.collect()
    gc.freeze()  # as a server does once it is ready
    ticker = _Ticker()
    idles, stalls, lates, cpus, walls = [], [], [], [], []
    before = _resident("VmRSS")
    _forget_peak()
    for check in range(checks):
        await asyncio.sleep(_IDLE_S)
        idles.append(ticker.worst()[1])
        cpu, wall = time.process_time(), time.perf_counter()
        await authorizer.check(message, loop.time() + _PATIENCE_S, Cancellation())
        walls.append(time.perf_counter() - wall)
        await asyncio.sleep(2 * _TICK_S)  # what is freed afterwards counts too
        cpus.append(time.process_time() - cpu)
        late, stalled = ticker.worst()
        lates.append(late)
        stalls.append(stalled)
        if check == 0:
            peak = _resident("VmHWM")
    ticker.stop()
    authorizer.close()
    return Cost(
        name,
        size,
        len(body.data),
        reasons[-1],
        round(max(0.0, min(stalls) - min(idles)) * 1e3, 1),
        round(min(lates) * 1e3, 1),
        round(min(cpus) * 1e3, 1),
        round(min(walls) * 1e3, 1),
        round((peak - before) / body.size, 1),
        round((peak - before) / 2**20, 1),
    )


def _resident(field: str) -> int:
    """Bytes, from the kernel's account of this process."""
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _alone(measure: Callable[[], Cost]) -> Cost:
    """`measure()` in a forked process, so that no body's memory hides another's."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with os.fdopen(writer, "w") as pipe:
            json.dump(asdict(measure()), pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return Cost(**json.loads(answer))


def _measured(
    name: str, size: str, make: Callable[[int], Body], served: ModelDirectory, checks: int
) -> Cost:
    sys.setswitchinterval(_SWITCH_S)
    body, small = make(_SIZES[size]), make(_SMALL_BYTES)
    return _alone(lambda: uvloop.run(_cost(name, size, body, small, served, checks)))


def _costs(sizes: Iterable[str], only: str, checks: int) -> list[Cost]:
    served = directory.load(DEFAULT_MODEL)
    costs = []
    for size in sizes:
        for name, make in catalogue().items():
            if only in name:
                cost = _measured(name, size, make, served, checks)
                print(f"{size} {name}: {cost.reason} {cost.stall_ms} ms", flush=True)
                costs.append(cost)
    return costs


def main() -> None:
    """Print the table and write results/hostile.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", choices=_SIZES, action="append")
    parser.add_argument("--only", default="", help="part of a name; nothing is written then")
    parser.add_argument("--checks", type=int, default=5)
    options = parser.parse_args()
    costs = _costs(options.size or _SIZES, options.only, options.checks)
    header = ("body", "size", "reason", "stall ms", "late ms", "cpu ms", "wall ms", "memory x", "")
    table = [
        (c.name, c.size, c.reason, c.stall_ms, c.late_ms, c.cpu_ms, c.wall_ms, c.memory_times,
         "" if c.within else "MISSED")
        for c in sorted(costs, key=lambda c: -c.stall_ms)
    ]  # fmt: skip
    print_table(header, table)
    missed = sum(not cost.within for cost in costs)
    print(f"\n{len(costs)} bodies, {missed} beyond {_STALL_MS} ms or {_MEMORY_TIMES} times")
    if not options.only:
        result = {
            "unit": "stall, cpu, wall: milliseconds, least of the checks; memory: multiples of size",
            "bar": {"stall_ms": _STALL_MS, "memory_times": _MEMORY_TIMES},
            "checks": options.checks,
            "missed": missed,
            "rows": [asdict(cost) for cost in costs],
        }
        save("hostile", result, ("orjson", "numba", "protobuf", "uvloop", "brotli", "zstandard"))


if __name__ == "__main__":
    main()
