"""The reference transport: grpc.aio with raw bytes, in the running event loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import grpc

from extauthz.transport import NO_SINKS, Handler, Methods, Sink, Sinks
from extauthz.transport.calls import NOT_ADMITTED, Calls, Refusal
from extauthz.transport.options import (
    MAX_METADATA_BYTES,
    MAX_STREAMS_PER_CONNECTION,
    ListenOptions,
    TlsOptions,
)
from extauthz.transport.tls import admits

_CODES = {code.value[0]: code for code in grpc.StatusCode}

if TYPE_CHECKING:  # gRPC's classes are generic in its stubs alone
    _Context = grpc.aio.ServicerContext[bytes, bytes]
    _Method = grpc.RpcMethodHandler[bytes, bytes]


async def start(
    methods: Methods, options: ListenOptions, sinks: Sinks = NO_SINKS
) -> "GrpcioTransport":
    """Listen and serve.

    OSError when the address can not be bound; OSError or ValueError when a certificate or key can
    not be read.
    """
    # Held for the life of the process: without it the last object to be collected tears gRPC's poller
    # down beside its own thread, and a run of the tests once ended in a segmentation fault.
    grpc.aio.init_grpc_aio()
    calls = Calls()
    server = grpc.aio.server(options=_channel_arguments(options))
    server.add_generic_rpc_handlers((_Router(methods, sinks, options, calls),))
    address = _bind(server, options)
    await server.start()
    return GrpcioTransport(server, calls, address)


class GrpcioTransport:
    """A started grpc.aio server."""

    def __init__(self, server: grpc.aio.Server, calls: Calls, address: str) -> None:
        """Take over a started server and the calls it feeds."""
        self._server, self._calls, self._address = server, calls, address

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, ports resolved."""
        return (self._address,)

    async def drain(self, grace_s: float) -> None:
        """Send GOAWAY, let what is in flight finish for `grace_s` seconds, then close."""
        until = asyncio.get_running_loop().time() + grace_s
        self._calls.end_streams()
        await self._server.stop(grace_s)
        await self._calls.finished(until)


class _Router(grpc.GenericRpcHandler):
    """Finds methods by path. What it does not know, gRPC answers with UNIMPLEMENTED."""

    def __init__(
        self, methods: Methods, sinks: Sinks, options: ListenOptions, calls: Calls
    ) -> None:
        self._methods: dict[str, _Method] = {
            path: grpc.unary_unary_rpc_method_handler(_unary(handler, options, calls))
            for path, handler in methods.items()
        }
        for path, sink in sinks.items():
            self._methods[path] = grpc.stream_unary_rpc_method_handler(
                _stream(sink, options, calls)
            )

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "_Method | None":
        return self._methods.get(handler_call_details.method)


def _unary(
    handler: Handler, options: ListenOptions, calls: Calls
) -> "Callable[[bytes, _Context], Awaitable[bytes]]":
    loop = asyncio.get_running_loop()
    cap = options.max_deadline_s

    async def call(message: bytes, context: "_Context") -> bytes:
        if not _admitted(options, context):
            return await _abort(context, NOT_ADMITTED)
        remaining = context.time_remaining()
        deadline = loop.time() + (cap if remaining is None else min(remaining, cap))
        answer = await calls.answer(handler, message, deadline)
        return await _abort(context, answer) if isinstance(answer, Refusal) else answer

    return call


def _stream(
    sink: Sink, options: ListenOptions, calls: Calls
) -> "Callable[[AsyncIterator[bytes], _Context], Awaitable[bytes]]":
    async def call(messages: AsyncIterator[bytes], context: "_Context") -> bytes:
        if not _admitted(options, context):
            return await _abort(context, NOT_ADMITTED)
        answer = await calls.take(sink, messages)
        return await _abort(context, answer) if isinstance(answer, Refusal) else answer

    return call


def _admitted(options: ListenOptions, context: "_Context") -> bool:
    spiffe_ids = options.tls.spiffe_ids if options.tls else ()
    return not spiffe_ids or admits(spiffe_ids, _certificate(context))


async def _abort(context: "_Context", refusal: Refusal) -> bytes:
    await context.abort(_CODES[refusal.status], refusal.message)


def _certificate(context: "_Context") -> str:
    """The client's verified leaf certificate in PEM, or nothing."""
    return b"".join(context.auth_context().get("x509_pem_cert", ())).decode("ascii")


def _channel_arguments(options: ListenOptions) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", options.max_message_bytes),
        ("grpc.max_concurrent_streams", MAX_STREAMS_PER_CONNECTION),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES // 2),
        ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
        # Two servers on one port would share connections, not requests: one of them would idle.
        ("grpc.so_reuseport", 0),
        # Envoy's connection_keepalive pings idle connections; faster than this is a flood.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
        ("grpc.http2.max_ping_strikes", 4),
    ]


def _bind(server: grpc.aio.Server, options: ListenOptions) -> str:
    try:
        if options.tls is None:
            port = server.add_insecure_port(options.address)
        else:
            port = server.add_secure_port(options.address, _credentials(options.tls))
    except RuntimeError as error:
        raise OSError(str(error)) from error
    if options.address.startswith("unix:"):
        return options.address
    return f"{options.address.rpartition(':')[0]}:{port}"


def _credentials(tls: TlsOptions) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(tls.key.read_bytes(), tls.certificate.read_bytes())],
        root_certificates=tls.client_ca.read_bytes() if tls.client_ca else None,
        require_client_auth=tls.client_ca is not None,
    )
