"""The fast transport: h2corn's HTTP/2, and what gRPC says over it written out here.

gRPC over HTTP/2 (the PROTOCOL-HTTP2 document of gRPC): a request is headers and length-prefixed
messages; an answer is headers, one message, and trailers with `grpc-status`. An error is headers only.
"""

import asyncio
import socket
from collections.abc import AsyncIterator

from h2corn import (
    Config,
    HTTPResponseStart,
    HTTPResponseTrailers,
    HTTPScope,
    Receive,
    RequestPolicy,
    Scope,
    Send,
    Server,
)

from extauthz.transport import NO_SINKS, Handler, Methods, Sinks
from extauthz.transport.calls import (
    NOT_ADMITTED,
    UNKNOWN_METHOD,
    Calls,
    Refusal,
    Status,
)
from extauthz.transport.framing import (
    MALFORMED,
    PREFIX_BYTES,
    TOO_LARGE,
    only_message,
    whole_messages,
)
from extauthz.transport.listener import address_of, listen, turning_away
from extauthz.transport.options import (
    MAX_METADATA_BYTES,
    MAX_STREAMS_PER_CONNECTION,
    ListenOptions,
)
from extauthz.transport.tls import admits

_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_CONTENT_TYPE = (b"content-type", b"application/grpc")
_ACCEPTS = (b"grpc-accept-encoding", b"identity, deflate, gzip")
_START: HTTPResponseStart = {
    "type": "http.response.start",
    "status": 200,
    "headers": (_CONTENT_TYPE, _ACCEPTS),
    "trailers": True,
}
_TRAILERS: HTTPResponseTrailers = {
    "type": "http.response.trailers",
    "headers": ((b"grpc-status", b"0"),),
}

_BAD_TIMEOUT = Refusal(Status.INTERNAL, "malformed grpc-timeout")


class _ClientGoneError(Exception):
    """The stream was reset while its request was still arriving."""


async def start(
    methods: Methods, options: ListenOptions, sinks: Sinks = NO_SINKS
) -> "Http2Transport":
    """Listen and serve.

    OSError when the address can not be bound; OSError or ValueError when a certificate or key can
    not be read.
    """
    _keep_freed_memory()
    calls = Calls()
    listener = listen(options.address)
    application = Application(methods, options, calls, sinks)
    server = Server(application, _config(options, listener, tuple(sinks)))
    serving = asyncio.create_task(server.serve())
    try:
        await server.wait_started()
    except BaseException:
        listener.close()
        await asyncio.wait({serving})
        serving.exception()
        raise
    return Http2Transport(server, listener, serving, calls)


class Http2Transport:
    """A started h2corn server."""

    def __init__(
        self,
        server: Server,
        listener: socket.socket,
        serving: "asyncio.Task[None]",
        calls: Calls,
    ) -> None:
        """Take over a started server, its socket, the task that runs it and the calls it feeds."""
        self._server, self._listener, self._serving = server, listener, serving
        self._calls, self._address = calls, address_of(listener)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, ports resolved."""
        return (self._address,)

    async def drain(self, grace_s: float) -> None:
        """Send GOAWAY, let what is in flight finish for `grace_s` seconds, then close."""
        if self._listener.fileno() == -1:  # drained before
            return
        until = asyncio.get_running_loop().time() + grace_s
        self._server.shutdown()
        self._calls.end_streams()
        with turning_away(self._listener):
            await asyncio.wait({self._serving}, timeout=grace_s)
            await self._calls.finished(until)
            # Handlers cut short above are answered by now. An upload that never ends is left behind.
            await asyncio.wait({self._serving}, timeout=1.0)


class Application:
    """The ASGI application: one call per request, errors as gRPC statuses."""

    def __init__(
        self, methods: Methods, options: ListenOptions, calls: Calls, sinks: Sinks = NO_SINKS
    ) -> None:
        """Serve these methods within the options' limits, in the running event loop."""
        self._methods, self._sinks, self._calls = methods, sinks, calls
        self._limit, self._cap = options.max_message_bytes, options.max_deadline_s
        self._spiffe_ids = options.tls.spiffe_ids if options.tls else ()
        self._loop = asyncio.get_running_loop()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, unless its client is gone."""
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        if (status := _http_error(scope["method"], headers)) is not None:
            await send({"type": "http.response.start", "status": status})
            await send({"type": "http.response.body"})
            return
        try:
            answer = await self._answer(scope, headers, receive)
        except _ClientGoneError:
            return
        if isinstance(answer, Refusal):
            await _refuse(send, answer)
        else:
            await _reply(send, answer)

    async def _answer(
        self, scope: HTTPScope, headers: dict[bytes, bytes], receive: Receive
    ) -> bytes | Refusal:
        path = scope["path"]
        handler = self._methods.get(path)
        if handler is None and path not in self._sinks:
            return UNKNOWN_METHOD
        if self._spiffe_ids and not admits(self._spiffe_ids, _certificate(scope)):
            return NOT_ADMITTED
        if handler is not None:
            return await self._unary(handler, headers, receive)
        messages = _messages(receive, _encoding(headers), self._limit)
        return await self._calls.take(self._sinks[path], messages)

    async def _unary(
        self, handler: Handler, headers: dict[bytes, bytes], receive: Receive
    ) -> bytes | Refusal:
        timeout = _timeout_s(headers.get(b"grpc-timeout"), self._cap)
        if isinstance(timeout, Refusal):
            return timeout
        deadline = self._loop.time() + timeout
        chunks = await _chunks(receive, self._limit + PREFIX_BYTES)
        if isinstance(chunks, Refusal):
            return chunks
        message = only_message(chunks, _encoding(headers), self._limit)
        if isinstance(message, Refusal):
            return message
        return await self._calls.answer(handler, message, deadline)


def _http_error(method: str, headers: dict[bytes, bytes]) -> int | None:
    """The HTTP status for what is not gRPC at all."""
    kind = headers.get(b"content-type", b"").lower()
    if kind != b"application/grpc" and not kind.startswith(
        (b"application/grpc+", b"application/grpc;")
    ):
        return 415
    return None if method == "POST" and headers.get(b"te") == b"trailers" else 400


def _timeout_s(value: bytes | None, cap: float) -> float | Refusal:
    """`grpc-timeout`: one to eight digits and a unit, at most `cap` seconds."""
    if value is None:
        return cap
    digits, unit = value[:-1], _SECONDS.get(value[-1:])
    if unit is None or not digits.isdigit() or len(digits) > 8:
        return _BAD_TIMEOUT
    return min(int(digits) * unit, cap)


def _encoding(headers: dict[bytes, bytes]) -> bytes:
    """What compressed messages of this request are compressed with."""
    return headers.get(b"grpc-encoding", b"identity")


async def _chunk(receive: Receive) -> tuple[bytes, bool]:
    """The next piece of the request body, and whether there are more."""
    event = await receive()
    if event["type"] != "http.request":
        raise _ClientGoneError
    return event.get("body", b""), event.get("more_body", False)


async def _chunks(receive: Receive, limit: int) -> list[bytes] | Refusal:
    """The whole request body. Stops reading past `limit` bytes."""
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        chunk, more = await _chunk(receive)
        if chunk:
            chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            return TOO_LARGE
    return chunks


async def _messages(
    receive: Receive, encoding: bytes, limit: int
) -> AsyncIterator[bytes | Refusal]:
    """Each message as soon as it is there. A refusal is the last."""
    buffer, more = bytearray(), True
    message: bytes | Refusal = b""
    while more:
        chunk, more = await _chunk(receive)
        buffer += chunk
        for message in whole_messages(buffer, encoding, limit):
            yield message
        if isinstance(message, Refusal):
            return
    if buffer:
        yield MALFORMED


async def _reply(send: Send, message: bytes) -> None:
    await send(_START)
    frame = b"\0" + len(message).to_bytes(4) + message
    await send({"type": "http.response.body", "body": frame})
    await send(_TRAILERS)


async def _refuse(send: Send, refusal: Refusal) -> None:
    """Answer with headers only, as gRPC does for an error."""
    headers = [
        _CONTENT_TYPE,
        (b"grpc-status", b"%d" % refusal.status),
        (b"grpc-message", refusal.message.encode("ascii")),
        _ACCEPTS,
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body"})


def _keep_freed_memory() -> None:
    """Have glibc keep up to 16 MiB of freed heap instead of giving it back after each message.

    Its default of 128 KiB makes every 64 KiB message fault its pages in anew (12 faults, 75 us of
    CPU). Freeing one large block raises the threshold to twice its size: mallopt(3), M_MMAP_THRESHOLD.
    """
    bytes(8 * 1024 * 1024)


def _certificate(scope: HTTPScope) -> str:
    """The client's verified leaf certificate in PEM, or nothing."""
    tls = scope["extensions"].get("tls")
    return tls["client_cert_chain"][0] if tls and tls["client_cert_chain"] else ""


def _config(options: ListenOptions, listener: socket.socket, streams: tuple[str, ...]) -> Config:
    tls, patience_s = options.tls, options.max_deadline_s
    return Config(
        bind=(f"fd://{listener.fileno()}",),
        http1=False,
        grpc=True,
        lifespan="off",
        access_log=False,
        log_format="json",
        date_header=False,
        runtime_threads=1,
        max_concurrent_streams=MAX_STREAMS_PER_CONNECTION,
        h2_max_header_list_size=MAX_METADATA_BYTES,
        h2_max_header_block_size=MAX_METADATA_BYTES,
        # No request outlives its deadline, so neither does the server that drains.
        timeout_graceful_shutdown=patience_s,
        # The first that matches counts. A stream may be idle for ever; what is silent within the one
        # message of another request is not.
        request_policies=(
            *(_policy(path, patience_s, idle_s=0.0) for path in streams),
            _policy("/*", patience_s, idle_s=patience_s),
        ),
        # Envoy keeps its connection open as long as it lives, however rarely it asks.
        timeout_keep_alive=0,
        certfile=tls.certificate if tls else None,
        keyfile=tls.key if tls else None,
        ca_certs=tls.client_ca if tls else None,
        cert_reqs="required" if tls and tls.client_ca else "none",
    )


def _policy(path: str, stall_s: float, *, idle_s: float) -> RequestPolicy:
    """No size here: the application bounds a message, to answer RESOURCE_EXHAUSTED and not HTTP 413."""
    return RequestPolicy(
        path=path,
        max_request_body_size=0,
        timeout_request_body_idle=idle_s,
        h2_timeout_response_stall=stall_s,
    )
