"""Client streams: what an access log may rely on, whichever transport is configured."""

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest

from extauthz.transport.calls import Calls, Status
from extauthz.transport.http2 import Application
from extauthz.transport.options import ListenOptions
from tests.transport.certificates import Authority
from tests.transport.conftest import TRANSPORTS, Peer, Servers, Stream, echo
from tests.transport.test_http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GREETING,
    GRPC,
    HEADERS,
    METHOD,
    REQUEST,
    RESET,
    RST_STREAM,
    Sent,
    framed,
    h2,
)

LOOPBACK = "127.0.0.1:0"
SECRET = "the text of a prompt"
GATEWAY = "spiffe://mesh.test/ns/gateway/sa/envoy"


class Kept:
    """A sink that keeps what it takes, and lets a test wait for it."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self._more = asyncio.Event()

    def __call__(self, message: bytes) -> None:
        self.messages.append(message)
        self._more.set()
        if message == b"fail":
            raise ValueError(SECRET)

    async def count(self, number: int) -> list[bytes]:
        """The messages, once there are so many."""
        async with asyncio.timeout(10.0):
            while len(self.messages) < number:
                self._more.clear()
                await self._more.wait()
        return self.messages


async def ended(stream: Stream) -> grpc.StatusCode:
    """How the server ended a stream that its client keeps open."""
    async with asyncio.timeout(10.0):
        return await stream.code()


# Messages


async def test_many_messages_arrive_in_order_and_whole(servers: Servers) -> None:
    kept = Kept()
    peer = await servers.peer({}, sinks={"Log": kept})
    messages = [b"%d " % number * (number % 97) for number in range(2000)]
    stream = peer.stream("Log")
    for message in messages:
        await stream.write(message)
    await stream.done_writing()
    assert await stream == b""
    assert await stream.code() is grpc.StatusCode.OK
    assert kept.messages == messages


async def test_a_message_arrives_while_the_stream_stays_open(servers: Servers) -> None:
    kept = Kept()
    peer = await servers.peer({"Echo": echo}, sinks={"Log": kept})
    stream = peer.stream("Log")
    for number in range(1, 4):
        await stream.write(b"entry")
        await kept.count(number)
        assert await peer.call("Echo")(b"meanwhile") == b"meanwhile"
    assert not stream.done()


@pytest.mark.parametrize("size", [0, 1, 65_531, 1024 * 1024])
async def test_a_message_of_any_size_arrives_unchanged(servers: Servers, size: int) -> None:
    kept = Kept()
    peer = await servers.peer({}, sinks={"Log": kept})
    message = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    stream = peer.stream("Log")
    for _ in range(3):
        await stream.write(message)
    await stream.done_writing()
    assert await stream == b""
    assert kept.messages == [message] * 3


async def test_a_stream_carries_more_than_any_one_message_may(servers: Servers) -> None:
    kept = Kept()
    options = ListenOptions(LOOPBACK, max_message_bytes=100_000)
    peer = await servers.peer({}, options, sinks={"Log": kept})
    stream = peer.stream("Log")
    for _ in range(300):
        await stream.write(b"m" * 100_000)
    await stream.done_writing()
    assert await stream == b""
    assert sum(map(len, kept.messages)) == 30_000_000


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_compressed_messages_are_read(
    servers: Servers, compression: grpc.Compression
) -> None:
    kept = Kept()
    peer = await servers.peer({}, sinks={"Log": kept})
    stream = peer.stream("Log", compression=compression)
    await stream.write(b"compressible " * 1000)
    await stream.write(b"compressible " * 10)
    await stream.done_writing()
    assert await stream == b""
    assert kept.messages == [b"compressible " * 1000, b"compressible " * 10]


@pytest.mark.parametrize("compression", list(grpc.Compression))
async def test_a_message_over_the_limit_ends_the_stream_and_the_next_one_is_served(
    servers: Servers, compression: grpc.Compression
) -> None:
    kept = Kept()
    options = ListenOptions(LOOPBACK, max_message_bytes=100_000)
    peer = await servers.peer({"Echo": echo}, options, sinks={"Log": kept})
    stream = peer.stream("Log", compression=compression)
    await stream.write(b"small")
    await stream.write(b"m" * 100_001)
    assert await ended(stream) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert kept.messages == [b"small"]
    again = peer.stream("Log")
    await again.write(b"next")
    assert await kept.count(2) == [b"small", b"next"]
    assert await peer.call("Echo")(b"next") == b"next"


async def test_a_sink_that_raises_loses_that_message_alone_and_its_text_is_told_nobody(
    servers: Servers, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Kept()
    peer = await servers.peer({}, sinks={"Log": kept})
    stream = peer.stream("Log")
    with caplog.at_level(logging.DEBUG, "extauthz"):
        for message in (b"first", b"fail", b"next"):
            await stream.write(message)
        await stream.done_writing()
        assert await stream == b""
    assert kept.messages == [b"first", b"fail", b"next"]
    assert "ValueError" in caplog.text
    assert SECRET not in caplog.text


# Time


async def test_a_stream_that_was_idle_for_longer_than_any_deadline_is_still_read(
    servers: Servers,
) -> None:
    kept = Kept()
    peer = await servers.peer({}, ListenOptions(LOOPBACK, max_deadline_s=0.2), sinks={"Log": kept})
    stream = peer.stream("Log")
    await stream.write(b"before")
    await kept.count(1)
    await asyncio.sleep(0.6)
    assert not stream.done()
    await stream.write(b"after")
    assert await kept.count(2) == [b"before", b"after"]
    await stream.done_writing()
    assert await stream == b""


async def test_a_stream_may_say_nothing_at_all(servers: Servers) -> None:
    kept = Kept()
    peer = await servers.peer({}, ListenOptions(LOOPBACK, max_deadline_s=0.1), sinks={"Log": kept})
    stream = peer.stream("Log")
    await stream.done_writing()
    assert await stream == b""
    assert kept.messages == []


async def test_other_work_has_its_turn_between_the_messages_of_a_burst() -> None:
    turns = 0
    seen: list[int] = []

    async def work() -> None:
        nonlocal turns
        while len(seen) < 1000:
            turns += 1
            await asyncio.sleep(0)

    async def burst() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"entry"

    working = asyncio.create_task(work())
    await Calls().take(lambda _: seen.append(turns), burst())
    await working
    assert len(set(seen)) == len(seen)


# Ends


async def test_a_client_that_vanishes_leaves_what_it_said_and_the_server_serving(
    servers: Servers,
) -> None:
    kept = Kept()
    peer = await servers.peer({"Echo": echo}, sinks={"Log": kept})
    for number in range(1, 4):
        channel = await servers.channel(peer.address)
        stream = Peer(peer.transport, channel).stream("Log")
        await stream.write(b"last words")
        await kept.count(number)
        if number == 1:
            stream.cancel()
        else:
            await channel.close()
    assert await peer.call("Echo")(b"next") == b"next"
    async with asyncio.timeout(5.0):
        await peer.transport.drain(60.0)


async def test_draining_ends_open_streams_at_once(servers: Servers) -> None:
    kept = Kept()
    peer = await servers.peer({}, ListenOptions(LOOPBACK, max_deadline_s=60.0), sinks={"Log": kept})
    streams = [peer.stream("Log") for _ in range(3)]
    for stream in streams:
        await stream.write(b"entry")
    await kept.count(3)
    async with asyncio.timeout(5.0):
        await peer.transport.drain(60.0)
    for stream in streams:
        assert await ended(stream) is grpc.StatusCode.UNAVAILABLE


async def test_draining_waits_for_a_call_though_streams_end(servers: Servers) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def held(message: bytes, *_: object) -> bytes:
        started.set()
        await release.wait()
        return message

    kept = Kept()
    peer = await servers.peer({"Held": held}, sinks={"Log": kept})
    answer = asyncio.ensure_future(peer.call("Held")(b"in flight"))
    stream = peer.stream("Log")
    await stream.write(b"entry")
    await kept.count(1)
    await started.wait()
    draining = asyncio.create_task(peer.transport.drain(30.0))
    assert await ended(stream) is grpc.StatusCode.UNAVAILABLE
    assert not draining.done()
    release.set()
    assert await answer == b"in flight"
    async with asyncio.timeout(5.0):
        await draining


# Who, and what


async def test_a_stream_of_an_unknown_method_is_unimplemented(servers: Servers) -> None:
    peer = await servers.peer({"Echo": echo}, sinks={"Log": Kept()})
    assert await ended(peer.stream("Nothing")) is grpc.StatusCode.UNIMPLEMENTED
    assert await peer.call("Echo")(b"next") == b"next"


async def test_only_a_listed_identity_may_stream(servers: Servers, authority: Authority) -> None:
    kept = Kept()
    options = ListenOptions(LOOPBACK, tls=authority.tls(GATEWAY))
    peer = await servers.peer({}, options, authority.credentials(GATEWAY), {"Log": kept})
    other = await servers.channel(peer.address, authority.credentials(GATEWAY + "/x"))
    refused = Peer(peer.transport, other).stream("Log")
    assert await ended(refused) is grpc.StatusCode.PERMISSION_DENIED
    admitted = peer.stream("Log")
    await admitted.write(b"entry")
    await admitted.done_writing()
    assert await admitted == b""
    assert kept.messages == [b"entry"]


# What only a hostile or broken client sends, and only our own gRPC framing has to survive


async def tell(
    chunks: list[bytes], headers: dict[bytes, bytes] | None = None, *, limit: int = 1000
) -> tuple[list[bytes], Sent]:
    """Send a client stream to the application alone, its body in the given chunks."""
    events: list[Any] = [
        {"type": "http.request", "body": chunk, "more_body": number < len(chunks)}
        for number, chunk in enumerate(chunks, start=1)
    ]
    scope: Any = {
        "type": "http",
        "method": "POST",
        "path": METHOD,
        "headers": list((GRPC | (headers or {})).items()),
        "extensions": {},
    }
    sent: list[Any] = []
    kept = Kept()

    async def receive() -> Any:
        return events.pop(0)

    async def send(event: Any) -> None:
        sent.append(event)

    options = ListenOptions("unused:0", max_message_bytes=limit)
    await Application({}, options, Calls(), {METHOD: kept})(scope, receive, send)
    return kept.messages, Sent(sent)


@pytest.mark.parametrize("size", [1, 2, 5, 7, 10_000])
async def test_messages_may_be_split_and_joined_anyhow(size: int) -> None:
    messages = [b"", b"one", b"", b"a longer message", b"m" * 1000]
    body = b"".join(map(framed, messages))
    taken, sent = await tell([body[at : at + size] for at in range(0, len(body), size)])
    assert taken == messages
    assert (sent.grpc_status, sent.body) == (Status.OK, framed(b""))


@pytest.mark.parametrize(
    "rest",
    [b"\0", b"\0\0\0\0", framed(b"message")[:-1], framed(b"message", flag=2)],
    ids=["a byte", "half a prefix", "cut short", "flag 2"],
)
async def test_malformed_framing_is_internal_and_what_was_whole_is_taken(rest: bytes) -> None:
    taken, sent = await tell([framed(b"whole") + rest])
    assert (taken, sent.grpc_status) == ([b"whole"], Status.INTERNAL)


async def test_a_length_prefix_over_the_limit_is_enough_to_refuse() -> None:
    chunks = [framed(b"whole") + framed(b"m" * 1001)[:5], b"never read"]
    taken, sent = await tell(chunks)
    assert (taken, sent.grpc_status) == ([b"whole"], Status.RESOURCE_EXHAUSTED)


async def test_each_message_says_itself_whether_it_is_compressed() -> None:
    body = framed(gzip.compress(b"packed"), flag=1) + framed(b"plain")
    taken, sent = await tell([body], {b"grpc-encoding": b"gzip"})
    assert (taken, sent.grpc_status) == ([b"packed", b"plain"], Status.OK)


@pytest.mark.parametrize(
    ("encoding", "message", "status"),
    [
        (b"gzip", gzip.compress(bytes(300_000)), Status.RESOURCE_EXHAUSTED),
        (b"gzip", b"not gzip", Status.INTERNAL),
        (b"identity", b"m", Status.INTERNAL),
        (b"br", b"m", Status.UNIMPLEMENTED),
    ],
)
async def test_a_compressed_message_that_can_not_be_read_ends_the_stream(
    encoding: bytes, message: bytes, status: Status
) -> None:
    body = framed(b"whole") + framed(message, flag=1) + framed(b"after")
    taken, sent = await tell([body], {b"grpc-encoding": encoding})
    assert (taken, sent.grpc_status) == ([b"whole"], status)


async def test_a_stream_that_opens_during_a_drain_is_turned_away() -> None:
    async def endless() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    calls, kept = Calls(), Kept()
    calls.end_streams()
    answer = await calls.take(kept, endless())
    assert not isinstance(answer, bytes)
    assert answer.status is Status.UNAVAILABLE


@pytest.fixture
async def logged() -> AsyncIterator[tuple[Peer, Kept]]:
    """A server on h2corn, a well-behaved client of it, and what its sink takes."""
    kept = Kept()
    async with AsyncExitStack() as stack:
        servers = Servers(TRANSPORTS["http2"], stack)
        yield await servers.peer({"Echo": echo}, sinks={"Log": kept}), kept


OPEN = h2(
    HEADERS, END_HEADERS, 1, REQUEST.replace(b"\x12" + METHOD.encode(), b"\x11/test.Service/Log")
)


async def test_frames_of_http_2_and_of_grpc_need_not_agree(logged: tuple[Peer, Kept]) -> None:
    peer, kept = logged
    body = framed(b"first") + framed(b"second") + framed(b"third")
    host, port = peer.address.split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(GREETING + OPEN)
    for at in range(0, len(body), 4):
        writer.write(h2(DATA, 0, 1, body[at : at + 4]))
    assert await kept.count(3) == [b"first", b"second", b"third"]
    writer.write(h2(DATA, END_STREAM, 1, b""))
    writer.close()


async def test_streams_reset_within_a_message_leave_the_server_serving(
    logged: tuple[Peer, Kept],
) -> None:
    peer, kept = logged
    host, port = peer.address.split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(GREETING)
    for stream in range(1, 201, 2):
        opened = h2(HEADERS, END_HEADERS, stream, OPEN[9:])
        writer.write(opened + h2(DATA, 0, stream, framed(b"entry") + framed(b"a long one")[:8]))
        if stream == 1:
            await kept.count(1)
        writer.write(h2(RST_STREAM, 0, stream, RESET))
    assert await peer.call("Echo")(b"next", timeout=5) == b"next"
    assert set(kept.messages) == {b"entry"}
    writer.transport.abort()
    async with asyncio.timeout(5.0):
        await peer.transport.drain(60.0)
