"""gRPC's framing of messages: a prefix of five bytes, then the message, compressed or not."""

import zlib
from collections.abc import Iterator

from extauthz.transport.calls import Refusal, Status

PREFIX_BYTES = 5  # one byte: compressed or not; four: length, big endian
MALFORMED = Refusal(Status.INTERNAL, "malformed gRPC message")
TOO_LARGE = Refusal(Status.RESOURCE_EXHAUSTED, "message is larger than the limit")

_UNKNOWN_ENCODING = Refusal(Status.UNIMPLEMENTED, "grpc-encoding is not supported")
_WINDOW_BITS = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}


def only_message(chunks: list[bytes], encoding: bytes, limit: int) -> bytes | Refusal:
    """The one message that these chunks must be, decompressed when its flag says so."""
    prefix, message = _split(chunks)
    if len(prefix) < PREFIX_BYTES or prefix[0] > 1:
        return MALFORMED
    length = int.from_bytes(prefix[1:])
    if length > limit:
        return TOO_LARGE
    if len(message) != length:
        return MALFORMED
    return _decompressed(message, encoding, limit) if prefix[0] else message


def whole_messages(buffer: bytearray, encoding: bytes, limit: int) -> Iterator[bytes | Refusal]:
    """Take the messages off the buffer's front that are there to their end.

    A refusal is the last thing that comes. The buffer never needs to hold more than `limit`, the
    prefix and what arrives at once.
    """
    start = 0
    while len(buffer) - start >= PREFIX_BYTES:
        flag, length = buffer[start], int.from_bytes(buffer[start + 1 : start + PREFIX_BYTES])
        if flag > 1 or length > limit:
            yield MALFORMED if flag > 1 else TOO_LARGE
            return
        end = start + PREFIX_BYTES + length
        if len(buffer) < end:
            break
        message = bytes(memoryview(buffer)[start + PREFIX_BYTES : end])
        plain = _decompressed(message, encoding, limit) if flag else message
        yield plain
        if isinstance(plain, Refusal):
            return
        start = end
    del buffer[:start]


def _split(chunks: list[bytes]) -> tuple[bytes, bytes]:
    """Cut the prefix off before joining: a second copy of a large message costs more than h2corn."""
    if not chunks or len(chunks[0]) < PREFIX_BYTES:
        chunks = [b"".join(chunks)]
    prefix, first = chunks[0][:PREFIX_BYTES], chunks[0][PREFIX_BYTES:]
    return prefix, first if len(chunks) == 1 else b"".join([first, *chunks[1:]])


def _decompressed(message: bytes, encoding: bytes, limit: int) -> bytes | Refusal:
    """Inflate at most `limit` bytes: a small message may hold a huge one."""
    window_bits = _WINDOW_BITS.get(encoding)
    if window_bits is None:
        return MALFORMED if encoding == b"identity" else _UNKNOWN_ENCODING
    inflate = zlib.decompressobj(window_bits)
    try:
        plain = inflate.decompress(message, limit + 1)
    except zlib.error:
        return MALFORMED
    if len(plain) > limit:
        return TOO_LARGE
    return plain if inflate.eof and not inflate.unused_data else MALFORMED
