"""A closed loop of requests: h2load where it is installed, else a slower one in Python.

Either keeps `concurrency` requests in flight. What is measured is the CPU time of the server, so a
slow generator costs patience; it also batches less, which flatters no server.
"""

import asyncio
import re
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import grpc

CHECK = "/envoy.service.auth.v3.Authorization/Check"
_GRPC_HEADERS = ("content-type: application/grpc", "te: trailers", "grpc-timeout: 10S")


@dataclass(frozen=True)
class Target:
    """Where to send: HTTP/1.1 requests to a proxy, or Checks to an authorization server."""

    address: str
    is_grpc: bool


def generator() -> str:
    """Name of the load generator that `send` uses here."""
    return "h2load" if shutil.which("h2load") else "python"


def send(target: Target, body: bytes, folder: Path, requests: int, concurrency: int) -> int:
    """Send so many requests and return how many ended with a 2xx (a gRPC status 0)."""
    if generator() == "h2load":
        return _h2load(target, body, folder, requests, concurrency)
    one = _grpc_sender if target.is_grpc else _http_sender
    return asyncio.run(_closed_loop(one, target, body, requests, concurrency))


def _h2load(target: Target, body: bytes, folder: Path, requests: int, concurrency: int) -> int:
    data = folder / "body"
    data.write_bytes(b"\0" + len(body).to_bytes(4) + body if target.is_grpc else body)
    # Envoy holds one HTTP/2 connection to us; its own clients have one connection each.
    streams = (1, concurrency) if target.is_grpc else (concurrency, 1)
    command = ["h2load", f"-n{requests}", f"-c{streams[0]}", f"-m{streams[1]}", "-d", str(data)]
    if target.is_grpc:
        command += [word for header in _GRPC_HEADERS for word in ("-H", header)]
    else:
        command += ["--h1", "-H", "content-type: application/json"]
    url = f"http://{target.address}{CHECK if target.is_grpc else '/v1/chat/completions'}"
    output = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    found = re.search(r"status codes: (\d+) 2xx", output)
    return int(found.group(1)) if found else 0


_Sender = Callable[[Target, bytes, Callable[[], bool]], Awaitable[int]]


async def _closed_loop(
    sender: _Sender, target: Target, body: bytes, requests: int, concurrency: int
) -> int:
    left = iter(range(requests))

    def more() -> bool:
        return next(left, None) is not None

    return sum(await asyncio.gather(*(sender(target, body, more) for _ in range(concurrency))))


async def _grpc_sender(target: Target, body: bytes, more: Callable[[], bool]) -> int:
    good = 0
    async with grpc.aio.insecure_channel(target.address) as channel:
        check: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(CHECK)
        while more():
            good += bool(await check(body, timeout=10))
    return good


async def _http_sender(target: Target, body: bytes, more: Callable[[], bool]) -> int:
    good = 0
    host, port = target.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {target.address}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    while more():
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", answer)
        await reader.readexactly(int(length.group(1)) if length else 0)
        good += answer.startswith(b"HTTP/1.1 2")
    writer.close()
    return good
