"""Where a transport listens and what it accepts."""

from dataclasses import dataclass
from pathlib import Path

#: Envoy's `max_request_bytes` as we ship it (8 MiB) and 1 MiB for headers and metadata around it.
MAX_MESSAGE_BYTES = 9 * 1024 * 1024

#: Longest deadline granted to a Check. Istio sends 600 s when nobody set a timeout.
MAX_DEADLINE_S = 10.0

#: HTTP/2 bounds both transports share. Envoy's default circuit breaker admits 1024 requests.
MAX_STREAMS_PER_CONNECTION = 1024
MAX_METADATA_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """Server certificate, and who may connect. Paths are of PEM files.

    Without `client_ca` any client may connect. With it a client must show a certificate of that CA,
    and, where `spiffe_ids` is not empty, one whose only URI name is in that list.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None
    spiffe_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a list of identities that nothing would verify."""
        if self.spiffe_ids and self.client_ca is None:
            raise ValueError("spiffe_ids need a client_ca: unverified identities prove nothing")


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """One listener: `host:port` (port 0 picks a free one) or `unix:/path`.

    `max_message_bytes` bounds one message, before and after decompression. `max_deadline_s` is the
    longest deadline a handler sees, and the one it sees when the client names none.
    """

    address: str
    max_message_bytes: int = MAX_MESSAGE_BYTES
    max_deadline_s: float = MAX_DEADLINE_S
    tls: TlsOptions | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be served as asked."""
        if self.max_message_bytes <= 0 or self.max_deadline_s <= 0:
            raise ValueError("max_message_bytes and max_deadline_s must be positive")
        if self.tls is not None and self.address.startswith("unix:"):
            raise ValueError("TLS needs a TCP address: file permissions guard a Unix socket")
