"""The fast transport: h2corn's HTTP/2, and gRPC's framing written out here.

gRPC over HTTP/2 (the PROTOCOL-HTTP2 document of gRPC): a request is headers and length-prefixed
messages; an answer is headers, one message, and trailers with `grpc-status`. An error is headers only.
"""

import asyncio
import socket
import zlib

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

from extauthz.transport import Methods
from extauthz.transport.calls import (
    NOT_ADMITTED,
    UNKNOWN_METHOD,
    Calls,
    Refusal,
    Status,
)
from extauthz.transport.listener import address_of, listen, turning_away
from extauthz.transport.options import (
    MAX_METADATA_BYTES,
    MAX_STREAMS_PER_CONNECTION,
    ListenOptions,
)
from extauthz.transport.tls import admits

_PREFIX_BYTES = 5  # one byte: compressed or not; four: length, big endian
_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_WINDOW_BITS = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}
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

_MALFORMED = Refusal(Status.INTERNAL, "malformed gRPC message")
_BAD_TIMEOUT = Refusal(Status.INTERNAL, "malformed grpc-timeout")
_TOO_LARGE = Refusal(Status.RESOURCE_EXHAUSTED, "message is larger than the limit")
_UNKNOWN_ENCODING = Refusal(Status.UNIMPLEMENTED, "grpc-encoding is not supported")


class _ClientGoneError(Exception):
    """The stream was reset while its request was still arriving."""


async def start(methods: Methods, options: ListenOptions) -> "Http2Transport":
    """Listen and serve.

    OSError when the address can not be bound; OSError or ValueError when a certificate or key can
    not be read.
    """
    _keep_freed_memory()
    calls = Calls()
    listener = listen(options.address)
    server = Server(Application(methods, options, calls), _config(options, listener))
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
        with turning_away(self._listener):
            await asyncio.wait({self._serving}, timeout=grace_s)
            await self._calls.finished(until)
            # Handlers cut short above are answered by now. An upload that never ends is left behind.
            await asyncio.wait({self._serving}, timeout=1.0)


class Application:
    """The ASGI application: one call per request, errors as gRPC statuses."""

    def __init__(self, methods: Methods, options: ListenOptions, calls: Calls) -> None:
        """Serve these methods within the options' limits, in the running event loop."""
        self._methods, self._calls = methods, calls
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
        handler = self._methods.get(scope["path"])
        if handler is None:
            return UNKNOWN_METHOD
        if self._spiffe_ids and not admits(self._spiffe_ids, _certificate(scope)):
            return NOT_ADMITTED
        timeout = _timeout_s(headers.get(b"grpc-timeout"), self._cap)
        if isinstance(timeout, Refusal):
            return timeout
        deadline = self._loop.time() + timeout
        frame = await _frame(receive, self._limit)
        message = frame if isinstance(frame, Refusal) else _message(frame, headers, self._limit)
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


async def _frame(receive: Receive, limit: int) -> tuple[bytes, bytes] | Refusal:
    """Length prefix and the rest of the request body. Stops reading past `limit` bytes."""
    chunks: list[bytes] = []
    size, allowed = 0, limit + _PREFIX_BYTES
    while True:
        event = await receive()
        if event["type"] != "http.request":
            raise _ClientGoneError
        chunk = event.get("body", b"")
        if chunk:
            chunks.append(chunk)
        size += len(chunk)
        if size > allowed:
            return _TOO_LARGE
        if not event.get("more_body", False):
            return _split(chunks)


def _split(chunks: list[bytes]) -> tuple[bytes, bytes]:
    """Cut the prefix off before joining: a second copy of a large message costs more than h2corn."""
    if not chunks or len(chunks[0]) < _PREFIX_BYTES:
        chunks = [b"".join(chunks)]
    prefix, chunks[0] = chunks[0][:_PREFIX_BYTES], chunks[0][_PREFIX_BYTES:]
    return prefix, chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _message(
    frame: tuple[bytes, bytes], headers: dict[bytes, bytes], limit: int
) -> bytes | Refusal:
    """The one message in a unary request's frame, decompressed when its flag says so."""
    prefix, message = frame
    if len(prefix) < _PREFIX_BYTES or prefix[0] > 1:
        return _MALFORMED
    length = int.from_bytes(prefix[1:])
    if length > limit:
        return _TOO_LARGE
    if len(message) != length:
        return _MALFORMED
    if prefix[0] == 0:
        return message
    return _decompressed(message, headers.get(b"grpc-encoding", b"identity"), limit)


def _decompressed(message: bytes, encoding: bytes, limit: int) -> bytes | Refusal:
    """Inflate at most `limit` bytes: a small message may hold a huge one."""
    window_bits = _WINDOW_BITS.get(encoding)
    if window_bits is None:
        return _MALFORMED if encoding == b"identity" else _UNKNOWN_ENCODING
    inflate = zlib.decompressobj(window_bits)
    try:
        plain = inflate.decompress(message, limit + 1)
    except zlib.error:
        return _MALFORMED
    if len(plain) > limit:
        return _TOO_LARGE
    return plain if inflate.eof and not inflate.unused_data else _MALFORMED


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


def _config(options: ListenOptions, listener: socket.socket) -> Config:
    tls = options.tls
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
        timeout_graceful_shutdown=options.max_deadline_s,
        # The application bounds a message itself, to answer RESOURCE_EXHAUSTED and not HTTP 413.
        request_policies=(
            RequestPolicy(
                path="/*",
                max_request_body_size=0,
                timeout_request_body_idle=options.max_deadline_s,
                h2_timeout_response_stall=options.max_deadline_s,
            ),
        ),
        # Envoy keeps its connection open as long as it lives, however rarely it asks.
        timeout_keep_alive=0,
        certfile=tls.certificate if tls else None,
        keyfile=tls.key if tls else None,
        ca_certs=tls.client_ca if tls else None,
        cert_reqs="required" if tls and tls.client_ca else "none",
    )
