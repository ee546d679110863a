"""Protobuf without a schema: every string field that a schema could name is among the readings."""

from google.protobuf import empty_pb2

from extauthz.core.body import read_body
from extauthz.core.call import Call
from extauthz.core.media import Media
from extauthz.core.reasons import Failure
from fuzz.requests import MAX_BYTES, size
from fuzz.targets import Choices, require

_GRPC = frozenset({Media.GRPC})


def check(data: bytes) -> None:
    """Bounded, and accepted only where protobuf's own parser finds a message as well."""
    choices = Choices(data)
    framed = choices.pick((True, False))
    message = choices.rest()
    body = b"\x00" + len(message).to_bytes(4, "big") + message if framed else message
    call = Call(method="POST", path="/", headers={"content-type": "application/grpc"}, body=body)
    tree = read_body(call, _GRPC, MAX_BYTES)
    if isinstance(tree, Failure) or tree is None:
        return
    require(size(tree) <= 8 * max(len(body), 64 * 1024) + 64 * len(body), "readings are bounded")
    if framed:
        empty_pb2.Empty.FromString(message)  # raises where it is no message
