"""Health answers for the whole server and for the authorization service, and for no other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.protocol import health
from extauthz.protocol._pb.health_pb2 import HealthCheckRequest, HealthCheckResponse

Status = HealthCheckResponse.ServingStatus


def asked(service: str, *, serving: bool) -> "HealthCheckResponse.ServingStatus.ValueType":
    message = HealthCheckRequest(service=service).SerializeToString()
    return HealthCheckResponse.FromString(health.answer(message, serving=serving)).status


@pytest.mark.parametrize("service", ["", "envoy.service.auth.v3.Authorization"])
def test_a_known_service_is_serving_or_not(service: str) -> None:
    assert asked(service, serving=True) == Status.SERVING
    assert asked(service, serving=False) == Status.NOT_SERVING


def test_another_service_is_unknown() -> None:
    assert asked("envoy.service.ratelimit.v3", serving=True) == Status.SERVICE_UNKNOWN


@given(st.binary(max_size=16), st.booleans())
def test_no_bytes_raise_and_serving_is_never_claimed_in_vain(message: bytes, serving: bool) -> None:
    status = HealthCheckResponse.FromString(health.answer(message, serving=serving)).status

    assert serving or status != Status.SERVING


def test_an_unreadable_question_is_about_an_unknown_service() -> None:
    answer = health.answer(b"\xff", serving=True)

    assert HealthCheckResponse.FromString(answer).status == Status.SERVICE_UNKNOWN
