"""What only a hostile or broken client sends, and only our own gRPC framing has to survive."""

import asyncio
import gzip
import struct
import zlib
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest

from extauthz.core.cancellation import Cancellation
from extauthz.transport.calls import Calls, Status
from extauthz.transport.http2 import Application
from extauthz.transport.options import ListenOptions
from tests.transport.conftest import TRANSPORTS, Peer, Servers, cancelled, echo

METHOD = "/test.Service/Echo"
GRPC = {b"content-type": b"application/grpc", b"te": b"trailers"}


def framed(message: bytes, flag: int = 0) -> bytes:
    return struct.pack("!BI", flag, len(message)) + message


# The application alone: one ASGI request, and what it sends


class Sent:
    """What the application sent: HTTP status, headers and trailers together, body."""

    def __init__(self, events: list[Any]) -> None:
        self.status: int = events[0]["status"]
        named = [event["headers"] for event in events if "headers" in event]
        self.headers = {name: value for headers in named for name, value in headers}
        self.body = b"".join(event.get("body", b"") for event in events)

    @property
    def grpc_status(self) -> int:
        return int(self.headers[b"grpc-status"])


async def ask(
    body: bytes | Iterable[bytes],
    headers: dict[bytes, bytes] | None = None,
    *,
    limit: int = 1000,
    http_method: str = "POST",
) -> Sent:
    """Send a request to the application, its body in the given chunks."""
    chunks = [body] if isinstance(body, bytes) else list(body)
    events: list[Any] = [
        {"type": "http.request", "body": chunk, "more_body": number < len(chunks)}
        for number, chunk in enumerate(chunks, start=1)
    ]
    scope: Any = {
        "type": "http",
        "method": http_method,
        "path": METHOD,
        "headers": list((GRPC | (headers or {})).items()),
        "extensions": {},
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return events.pop(0)

    async def send(event: Any) -> None:
        sent.append(event)

    options = ListenOptions("unused:0", max_message_bytes=limit)
    await Application({METHOD: echo}, options, Calls())(scope, receive, send)
    return Sent(sent)


@pytest.mark.parametrize(
    "kind", [b"application/grpc", b"application/grpc+proto", b"Application/gRPC"]
)
async def test_grpc_content_types_are_served(kind: bytes) -> None:
    sent = await ask(framed(b"m"), {b"content-type": kind})
    assert (sent.status, sent.grpc_status, sent.body) == (200, Status.OK, framed(b"m"))


@pytest.mark.parametrize("kind", [b"", b"application/json", b"application/grpc-web"])
async def test_other_content_types_are_415(kind: bytes) -> None:
    assert (await ask(framed(b"m"), {b"content-type": kind})).status == 415


async def test_a_request_without_trailers_or_not_a_post_is_400() -> None:
    assert (await ask(framed(b"m"), {b"te": b""})).status == 400
    assert (await ask(framed(b"m"), http_method="GET")).status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\0\0",
        framed(b"message")[:-1],
        framed(b"message") + b"\0",
        framed(b"one") + framed(b"two"),
        framed(b"message", flag=2),
        framed(b"message", flag=255),
    ],
    ids=["nothing", "half a prefix", "cut short", "too long", "two", "flag 2", "flag 255"],
)
async def test_malformed_framing_is_internal(body: bytes) -> None:
    assert (await ask(body)).grpc_status == Status.INTERNAL


async def test_a_message_may_arrive_one_byte_at_a_time() -> None:
    frame = framed(b"a message in crumbs")
    sent = await ask(frame[at : at + 1] for at in range(len(frame)))
    assert (sent.grpc_status, sent.body) == (Status.OK, frame)


async def test_a_length_prefix_over_the_limit_is_enough_to_refuse() -> None:
    assert (await ask(struct.pack("!BI", 0, 1001))).grpc_status == Status.RESOURCE_EXHAUSTED
    assert (await ask(struct.pack("!BI", 0, 2**32 - 1))).grpc_status == Status.RESOURCE_EXHAUSTED


async def test_reading_stops_once_the_limit_is_passed() -> None:
    def endless() -> Iterable[bytes]:
        for number in range(100):
            assert number < 15, "read on after the limit"
            yield b"\0" * 100

    received = 0
    chunks = iter(endless())

    async def receive() -> Any:
        nonlocal received
        received += 1
        return {"type": "http.request", "body": next(chunks), "more_body": True}

    sent: list[Any] = []

    async def send(event: Any) -> None:
        sent.append(event)

    scope: Any = {"type": "http", "method": "POST", "path": METHOD, "headers": list(GRPC.items())}
    options = ListenOptions("unused:0", max_message_bytes=1000)
    await Application({METHOD: echo}, options, Calls())(scope, receive, send)
    assert Sent(sent).grpc_status == Status.RESOURCE_EXHAUSTED
    assert received == 11


@pytest.mark.parametrize(
    ("encoding", "message", "status"),
    [
        (b"gzip", gzip.compress(b"m" * 1000), Status.OK),
        (b"deflate", zlib.compress(b"m" * 1000), Status.OK),
        (b"gzip", gzip.compress(b"m" * 1001), Status.RESOURCE_EXHAUSTED),
        (b"gzip", gzip.compress(bytes(300_000)), Status.RESOURCE_EXHAUSTED),
        (b"gzip", gzip.compress(b"m" * 900)[:-1], Status.INTERNAL),
        (b"gzip", gzip.compress(b"m") + b"trailing", Status.INTERNAL),
        (b"gzip", b"not gzip", Status.INTERNAL),
        (b"identity", b"m", Status.INTERNAL),
        (b"br", b"m", Status.UNIMPLEMENTED),
    ],
)
async def test_compressed_messages_are_inflated_within_the_limit(
    encoding: bytes, message: bytes, status: Status
) -> None:
    sent = await ask(framed(message, flag=1), {b"grpc-encoding": encoding})
    assert sent.grpc_status == status
    assert sent.headers[b"grpc-accept-encoding"] == b"identity, deflate, gzip"
    assert status != Status.OK or sent.body == framed(b"m" * 1000)


@pytest.mark.parametrize(
    "value", [b"", b"m", b"1", b"1x", b"-1m", b"1.5S", b"123456789m", b"\xb2m"]
)
async def test_a_malformed_timeout_is_internal(value: bytes) -> None:
    assert (await ask(framed(b"m"), {b"grpc-timeout": value})).grpc_status == Status.INTERNAL


@pytest.mark.parametrize("value", [b"1H", b"1M", b"5S", b"5000m", b"5000000u", b"99999999n"])
async def test_every_unit_of_a_timeout_is_read(value: bytes) -> None:
    assert (await ask(framed(b"m"), {b"grpc-timeout": value})).grpc_status == Status.OK


# A real server, and bytes written by hand

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING = 0x0, 0x1, 0x3, 0x4, 0x6
END_STREAM, END_HEADERS = 0x1, 0x4


def h2(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + struct.pack("!BBI", kind, flags, stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """One header as HPACK writes it without table and without Huffman code."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


REQUEST = b"".join(
    literal(name, value)
    for name, value in [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", METHOD.encode()),
        (b":authority", b"test"),
        *GRPC.items(),
    ]
)
GREETING = PREFACE + h2(SETTINGS, 0, 0, b"")
OPEN = h2(HEADERS, END_HEADERS, 1, REQUEST)
RESET = struct.pack("!I", 8)


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    """A server on h2corn and a well-behaved client of it."""
    async with AsyncExitStack() as stack:
        yield await Servers(TRANSPORTS["http2"], stack).peer({"Echo": echo})


async def sends(peer: Peer, data: bytes) -> None:
    """Write to a connection of its own, wait for any answer, and hang up."""
    host, port = peer.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    try:
        await writer.drain()
        async with asyncio.timeout(0.2):
            await reader.read()
    except (TimeoutError, ConnectionError):
        pass
    writer.transport.abort()


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nhost: test\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        bytes(range(256)) * 100,
        PREFACE[:10],
        PREFACE + b"\xff" * 10_000,
        GREETING + h2(HEADERS, END_HEADERS, 1, b"\xff" * 100),
        GREETING + h2(HEADERS, 0, 1, REQUEST) + h2(DATA, END_STREAM, 1, framed(b"m")),
        GREETING + h2(HEADERS, 0, 1, REQUEST) + h2(0x9, 0, 1, b"\0" * 16_384) * 100,
        GREETING + OPEN + h2(DATA, 0, 1, framed(b"a long message")[:7]),
        GREETING + OPEN + (10_000).to_bytes(3, "big") + b"\0\0\0\0\0\1abc",
        GREETING + OPEN + h2(DATA, END_STREAM, 1, framed(b"a long message")[:7]),
        GREETING + OPEN + h2(DATA, END_STREAM, 7, framed(b"m")),
        GREETING + h2(PING, 0, 0, b"12345678") * 10_000,
        GREETING + h2(SETTINGS, 0, 0, b"") * 10_000,
    ],
    ids=[
        "HTTP/1.1",
        "TLS",
        "garbage",
        "half a preface",
        "garbage frames",
        "garbage headers",
        "headers without end",
        "continuation flood",
        "message cut short",
        "frame cut short",
        "stream ends within a message",
        "data on an idle stream",
        "ping flood",
        "settings flood",
    ],
)
async def test_the_server_serves_on_after(peer: Peer, data: bytes) -> None:
    await sends(peer, data)
    assert await peer.call("Echo")(b"next", timeout=5) == b"next"


class Waiting:
    """A handler that ends when nobody waits for it any more."""

    def __init__(self) -> None:
        self.cancellations: list[Cancellation] = []
        self.running = 0

    async def __call__(self, message: bytes, deadline: float, cancellation: Cancellation) -> bytes:
        self.cancellations.append(cancellation)
        self.running += 1
        await cancelled(cancellation)
        self.running -= 1
        return message


def opened(stream: int) -> bytes:
    """A complete request of the method Wait."""
    headers = h2(HEADERS, END_HEADERS, stream, REQUEST.replace(b"Echo", b"Wait"))
    return headers + h2(DATA, END_STREAM, stream, framed(b""))


STREAMS = range(1, 1001, 2)


async def test_five_hundred_requests_reset_at_once_leave_the_server_serving() -> None:
    waiting = Waiting()
    flood = b"".join(opened(stream) + h2(RST_STREAM, 0, stream, RESET) for stream in STREAMS)
    async with AsyncExitStack() as stack:
        peer = await Servers(TRANSPORTS["http2"], stack).peer({"Echo": echo, "Wait": waiting})
        await sends(peer, GREETING + flood)
        assert await peer.status("Echo", timeout=5) is grpc.StatusCode.OK
        await peer.transport.drain(5.0)
    assert waiting.running == 0


async def test_five_hundred_running_handlers_learn_that_their_streams_were_reset() -> None:
    waiting = Waiting()
    async with AsyncExitStack() as stack:
        peer = await Servers(TRANSPORTS["http2"], stack).peer({"Echo": echo, "Wait": waiting})
        host, port = peer.address.split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(GREETING + b"".join(map(opened, STREAMS)))
        while len(waiting.cancellations) < len(STREAMS):  # noqa: ASYNC110 - a bounded test
            await asyncio.sleep(0.001)
        writer.write(b"".join(h2(RST_STREAM, 0, stream, RESET) for stream in STREAMS))
        for cancellation in waiting.cancellations:
            await cancelled(cancellation)
        assert await peer.status("Echo", timeout=5) is grpc.StatusCode.OK
        writer.close()
    assert waiting.running == 0
