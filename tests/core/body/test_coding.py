"""Compressed bodies: whole, exactly what their label says, and never larger than allowed."""

import gzip
import time
import tracemalloc
import zlib
from collections.abc import Callable
from itertools import pairwise

import brotli
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from extauthz.core.body import _is_json_already
from extauthz.core.body.coding import codings, decode
from extauthz.core.media import Media
from extauthz.core.reasons import Failure

TEXT = b'{"prompt": "' + b"as plain as day, " * 40 + b'"}'
MIB = 2**20


def zstd_stream(data: bytes) -> bytes:
    """Without the content's size in its header, and with a checksum."""
    stream = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    return stream.compress(data) + stream.flush()


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
}


def bomb(name: str, mebibytes: int) -> bytes:
    """That many MiB of zeros, made a MiB at a time."""
    zeros = bytes(MIB)
    if name == "gzip":
        stream = zlib.compressobj(9, wbits=31)
        return b"".join(stream.compress(zeros) for _ in range(mebibytes)) + stream.flush()
    if name == "deflate":
        stream = zlib.compressobj(9)
        return b"".join(stream.compress(zeros) for _ in range(mebibytes)) + stream.flush()
    if name == "zstd":
        writer = zstandard.ZstdCompressor(level=3).compressobj()
        return b"".join(writer.compress(zeros) for _ in range(mebibytes)) + writer.flush()
    packer = brotli.Compressor(quality=9, lgwin=24)
    return bytes(b"".join(packer.process(zeros) for _ in range(mebibytes)) + packer.finish())


@pytest.mark.parametrize("name", COMPRESS)
def test_what_was_compressed_comes_back(name: str) -> None:
    assert decode(COMPRESS[name](TEXT), [name], 10_000) == TEXT
    assert decode(COMPRESS[name](b""), [name], 10_000) == b""


@pytest.mark.parametrize("name", COMPRESS)
def test_what_was_compressed_a_thousandfold_comes_back(name: str) -> None:
    """Few bytes in, many steps out: a decoder that waits for more input is not at its end."""
    long = b" " * MIB + TEXT

    assert decode(COMPRESS[name](long), [name], 2 * MIB) == long


def test_codings_are_undone_last_first() -> None:
    applied = codings("gzip,\tBR , identity, X-gzip")
    assert applied == ["gzip", "br", "x-gzip"]
    coded = gzip.compress(brotli.compress(gzip.compress(TEXT)))
    assert decode(coded, applied, 10_000) == TEXT
    assert decode(coded, ["br", "gzip", "gzip"], 10_000) is Failure.ENCODING_MALFORMED


@given(cuts=st.lists(st.integers(0, len(TEXT)), max_size=4))
@example(cuts=[])
@example(cuts=[0, 0])
def test_all_members_of_gzip_and_all_frames_of_zstd_are_read(cuts: list[int]) -> None:
    """A reader of the first one alone would not see the text in the others."""
    edges = [0, *sorted(cuts), len(TEXT)]
    pieces = [TEXT[start:end] for start, end in pairwise(edges)]
    assert decode(b"".join(map(gzip.compress, pieces)), ["gzip"], 10_000) == TEXT
    frames = [(zstandard.compress, zstd_stream)[n % 2](piece) for n, piece in enumerate(pieces)]
    assert decode(b"".join(frames), ["zstd"], 10_000) == TEXT


@pytest.mark.parametrize("name", COMPRESS)
def test_a_stream_cut_anywhere_is_malformed(name: str) -> None:
    coded = COMPRESS[name](TEXT)
    for length in range(len(coded)):
        assert decode(coded[:length], [name], 10_000) is Failure.ENCODING_MALFORMED


def test_a_zstd_frame_of_unknown_size_that_is_cut_is_malformed() -> None:
    """Its checksum may go missing without the reader saying so."""
    coded = zstd_stream(TEXT)
    for length in range(len(coded)):
        assert decode(coded[:length], ["zstd"], 10_000) is Failure.ENCODING_MALFORMED


@pytest.mark.parametrize("name", COMPRESS)
@pytest.mark.parametrize("behind", [b"\0", b"x", TEXT, b"\x1f\x8b", b"\x28\xb5\x2f\xfd"])
def test_what_stands_behind_a_stream_makes_it_malformed(name: str, behind: bytes) -> None:
    assert decode(COMPRESS[name](TEXT) + behind, [name], 10_000) is Failure.ENCODING_MALFORMED


@pytest.mark.parametrize("label", COMPRESS)
@pytest.mark.parametrize("name", COMPRESS)
def test_a_wrong_label_is_malformed(name: str, label: str) -> None:
    if name != label:
        assert decode(COMPRESS[name](TEXT), [label], 10_000) is Failure.ENCODING_MALFORMED


def test_deflate_without_zlibs_header_is_malformed_as_some_servers_do_not_read_it() -> None:
    assert decode(raw_deflate(TEXT), ["deflate"], 10_000) is Failure.ENCODING_MALFORMED


@pytest.mark.parametrize("flipped", [-1, -5, 20])
def test_a_wrong_checksum_is_malformed(flipped: int) -> None:
    for name, compress in (
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("zstd", zstd_stream),
    ):
        coded = bytearray(compress(TEXT))
        coded[flipped] ^= 1
        assert decode(bytes(coded), [name], 10_000) != TEXT


def test_a_skippable_frame_of_zstd_is_refused_as_it_may_hold_anything() -> None:
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"text"
    coded = zstandard.compress(TEXT)
    assert decode(skippable + coded, ["zstd"], 10_000) is Failure.ENCODING_MALFORMED
    assert decode(coded + skippable, ["zstd"], 10_000) is Failure.ENCODING_MALFORMED


def test_a_zstd_frame_may_not_ask_for_a_window_beyond_8_mib() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=24, compression_level=1)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    coded = stream.compress(bytes(MIB)) + stream.flush()
    assert zstandard.get_frame_parameters(coded).window_size == 16 * MIB
    assert decode(coded, ["zstd"], 2 * MIB) is Failure.ENCODING_MALFORMED


@pytest.mark.parametrize("name", COMPRESS)
def test_one_byte_more_than_allowed_is_too_large(name: str) -> None:
    coded = COMPRESS[name](TEXT)
    assert decode(coded, [name], len(TEXT)) == TEXT
    assert decode(coded, [name], len(TEXT) - 1) is Failure.BODY_TOO_LARGE


@pytest.mark.parametrize("name", COMPRESS)
def test_a_bomb_is_refused_before_it_has_gone_off(name: str) -> None:
    coded = bomb(name, 64)
    assert len(coded) < 64 * MIB / 1000
    tracemalloc.start()
    start = time.process_time()
    try:
        assert decode(coded, [name], MIB) is Failure.BODY_TOO_LARGE
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 0.5


def test_a_bomb_in_a_bomb_is_refused_at_the_layer_that_goes_off() -> None:
    coded = gzip.compress(bomb("gzip", 256))
    assert len(coded) < 2000
    assert decode(coded, ["gzip", "gzip"], MIB) is Failure.BODY_TOO_LARGE


@pytest.mark.parametrize(
    ("name", "piece"), [("gzip", gzip.compress(b"")), ("zstd", zstandard.compress(b""))]
)
def test_millions_of_empty_pieces_are_refused(name: str, piece: bytes) -> None:
    coded = piece * (2 * MIB // len(piece))
    start = time.process_time()
    assert decode(coded, [name], MIB) is Failure.ENCODING_MALFORMED
    assert time.process_time() - start < 1


@given(
    data=st.binary(max_size=64),
    name=st.sampled_from(sorted(COMPRESS)),
    keep=st.integers(0, 12),
    at=st.integers(0, 12),
)
def test_any_bytes_give_a_failure_or_no_more_than_allowed(
    data: bytes, name: str, keep: int, at: int
) -> None:
    """Random ones, and a stream of which a few bytes are replaced."""
    coded = COMPRESS[name](data)
    for body in (data, coded[:keep] + data, coded[:at] + data[:2] + coded[at + 2 :]):
        found = decode(body, [name], 32)
        if isinstance(found, Failure):
            assert found in {Failure.ENCODING_MALFORMED, Failure.BODY_TOO_LARGE}
        else:
            assert len(found) <= 32


@pytest.mark.parametrize("coded", [b"[1]", b' {"a":"b"}', b'["\xff"]'])
def test_compressed_bytes_that_are_json_as_they_stand_are_known(coded: bytes) -> None:
    """Node's reader replaces what is no UTF-8."""
    assert _is_json_already(coded, Media.JSON)
    assert _is_json_already(coded + b"\0raw", Media.TENSORS)


@pytest.mark.parametrize("coded", [b"[\xff\x01]", b"[", brotli.compress(TEXT), gzip.compress(TEXT)])
def test_compressed_bytes_are_no_json_because_of_their_first(coded: bytes) -> None:
    assert not _is_json_already(coded, Media.JSON)
