"""Envoy's rate limit protocol as values: what is counted together, and how it stands."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What is counted together: all requests with the same entries, here with that many hits."""

    entries: tuple[tuple[str, str], ...]
    hits: int


@dataclass(frozen=True, slots=True)
class RateLimitAsk:
    """One question: may a request go on that hits all these descriptors?"""

    domain: str
    descriptors: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """How the limit of one descriptor stands: `amount` in `unit_s` seconds, and what is left of it.

    `reset_s` is the time in seconds until there is more.
    """

    limited: bool
    amount: int
    unit_s: int
    remaining: int
    reset_s: float
