"""Content codings undone, with the size of what comes out bounded at every layer."""

import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Final

import brotli
import zstandard

from extauthz.core.reasons import Failure

#: Codings that one body may wear. Two are rare already; each costs a pass over the whole body.
_MAX_LAYERS: Final = 3
#: Members of a gzip file, blocks of a zstd one: each costs a call, however short it is.
_MAX_PIECES: Final = 4096
#: What a decoder is fed at a time, and about what one step may put out.
_STEP_BYTES: Final = 64 * 1024
#: RFC 9659: a reader of the content coding need not support more. It is allocated up front.
_ZSTD_WINDOW_BYTES: Final = 8 * 2**20
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
#: Longest frame header (RFC 8878 section 3.1.1), its magic number included.
_ZSTD_HEADER_BYTES: Final = 18
_ZSTD_RUN: Final = 1
_GZIP_WINDOW_BITS: Final = 31
_ZLIB_WINDOW_BITS: Final = 15


class _MalformedError(ValueError):
    """The bytes are not what their label says."""


def codings(header: str) -> list[str] | Failure:
    """Name the codings of a Content-Encoding header in the order in which they were applied.

    `identity` is left out. Fails with ENCODING_UNSUPPORTED: a coding we do not know, an empty
    token, or more than three of them.
    """
    names = [name.strip(" \t").lower() for name in header.split(",")]
    applied = [name for name in names if name != "identity"]
    if len(applied) > _MAX_LAYERS or not all(name in _DECODERS for name in applied):
        return Failure.ENCODING_UNSUPPORTED
    return applied


def decode(body: bytes, applied: list[str], max_bytes: int) -> bytes | Failure:
    """Undo the codings `applied`, the last one first.

    Fails with ENCODING_MALFORMED (another format, cut short, something behind it) or
    BODY_TOO_LARGE (a layer of more than `max_bytes`).
    """
    for name in reversed(applied):
        layer = _undo(_DECODERS[name](body), max_bytes)
        if isinstance(layer, Failure):
            return layer
        body = layer
    return body


def is_coded(headers: Mapping[str, str]) -> bool:
    """Whether a body may be longer than it looks: it, or a gRPC message in it, is compressed."""
    return any(
        headers.get(name, "identity").strip().lower() != "identity"
        for name in ("content-encoding", "grpc-encoding")
    )


def _undo(pieces: Iterator[bytes], max_bytes: int) -> bytes | Failure:
    layer = bytearray()
    try:
        for piece in pieces:
            layer += piece
            if len(layer) > max_bytes:
                return Failure.BODY_TOO_LARGE
    except (_MalformedError, zlib.error, brotli.error, zstandard.ZstdError):
        return Failure.ENCODING_MALFORMED
    return bytes(layer)


def _gzip(body: bytes) -> Iterator[bytes]:
    """All members: some servers read only the first, and would read less than others."""
    end = 0
    for _ in range(_MAX_PIECES):
        end = yield from _zlib_stream(body, end, _GZIP_WINDOW_BITS)
        if end == len(body):
            return
    raise _MalformedError


def _deflate(body: bytes) -> Iterator[bytes]:
    """The zlib format, as RFC 9110 section 8.4.1.2 says.

    Some servers also take deflate without a header, some take nothing else: that is refused, as
    bytes can be both at once and say two things.
    """
    if (yield from _zlib_stream(body, 0, _ZLIB_WINDOW_BITS)) != len(body):
        raise _MalformedError


def _zlib_stream(body: bytes, start: int, window_bits: int) -> Generator[bytes, None, int]:
    """The content of the stream at `start`; returns where it ends."""
    stream = zlib.decompressobj(window_bits)
    while not stream.eof:
        chunk = body[start : start + _STEP_BYTES]
        piece = stream.decompress(chunk, _STEP_BYTES)
        if not chunk and not piece and not stream.eof:
            raise _MalformedError
        yield piece
        start += len(chunk) - len(stream.unconsumed_tail) - len(stream.unused_data)
    return start


def _brotli(body: bytes) -> Iterator[bytes]:
    """The decoder itself refuses what follows the stream."""
    stream = brotli.Decompressor()
    for start in range(0, len(body), _STEP_BYTES):
        chunk = body[start : start + _STEP_BYTES]
        yield (piece := stream.process(chunk, output_buffer_limit=_STEP_BYTES))
        # It takes all of its input and holds output back: to accept more does not mean to be empty.
        while not stream.is_finished() and (piece or not stream.can_accept_more_data()):
            yield (piece := stream.process(b"", output_buffer_limit=_STEP_BYTES))
    if not stream.is_finished():
        raise _MalformedError


def _zstd(body: bytes) -> Iterator[bytes]:
    """All frames. The reader does not say that a frame was cut, so their ends are found first."""
    decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
    for start, end in _zstd_frames(body):
        with decoder.stream_reader(body[start:end]) as frame:
            while piece := frame.read(_STEP_BYTES):
                yield piece


def _zstd_frames(body: bytes) -> Iterator[tuple[int, int]]:
    """Where each frame begins and ends; a skippable frame is none, since it could hide a text."""
    start, pieces = 0, 0
    while start < len(body) or start == 0:
        head = body[start : start + _ZSTD_HEADER_BYTES]
        if not head.startswith(_ZSTD_MAGIC):
            raise _MalformedError
        end, last = start + zstandard.frame_header_size(head), False
        while not last:
            block = int.from_bytes(body[end : end + 3], "little")
            last, kind, size = bool(block & 1), block >> 1 & 3, block >> 3
            end += 3 + (1 if kind == _ZSTD_RUN else size)
            pieces += 1
            if pieces > _MAX_PIECES or end > len(body):
                raise _MalformedError
        end += 4 if zstandard.get_frame_parameters(head).has_checksum else 0
        if end > len(body):
            raise _MalformedError
        yield start, end
        start = end


_DECODERS: Final[dict[str, Callable[[bytes], Iterator[bytes]]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
