"""Rate limits on the wire: what is asked is read without surprises, and what is told fits."""

import math

import pytest
from google.protobuf.wrappers_pb2 import UInt64Value
from hypothesis import given
from hypothesis import strategies as st

from extauthz.core.budget.descriptors import Descriptor, LimitStatus, RateLimitAsk
from extauthz.protocol import rate_limit
from extauthz.protocol._pb.rate_limit_pb2 import (
    RateLimitDescriptor,
    RateLimitRequest,
    RateLimitResponse,
)

OK, OVER_LIMIT = RateLimitResponse.OK, RateLimitResponse.OVER_LIMIT
Unit = RateLimitResponse.RateLimit.Unit
STATUSES = st.builds(
    LimitStatus,
    limited=st.booleans(),
    amount=st.integers(-10, 2**70),
    unit_s=st.sampled_from([0, 1, 7, 60, 3600, 86_400, 2_592_000]),
    remaining=st.integers(-10, 2**70),
    reset_s=st.floats(),
)


def descriptor(
    *entries: tuple[str, str], hits: int | None = None, negative: bool = False
) -> RateLimitDescriptor:
    """One descriptor; its own hits where they are given."""
    return RateLimitDescriptor(
        entries=[RateLimitDescriptor.Entry(key=key, value=value) for key, value in entries],
        hits_addend=None if hits is None else UInt64Value(value=hits),
        is_negative_hits=negative,
    )


def asked(*descriptors: RateLimitDescriptor, hits: int = 0) -> bytes:
    """RateLimitRequest bytes."""
    return RateLimitRequest(
        domain="llm", descriptors=descriptors, hits_addend=hits
    ).SerializeToString()


def hits(message: bytes) -> list[int]:
    """The hits of each descriptor in a message that must be readable."""
    ask = rate_limit.read(message)
    assert ask is not None
    return [one.hits for one in ask.descriptors]


def told(*statuses: LimitStatus | None) -> RateLimitResponse:
    """What Envoy reads."""
    return RateLimitResponse.FromString(rate_limit.write(statuses))


def status(
    limited: bool = False, amount: int = 100, unit_s: int = 60, reset_s: float = 1.5
) -> LimitStatus:
    """A limit of which a tenth is left."""
    return LimitStatus(limited, amount, unit_s, amount // 10, reset_s)


def test_everything_that_envoy_asks_is_read_in_order() -> None:
    message = asked(
        descriptor(("tenant", "blue"), ("model", "sample"), ("model", "other"), hits=30),
        descriptor(("tenant", "é")),
        descriptor(),
        hits=4,
    )

    assert rate_limit.read(message) == RateLimitAsk(
        "llm",
        (
            Descriptor((("tenant", "blue"), ("model", "sample"), ("model", "other")), 30),
            Descriptor((("tenant", "é"),), 4),
            Descriptor((), 4),
        ),
    )


def test_a_descriptors_own_hits_count_before_the_requests_and_none_at_all_is_one() -> None:
    three = (descriptor(), descriptor(hits=0), descriptor(hits=2**64 - 1))

    assert hits(asked(*three)) == [1, 0, 2**64 - 1]
    assert hits(asked(*three, hits=7)) == [7, 0, 2**64 - 1]


def test_hits_that_would_be_given_back_count_as_none() -> None:
    assert hits(asked(descriptor(hits=5, negative=True), descriptor(negative=True))) == [0, 0]


def test_a_request_may_ask_nothing() -> None:
    assert rate_limit.read(b"") == RateLimitAsk("", ())


@pytest.mark.parametrize(
    "message",
    [
        b"\xff",
        asked(descriptor(("k", "v")))[:-1],
        asked(descriptor(("k", "@@"))).replace(b"@@", b"\xff\xc0"),
    ],
    ids=["no protobuf", "cut short", "no UTF-8"],
)
def test_what_is_no_request_is_none(message: bytes) -> None:
    assert rate_limit.read(message) is None


@given(st.binary(max_size=64))
def test_no_bytes_raise(message: bytes) -> None:
    assert isinstance(rate_limit.read(message), RateLimitAsk | None)


@given(st.data())
def test_a_damaged_request_never_raises(data: st.DataObject) -> None:
    message = bytearray(asked(descriptor(("tenant", "blue"), hits=30), hits=4))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))

    ask = rate_limit.read(bytes(message))

    assert ask is None or all(one.hits >= 0 for one in ask.descriptors)


def test_each_descriptor_has_its_status_in_order() -> None:
    response = told(status(), None, status(limited=True, unit_s=3600))

    assert response.overall_code == OVER_LIMIT
    assert [one.code for one in response.statuses] == [OK, OK, OVER_LIMIT]
    first, none, last = response.statuses
    assert (first.current_limit.requests_per_unit, first.limit_remaining) == (100, 10)
    assert first.duration_until_reset.ToMilliseconds() == 1500
    assert not none.HasField("current_limit")
    assert last.current_limit.unit == Unit.HOUR


@pytest.mark.parametrize("statuses", [(), (None,), (status(), None, status())])
def test_all_is_well_where_nothing_is_limited(statuses: tuple[LimitStatus | None, ...]) -> None:
    response = told(*statuses)

    assert response.overall_code == OK
    assert len(response.statuses) == len(statuses)


@pytest.mark.parametrize(
    ("unit_s", "unit"),
    [
        (1, Unit.SECOND),
        (60, Unit.MINUTE),
        (3600, Unit.HOUR),
        (86_400, Unit.DAY),
        (2_592_000, Unit.MONTH),
        (0, Unit.UNKNOWN),
        (300, Unit.UNKNOWN),
    ],
)
def test_a_unit_has_the_name_that_envoy_has_for_it(
    unit_s: int, unit: "RateLimitResponse.RateLimit.Unit.ValueType"
) -> None:
    assert told(status(unit_s=unit_s)).statuses[0].current_limit.unit == unit


def test_what_does_not_fit_is_cut() -> None:
    huge, negative = LimitStatus(False, 2**70, 1, 2**32, 1e300), LimitStatus(True, -1, 1, -1, -1.0)

    most, least = told(huge, negative).statuses

    assert most.current_limit.requests_per_unit == most.limit_remaining == 2**32 - 1
    assert most.duration_until_reset.seconds == 315_576_000_000
    assert least.current_limit.requests_per_unit == least.limit_remaining == 0
    assert least.duration_until_reset.ToNanoseconds() == 0


@given(st.lists(st.none() | STATUSES, max_size=3))
def test_any_status_can_be_told(statuses: list[LimitStatus | None]) -> None:
    response = told(*statuses)

    limited = [one is not None and one.limited for one in statuses]
    assert [one.code == OVER_LIMIT for one in response.statuses] == limited
    assert (response.overall_code == OVER_LIMIT) == any(limited)
    assert all(0 <= one.duration_until_reset.nanos < 1e9 for one in response.statuses)


def test_no_time_at_all_is_none() -> None:
    assert told(status(reset_s=math.nan)).statuses[0].duration_until_reset.ToNanoseconds() == 0
