"""Bytes in, bytes out. A transport knows deadlines and cancellation, and no rule."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Protocol

from extauthz.core.cancellation import Cancellation

#: One unary RPC: (message, deadline, cancellation) -> message. `deadline` is an instant in seconds
#: of the event loop's clock. A handler never raises for a request it received.
Handler = Callable[[bytes, float, Cancellation], Awaitable[bytes]]

#: Full gRPC method path, such as "/envoy.service.auth.v3.Authorization/Check", to its handler.
Methods = Mapping[str, Handler]

#: Takes each message of a client stream, in order. It is quick, for it runs on the event loop, and
#: never raises for a message it received. The stream is answered with an empty message.
Sink = Callable[[bytes], None]

#: Full gRPC method path to what takes the messages of its streams.
Sinks = Mapping[str, Sink]

NO_SINKS: Sinks = MappingProxyType({})


class Transport(Protocol):
    """A started server. Built by `start` of a transport module."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens: "127.0.0.1:50051" or "unix:/run/extauthz.sock", ports resolved."""

    async def drain(self, grace_s: float) -> None:
        """Send GOAWAY, let what is in flight finish for `grace_s` seconds, then close.

        A client stream is ended at once: it has no end of its own, and its client starts another.
        """
