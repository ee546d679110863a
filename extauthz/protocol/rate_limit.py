"""Envoy's RateLimitRequest bytes to values, and how limits stand to RateLimitResponse bytes."""

import math
from collections.abc import Sequence
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError

from extauthz.core.budget.descriptors import Descriptor, LimitStatus, RateLimitAsk
from extauthz.protocol._pb import rate_limit_pb2

METHOD: Final = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"

_Response = rate_limit_pb2.RateLimitResponse
_UNITS: Final = {
    1: _Response.RateLimit.SECOND,
    60: _Response.RateLimit.MINUTE,
    3_600: _Response.RateLimit.HOUR,
    86_400: _Response.RateLimit.DAY,
    2_592_000: _Response.RateLimit.MONTH,
}
_MAX_UINT32: Final = 2**32 - 1
#: The longest that protobuf's Duration may be, some 10,000 years.
_MAX_DURATION_S: Final = 315_576_000_000.0


def read(message: bytes) -> RateLimitAsk | None:
    """What is asked. None when `message` is no RateLimitRequest."""
    try:
        request = rate_limit_pb2.RateLimitRequest.FromString(message)
    except DecodeError:
        return None
    usual = request.hits_addend or 1
    return RateLimitAsk(
        request.domain, tuple(_descriptor(one, usual) for one in request.descriptors)
    )


def _descriptor(descriptor: rate_limit_pb2.RateLimitDescriptor, usual: int) -> Descriptor:
    """Hits that are given back count as none: what was spent is settled in one place alone."""
    entries = tuple((entry.key, entry.value) for entry in descriptor.entries)
    hits = descriptor.hits_addend.value if descriptor.HasField("hits_addend") else usual
    return Descriptor(entries, 0 if descriptor.is_negative_hits else hits)


def write(statuses: Sequence[LimitStatus | None]) -> bytes:
    """The answer: one status for each descriptor, None where no limit applies to it."""
    limited = any(status is not None and status.limited for status in statuses)
    return _Response(
        overall_code=_code(limited=limited), statuses=map(_status, statuses)
    ).SerializeToString()


def _status(status: LimitStatus | None) -> _Response.DescriptorStatus:
    if status is None:
        return _Response.DescriptorStatus(code=_Response.OK)
    return _Response.DescriptorStatus(
        code=_code(limited=status.limited),
        current_limit=_Response.RateLimit(
            requests_per_unit=_uint32(status.amount),
            unit=_UNITS.get(status.unit_s, _Response.RateLimit.UNKNOWN),
        ),
        limit_remaining=_uint32(status.remaining),
        duration_until_reset=_duration(status.reset_s),
    )


def _code(*, limited: bool) -> _Response.Code.ValueType:
    return _Response.OVER_LIMIT if limited else _Response.OK


def _uint32(amount: int) -> int:
    return max(0, min(amount, _MAX_UINT32))


def _duration(seconds: float) -> Duration:
    if math.isnan(seconds):
        return Duration()
    part, whole = math.modf(max(0.0, min(seconds, _MAX_DURATION_S)))
    return Duration(seconds=int(whole), nanos=int(part * 1e9))
