"""Where counters are, and how many of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: 32 bytes each: 32 MiB, of which the unused part costs nothing but in a file.
COUNTERS: Final = 1 << 20
#: Requests in flight, with 832 bytes each: 52 MiB, likewise.
RESERVATIONS: Final = 1 << 16
#: Share of a rate's burst by which all replicas together may overshoot.
OVERSHOOT: Final = 0.01


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """At most one of `shared` and `redis`; with neither, counters are this process's own.

    Attributes:
        counters: for so many identities, times their limits; a power of two.
        reservations: for so many requests in flight; a power of two.
        shared: file that several processes of this machine count in.
        redis: URL of a Redis or Valkey that replicas lease their budgets from.
        replicas: how many lease from it.
        overshoot: the share of a rate's burst that they may have on top of it, together.
    """

    counters: int = COUNTERS
    reservations: int = RESERVATIONS
    shared: Path | None = None
    redis: str = ""
    replicas: int = 1
    overshoot: float = OVERSHOOT

    def __post_init__(self) -> None:
        """Refuse what cannot be built as asked."""
        for name in ("counters", "reservations"):
            size = getattr(self, name)
            if size < 64 or size & (size - 1):
                msg = f"{name} must be a power of two from 64 on, not {size}"
                raise ValueError(msg)
        if self.shared is not None and self.redis:
            raise ValueError("counters are in a file or in Redis, not in both")


DEFAULT: Final = StoreOptions()
