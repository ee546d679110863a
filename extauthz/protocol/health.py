"""grpc.health.v1: whether new checks are welcome."""

from typing import Final

from google.protobuf.message import DecodeError

from extauthz.protocol._pb import health_pb2

METHOD: Final = "/grpc.health.v1.Health/Check"

#: Services that may be asked for by name; empty is the whole server.
_SERVICES: Final = frozenset({"", "envoy.service.auth.v3.Authorization"})
_Status = health_pb2.HealthCheckResponse


def answer(message: bytes, *, serving: bool) -> bytes:
    """HealthCheckRequest bytes to HealthCheckResponse bytes."""
    try:
        service = health_pb2.HealthCheckRequest.FromString(message).service
    except DecodeError:
        service = "unreadable"
    if service not in _SERVICES:
        status = _Status.SERVICE_UNKNOWN
    else:
        status = _Status.SERVING if serving else _Status.NOT_SERVING
    return _Status(status=status).SerializeToString()
