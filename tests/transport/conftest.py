"""Both transports, started on loopback, and a gRPC client that sends raw bytes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
import uvloop

from extauthz.core.cancellation import Cancellation
from extauthz.transport import NO_SINKS, Methods, Sinks, Transport, grpcio, http2
from extauthz.transport.options import ListenOptions
from tests.transport.certificates import Authority

Start = Callable[[Methods, ListenOptions, Sinks], Awaitable[Transport]]
Call = Callable[..., "grpc.aio.UnaryUnaryCall[bytes, bytes]"]
Stream = grpc.aio.StreamUnaryCall[bytes, bytes]

TRANSPORTS: dict[str, Start] = {"grpcio": grpcio.start, "http2": http2.start}


def unary(channel: grpc.aio.Channel, method: str) -> Call:
    """A unary call of `/test.Service/{method}` over this channel, raw bytes both ways."""
    return channel.unary_unary(f"/test.Service/{method}")


async def echo(message: bytes, deadline: float, cancellation: Cancellation) -> bytes:
    """A handler that answers with the message."""
    return message


async def cancelled(cancellation: Cancellation) -> None:
    """Return once it is set; the test's own timeout bounds the wait."""
    while not cancellation.cancelled:  # noqa: ASYNC110 - it is a flag, so that reading it is free
        await asyncio.sleep(0.001)


class Peer:
    """A client of one started server."""

    def __init__(self, transport: Transport, channel: grpc.aio.Channel) -> None:
        """Talk to the transport over the channel."""
        self.transport, self.channel = transport, channel
        self.address = transport.addresses[0]

    def call(self, method: str) -> Call:
        """A unary call of `/test.Service/{method}`, raw bytes both ways."""
        return unary(self.channel, method)

    def stream(self, method: str, compression: grpc.Compression | None = None) -> Stream:
        """A client stream to `/test.Service/{method}`, raw bytes both ways."""
        streams: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = self.channel.stream_unary(
            f"/test.Service/{method}"
        )
        return streams(compression=compression)

    async def status(self, method: str, message: bytes = b"", **options: object) -> grpc.StatusCode:
        """How a call ended."""
        call = self.call(method)(message, **options)
        try:
            await call
        except grpc.aio.AioRpcError as error:
            return error.code()
        return await call.code()


class Servers:
    """Starts servers of one transport, and stops them when the test ends."""

    def __init__(self, start: Start, stack: AsyncExitStack) -> None:
        """Close whatever is started with the stack."""
        self._start, self._stack = start, stack

    async def listen(
        self, methods: Methods, options: ListenOptions, sinks: Sinks = NO_SINKS
    ) -> Transport:
        """A started transport, drained at the end."""
        paths = {f"/test.Service/{name}": handler for name, handler in methods.items()}
        taken = {f"/test.Service/{name}": sink for name, sink in sinks.items()}
        transport = await self._start(paths, options, taken)
        self._stack.push_async_callback(transport.drain, 0.0)
        return transport

    async def peer(
        self,
        methods: Methods,
        options: ListenOptions | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        sinks: Sinks = NO_SINKS,
    ) -> Peer:
        """A started transport and a client of it."""
        transport = await self.listen(methods, options or ListenOptions("127.0.0.1:0"), sinks)
        return Peer(transport, await self.channel(transport.addresses[0], credentials))

    async def channel(
        self, address: str, credentials: grpc.ChannelCredentials | None = None
    ) -> grpc.aio.Channel:
        """A connection of its own, not shared with any other channel."""
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            ("grpc.enable_http_proxy", 0),
        ]
        if credentials is None:
            channel = grpc.aio.insecure_channel(address, options)
        else:
            channel = grpc.aio.secure_channel(address, credentials, options)
        return await self._stack.enter_async_context(channel)


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The server runs on uvloop, and so do its tests."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(params=sorted(TRANSPORTS))
async def servers(request: pytest.FixtureRequest) -> AsyncIterator[Servers]:
    """Servers of each transport in turn."""
    async with AsyncExitStack() as stack:
        yield Servers(TRANSPORTS[request.param], stack)


@pytest.fixture
async def both() -> AsyncIterator[dict[str, Servers]]:
    """Servers of both transports at once."""
    async with AsyncExitStack() as stack:
        yield {name: Servers(start, stack) for name, start in TRANSPORTS.items()}


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority of the tests' own."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    """A path for a Unix socket, short enough for the kernel's 108 bytes."""
    return tmp_path / "s"
