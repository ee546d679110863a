"""gRPC over HTTP/2: length-prefixed messages, each perhaps compressed."""

from collections.abc import Iterator, Mapping
from typing import Final

from extauthz.core.body.coding import decode
from extauthz.core.body.wire import NoMessageError, TooComplexError, Walk
from extauthz.core.media import Tree
from extauthz.core.reasons import Failure

#: A flag, and four bytes of length.
_PREFIX_BYTES: Final = 5
#: Messages of one stream. ModelInfer has one.
_MAX_MESSAGES: Final = 1000
#: What gRPC names as its codings; a list of them is none.
_CODINGS: Final = frozenset({"gzip", "deflate", "zstd"})


def read_grpc(body: bytes, headers: Mapping[str, str], max_bytes: int) -> Tree | Failure:
    """Read a list of messages, each as `Walk.message` reads it, without a schema.

    Fails with GRPC_MALFORMED (frames that do not add up, a compressed message whose compression
    is not named, no protobuf in it), ENCODING_UNSUPPORTED, ENCODING_MALFORMED, BODY_TOO_LARGE, or
    BODY_TOO_COMPLEX.
    """
    coding = headers.get("grpc-encoding", "identity").strip().lower()
    if coding != "identity" and coding not in _CODINGS:
        return Failure.ENCODING_UNSUPPORTED
    walk = Walk(len(body))
    messages: list[Tree] = []
    room = max_bytes
    for flag, framed in _frames(body):
        message = _plain(framed, flag, coding, room)
        if isinstance(message, Failure):
            return message
        room -= len(message)
        try:
            messages.append(walk.message(message))
        except NoMessageError:
            return Failure.GRPC_MALFORMED
        except TooComplexError:
            return Failure.BODY_TOO_COMPLEX
        if len(messages) > _MAX_MESSAGES:
            return Failure.BODY_TOO_COMPLEX
    return messages


def _plain(framed: bytes, flag: int | None, coding: str, room: int) -> bytes | Failure:
    """The message of a frame. A flag of 1 says that it is compressed, as its stream's header says."""
    if flag == 0:
        return framed
    if flag != 1 or coding == "identity":
        return Failure.GRPC_MALFORMED
    return decode(framed, [coding], room)


def _frames(body: bytes) -> Iterator[tuple[int | None, bytes]]:
    """Flag and content of each frame; a frame that is cut short has no flag."""
    start = 0
    while start < len(body):
        begin = start + _PREFIX_BYTES
        flag, length = body[start], int.from_bytes(body[start + 1 : begin], "big")
        start = begin + length
        yield flag if start <= len(body) else None, body[begin:start]
