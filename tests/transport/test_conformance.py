"""What a client may rely on, whichever transport is configured."""

import asyncio
import gzip
import logging
import socket
from collections.abc import Awaitable
from pathlib import Path

import grpc
import pytest

from extauthz.core.cancellation import Cancellation
from extauthz.transport.options import ListenOptions
from tests.transport.conftest import Servers, cancelled, echo, unary

LOOPBACK = "127.0.0.1:0"
SECRET = "the text of a prompt"


async def time_left_ms(message: bytes, deadline: float, cancellation: Cancellation) -> bytes:
    return str(round((deadline - asyncio.get_running_loop().time()) * 1000)).encode()


async def fail(message: bytes, deadline: float, cancellation: Cancellation) -> bytes:
    raise ValueError(SECRET)


class Held:
    """A handler that answers only when released, and remembers its cancellations."""

    def __init__(self) -> None:
        self.started = asyncio.Semaphore(0)
        self.release = asyncio.Event()
        self.finished = asyncio.Semaphore(0)
        self.cancellations: list[Cancellation] = []

    async def __call__(self, message: bytes, deadline: float, cancellation: Cancellation) -> bytes:
        self.cancellations.append(cancellation)
        self.started.release()
        await self.release.wait()
        self.finished.release()
        return message


# Messages


@pytest.mark.parametrize("size", [0, 1, 5, 64 * 1024, 4 * 1024 * 1024])
async def test_a_message_arrives_and_returns_unchanged(servers: Servers, size: int) -> None:
    peer = await servers.peer({"Echo": echo})
    message = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert await peer.call("Echo")(message) == message


async def test_the_default_limit_leaves_room_for_eight_mebibytes(servers: Servers) -> None:
    peer = await servers.peer({"Echo": echo})
    message = b"m" * (8 * 1024 * 1024 + 512 * 1024)
    assert await peer.call("Echo")(message) == message


async def test_a_message_over_the_limit_is_refused_and_the_next_one_served(
    servers: Servers,
) -> None:
    peer = await servers.peer({"Echo": echo}, ListenOptions(LOOPBACK, max_message_bytes=100_000))
    assert await peer.status("Echo", b"m" * 100_000) is grpc.StatusCode.OK
    assert await peer.status("Echo", b"m" * 100_001) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await peer.status("Echo", b"m" * 5_000_000) is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await peer.call("Echo")(b"next") == b"next"


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_a_compressed_message_is_read(
    servers: Servers, compression: grpc.Compression
) -> None:
    peer = await servers.peer({"Echo": echo})
    message = b"compressible " * 1000
    assert await peer.call("Echo")(message, compression=compression) == message


async def test_a_decompression_bomb_is_refused_and_the_next_one_served(servers: Servers) -> None:
    peer = await servers.peer({"Echo": echo}, ListenOptions(LOOPBACK, max_message_bytes=100_000))
    bomb = bytes(20_000_000)
    assert len(gzip.compress(bomb)) < 100_000
    status = await peer.status("Echo", bomb, compression=grpc.Compression.Gzip)
    assert status is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await peer.call("Echo")(b"next") == b"next"


async def test_oversized_metadata_is_refused_and_the_next_call_served(servers: Servers) -> None:
    peer = await servers.peer({"Echo": echo})
    status = await peer.status("Echo", metadata=(("x-large", "v" * 100_000),), timeout=5)
    assert status in {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE}
    again = await servers.channel(peer.address)
    assert await unary(again, "Echo")(b"next") == b"next"


# Methods


async def test_each_method_has_its_own_handler_and_an_unknown_one_is_unimplemented(
    servers: Servers,
) -> None:
    async def health(message: bytes, deadline: float, cancellation: Cancellation) -> bytes:
        return b"serving"

    peer = await servers.peer({"Echo": echo, "Health": health})
    assert await peer.call("Echo")(b"m") == b"m"
    assert await peer.call("Health")(b"m") == b"serving"
    assert await peer.status("Nothing") is grpc.StatusCode.UNIMPLEMENTED


async def test_a_handler_that_raises_is_internal_and_its_text_is_told_nobody(
    servers: Servers, caplog: pytest.LogCaptureFixture
) -> None:
    peer = await servers.peer({"Fail": fail, "Echo": echo})
    with caplog.at_level(logging.DEBUG, "extauthz"), pytest.raises(grpc.aio.AioRpcError) as raised:
        await peer.call("Fail")(b"")
    assert raised.value.code() is grpc.StatusCode.INTERNAL
    assert SECRET not in f"{raised.value.details()} {raised.value.debug_error_string()}"
    assert "ValueError" in caplog.text
    assert SECRET not in caplog.text
    assert await peer.call("Echo")(b"next") == b"next"


async def test_sixty_four_streams_are_served_at_once(servers: Servers) -> None:
    held = Held()
    peer = await servers.peer({"Held": held})
    messages = [b"%d" % number * 100 for number in range(64)]
    answers = [asyncio.ensure_future(peer.call("Held")(message)) for message in messages]
    for _ in messages:
        await held.started.acquire()
    held.release.set()
    assert await asyncio.gather(*answers) == messages


# Deadlines and cancellation


async def test_the_handler_sees_the_clients_deadline(servers: Servers) -> None:
    peer = await servers.peer({"Left": time_left_ms})
    # gRPC clients round grpc-timeout up by as much as one per cent.
    assert 1000 < int(await peer.call("Left")(b"", timeout=3.0)) <= 3030


@pytest.mark.parametrize("asked_s", [None, 600.0, 1e9])
async def test_a_missing_or_huge_deadline_is_capped(
    servers: Servers, asked_s: float | None
) -> None:
    peer = await servers.peer({"Left": time_left_ms}, ListenOptions(LOOPBACK, max_deadline_s=4.0))
    assert 2000 < int(await peer.call("Left")(b"", timeout=asked_s)) <= 4000


async def test_an_expired_deadline_sets_the_cancellation_and_the_handler_runs_on(
    servers: Servers,
) -> None:
    held = Held()
    peer = await servers.peer({"Held": held, "Echo": echo})
    assert await peer.status("Held", timeout=0.1) is grpc.StatusCode.DEADLINE_EXCEEDED
    await cancelled(held.cancellations[0])
    held.release.set()
    await held.finished.acquire()
    assert await peer.call("Echo")(b"next") == b"next"


async def test_the_cap_ends_a_call_whose_client_would_wait_for_ever(servers: Servers) -> None:
    held = Held()
    peer = await servers.peer({"Held": held}, ListenOptions(LOOPBACK, max_deadline_s=0.1))
    assert await peer.status("Held") is grpc.StatusCode.DEADLINE_EXCEEDED
    assert held.cancellations[0].cancelled
    held.release.set()
    await held.finished.acquire()


async def test_a_client_that_cancels_sets_its_own_cancellation_only(servers: Servers) -> None:
    held = Held()
    peer = await servers.peer({"Held": held})
    impatient = peer.call("Held")(b"impatient")
    await held.started.acquire()
    patient = asyncio.ensure_future(peer.call("Held")(b"patient"))
    await held.started.acquire()
    impatient.cancel()
    await cancelled(held.cancellations[0])
    assert not held.cancellations[1].cancelled
    held.release.set()
    assert await patient == b"patient"
    await held.finished.acquire()
    await held.finished.acquire()


async def test_a_client_that_disconnects_sets_the_cancellation(servers: Servers) -> None:
    held = Held()
    peer = await servers.peer({"Held": held, "Echo": echo})
    other = await servers.channel(peer.address)
    call = unary(other, "Held")(b"")
    await held.started.acquire()
    await other.close()
    assert await call.code() is grpc.StatusCode.CANCELLED
    await cancelled(held.cancellations[0])
    held.release.set()
    await held.finished.acquire()
    assert await peer.call("Echo")(b"next") == b"next"


async def test_a_handler_that_raises_after_its_client_left_is_still_logged(
    servers: Servers, caplog: pytest.LogCaptureFixture
) -> None:
    release, raised = asyncio.Event(), asyncio.Event()

    async def fail_late(message: bytes, deadline: float, cancellation: Cancellation) -> bytes:
        await release.wait()
        raised.set()
        raise ValueError(SECRET)

    peer = await servers.peer({"Late": fail_late})
    assert await peer.status("Late", timeout=0.1) is grpc.StatusCode.DEADLINE_EXCEEDED
    release.set()
    await raised.wait()
    await peer.transport.drain(5.0)
    assert "ValueError" in caplog.text
    assert SECRET not in caplog.text


# Draining


async def test_draining_lets_a_call_finish_and_turns_new_clients_away(servers: Servers) -> None:
    held = Held()
    peer = await servers.peer({"Held": held, "Echo": echo})
    answer = asyncio.ensure_future(peer.call("Held")(b"in flight"))
    await held.started.acquire()
    draining = asyncio.create_task(peer.transport.drain(30.0))
    await _turned_away(servers, peer.address)
    assert not draining.done()
    held.release.set()
    assert await answer == b"in flight"
    async with asyncio.timeout(10.0):
        await draining


async def _turned_away(servers: Servers, address: str) -> None:
    """Return once a client that connects now is told at once that it can not be served."""
    status = grpc.StatusCode.OK
    while status is grpc.StatusCode.OK:
        channel = await servers.channel(address)
        status, _ = await _transcript(unary(channel, "Echo")(b"", timeout=5))
    assert status is grpc.StatusCode.UNAVAILABLE


async def test_draining_an_idle_server_takes_no_time_though_clients_are_connected(
    servers: Servers,
) -> None:
    peer = await servers.peer({"Echo": echo})
    await peer.call("Echo")(b"")
    async with asyncio.timeout(5.0):
        await peer.transport.drain(60.0)


async def test_draining_waits_for_a_handler_whose_client_is_gone(servers: Servers) -> None:
    held = Held()
    peer = await servers.peer({"Held": held})
    assert await peer.status("Held", timeout=0.1) is grpc.StatusCode.DEADLINE_EXCEEDED
    await cancelled(held.cancellations[0])
    draining = asyncio.create_task(peer.transport.drain(30.0))
    await asyncio.sleep(0.2)
    assert not draining.done()
    held.release.set()
    async with asyncio.timeout(10.0):
        await draining
    assert not held.finished.locked()


async def test_the_grace_of_a_drain_is_bounded(servers: Servers) -> None:
    held = Held()
    peer = await servers.peer({"Held": held}, ListenOptions(LOOPBACK, max_deadline_s=60.0))
    answer = asyncio.create_task(peer.status("Held"))
    await held.started.acquire()
    async with asyncio.timeout(5.0):
        await peer.transport.drain(0.2)
        assert await answer is not grpc.StatusCode.OK
    assert held.cancellations[0].cancelled


# Where it listens


async def test_a_unix_socket_is_served_also_when_a_dead_server_left_its_file(
    servers: Servers, socket_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path))
    peer = await servers.peer({"Echo": echo}, ListenOptions(f"unix:{socket_path}"))
    assert peer.address == f"unix:{socket_path}"
    assert await peer.call("Echo")(b"m" * 100_000) == b"m" * 100_000


async def test_an_address_in_use_is_an_error_and_not_a_shared_port(servers: Servers) -> None:
    first = await servers.listen({"Echo": echo}, ListenOptions(LOOPBACK))
    with pytest.raises(OSError, match=r"."):
        await servers.listen({"Echo": echo}, ListenOptions(first.addresses[0]))


# Both alike


async def test_both_transports_answer_the_same_bytes_and_the_same_statuses(
    both: dict[str, Servers],
) -> None:
    options = ListenOptions(LOOPBACK, max_message_bytes=100_000)
    methods = {"Echo": echo, "Fail": fail}
    messages = [
        b"",
        b"\0",
        b"\xff" * 5,
        b"a" * 16_384,
        b"b" * 65_536,
        b"c" * 100_000,
        b"d" * 200_000,
    ]
    transcripts = []
    for servers in both.values():
        peer = await servers.peer(methods, options)
        transcripts.append(
            [
                await _transcript(peer.call(method)(message, compression=compression))
                for method in ("Echo", "Fail", "Unknown")
                for message in messages
                for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip)
            ]
        )
    assert transcripts[0] == transcripts[1]
    assert {status for status, _ in transcripts[0]} == {
        grpc.StatusCode.OK,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }


async def _transcript(
    call: Awaitable[bytes],
) -> tuple[grpc.StatusCode, bytes]:
    try:
        return grpc.StatusCode.OK, await call
    except grpc.aio.AioRpcError as error:
        return error.code(), b""
