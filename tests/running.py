"""A whole server in this process, on loopback, and Envoy's two questions to it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc

from extauthz.core.call import Call
from extauthz.protocol import check, health
from extauthz.protocol._pb.health_pb2 import HealthCheckResponse
from extauthz.server import Server
from extauthz.settings import Settings
from extauthz.store.options import StoreOptions
from extauthz.transport.options import ListenOptions
from tests import as_envoy

Ask = Callable[..., "grpc.aio.UnaryUnaryCall[bytes, bytes]"]


def settings_for(model: Path, policy: Path, records: Path, **changes: Any) -> Settings:
    """The fewest resources: one listener on a free port, no admin port, no waiting at the end."""
    plain: dict[str, Any] = {
        "listeners": (ListenOptions("127.0.0.1:0"),),
        "transport": "grpcio",
        "admin": "",
        "policy": policy,
        "model": model,
        "calibration": None,
        "device": "cpu",
        "model_threads": 1,
        "records": str(records),
        "receipt_key": None,
        "vocabularies": {},
        "control": None,
        "store": StoreOptions(counters=1024, reservations=1024),
        "drain_wait_s": 0.0,
        "drain_grace_s": 1.0,
    }
    return Settings(**plain | changes)


class Running:
    """A server that serves, and a channel to its first listener."""

    def __init__(self, addresses: tuple[str, ...], channel: grpc.aio.Channel) -> None:
        self.addresses = addresses
        self._check: Ask = channel.unary_unary(check.METHOD)
        self._health: Ask = channel.unary_unary(health.METHOD)

    async def send(self, message: bytes) -> bytes:
        """CheckRequest bytes to CheckResponse bytes."""
        return await self._check(message, timeout=10)

    async def check(self, call: Call) -> bytes:
        """CheckResponse bytes about `call`."""
        return await self.send(as_envoy.ask(call))

    async def health(self) -> str:
        """The name of the serving status."""
        answer = await self._health(b"", timeout=10)
        status = HealthCheckResponse.FromString(answer).status
        return HealthCheckResponse.ServingStatus.Name(status)


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[Running]:
    """Run `server` until the block ends, then stop it; a drain that is under way is cut short."""
    ready: asyncio.Future[tuple[str, ...]] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(server.run(ready.set_result))
    task.add_done_callback(lambda ended: None if ready.done() else ready.cancel())
    with suppress(asyncio.CancelledError):
        await ready
    if ready.cancelled():
        await task
    try:
        async with grpc.aio.insecure_channel(ready.result()[0]) as channel:
            yield Running(ready.result(), channel)
    finally:
        if server._stopping.is_set():
            task.cancel()
        server.stop()
        with suppress(asyncio.CancelledError):
            await task
