"""A body is a value only when every common parser would read the same value."""

import json
import tracemalloc
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.core.body import MAX_DEPTH, MAX_MEMBERS, parse, read_body
from extauthz.core.call import Call
from extauthz.core.reasons import Failure

TEXT = '{"messages":[{"role":"user","content":"é"}]}'
BODY = TEXT.encode()
FAILED = {
    Failure.BODY_NOT_UTF8: {
        "utf-16 with a BOM": TEXT.encode("utf-16"),
        "utf-16-le": TEXT.encode("utf-16-le") + "é中".encode("utf-16-le"),
        "utf-16-be": TEXT.encode("utf-16-be") + "é中".encode("utf-16-be"),
        "utf-32 with a BOM": TEXT.encode("utf-32"),
        "utf-8 with a BOM": b"\xef\xbb\xbf" + BODY,
        "a surrogate as UTF-8": b'{"a":"\xed\xa0\x80"}',
        "a surrogate pair as UTF-8": b'{"a":"\xed\xa0\xbd\xed\xb8\x80"}',
        "an overlong slash": b'{"a":"\xc0\xaf"}',
        "an overlong quote": b'{"a":"x\xc0\xa2}',
        "a byte that is none": b'{"a":"\xff"}',
        "a cut sequence": b'{"a":"\xe4\xb8"}',
        "above U+10FFFF": b'{"a":"\xf4\x90\x80\x80"}',
        "latin-1": '{"a":"é"}'.encode("latin-1"),
    },
    Failure.BODY_MALFORMED: {
        "utf-16-le of ASCII": b'{"a":1}'.decode().encode("utf-16-le"),
        "utf-16-be of ASCII": b'{"a":1}'.decode().encode("utf-16-be"),
        "utf-32-le of ASCII": b'{"a":1}'.decode().encode("utf-32-le"),
        "utf-32-be of ASCII": b'{"a":1}'.decode().encode("utf-32-be"),
        "a lone high surrogate": b'{"a":"\\ud800"}',
        "a lone low surrogate": b'{"a":"\\udc00"}',
        "a lone surrogate in a key": b'{"\\ud800":1}',
        "swapped surrogates": b'{"a":"\\udc00\\ud800"}',
        "NaN": b'{"a":NaN}',
        "Infinity": b'{"a":Infinity}',
        "-Infinity": b'{"a":-Infinity}',
        "1e999": b'{"a":1e999}',
        "-1e999": b'{"a":-1e999}',
        "a number of a million digits": b'{"a":' + b"9" * 1_000_000 + b"}",
        "a leading zero": b'{"a":01}',
        "a plus sign": b'{"a":+1}',
        "a bare fraction": b'{"a":.5}',
        "hexadecimal": b'{"a":0x10}',
        "trailing data": BODY + b"x",
        "two documents": BODY + BODY,
        "two lines of documents": BODY + b"\n" + BODY,
        "a trailing NUL": BODY + b"\0",
        "a line comment": b'{"a":1} // b',
        "a block comment": b'{/* b */"a":1}',
        "a trailing comma in an object": b'{"a":1,}',
        "a trailing comma in an array": b"[1,]",
        "a raw newline in a string": b'{"a":"\n"}',
        "a raw NUL in a string": b'{"a":"\0"}',
        "a raw control character in a string": b'{"a":"\x1f"}',
        "single quotes": b"{'a':1}",
        "a bare key": b"{a:1}",
        "a bad escape": b'{"a":"\\x41"}',
        "a BOM after white space": b" \xef\xbb\xbf" + BODY,
        "a no-break space": b'\xc2\xa0{"a":1}',
        "only white space": b" \n",
        "cut off": BODY[:-1],
        "not JSON": b"hello",
        "a form": b"prompt=hello",
        "gzip unlabelled, as text": b"\x1f\x0b",
    },
    Failure.BODY_DUPLICATE_KEY: {
        "the same key": b'{"a":1,"a":1}',
        "the same key escaped": b'{"messages":1,"\\u006dessages":2}',
        "another case": b'{"messages":1,"MESSAGES":2}',
        "the long s, which Go folds": b'{"messages":1,"me\xc5\xbfsages":2}',
        "the kelvin sign, which Go folds": b'{"k":1,"\xe2\x84\xaa":2}',
        "deep inside": b'[{"x":[{"a":1,"b":2,"A":3}]}]',
        "the empty key": b'{"":1,"":2}',
    },
    Failure.BODY_TOO_COMPLEX: {
        "65 arrays": b"[" * 65 + b"]" * 65,
        "1,200 arrays": b"[" * 1200 + b"]" * 1200,
        "100,000 open arrays": b"[" * 100_000,
        "100,000 open objects": b'{"a":' * 100_000,
        "many empty arrays": b"[" + b"[]," * MAX_MEMBERS + b"[]]",
        "many numbers": b"[" + b"1," * MAX_MEMBERS + b"1]",
    },
}
READ: dict[str, tuple[bytes, Any]] = {
    "2^64": (b'{"a":18446744073709551616}', {"a": 2**64}),
    "-2^63": (b"-9223372036854775808", -(2**63)),
    "1e308": (b"[1e308]", [1e308]),
    "64 arrays": (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, None),
    "brackets in a string": (b'"' + b"[" * 1000 + b'"', "[" * 1000),
    "a BOM in a string": ('"\ufeffa"'.encode(), "\ufeffa"),
    "a surrogate pair": (b'"\\ud83d\\ude00"', "\U0001f600"),
    "an escaped NUL": (b'"\\u0000"', "\0"),
    "white space around": (b" \t\r\n[1] ", [1]),
    "a bare string": (b'"a"', "a"),
    "null": (b"null", None),
    "the same key in two objects": (b'[{"a":1},{"a":2}]', [{"a": 1}, {"a": 2}]),
    "keys that differ": (b'{"a":1,"b":{"a":2}}', {"a": 1, "b": {"a": 2}}),
}

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abAB"), inner, max_size=4)
    ),
    max_leaves=12,
)
# Almost JSON: real syntax with a few bytes replaced, or fragments in any order.
FRAGMENTS = (
    b'{ } [ ] , : "a" "A" "\\u0061" "\\ud800" "\xed\xa0\x80" "\xff" \xef\xbb\xbf NaN Infinity 1e999 '
    b"-0 1 1.0 1E400 18446744073709551616 null true // /**/ \0 \x1f ' \\ 01 -"
).split(b" ")
fragments = st.lists(st.sampled_from(FRAGMENTS), max_size=12).map(b"".join)


@st.composite
def almost_json(draw: st.DrawFn) -> bytes:
    body = bytearray(json.dumps(draw(ANY_JSON)).encode())
    for _ in range(draw(st.integers(0, 2))):
        position = draw(st.integers(0, len(body)))
        body[position : position + draw(st.integers(0, 1))] = draw(st.sampled_from(FRAGMENTS))
    return bytes(body)


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        pytest.param(body, failure, id=name)
        for failure, bodies in FAILED.items()
        for name, body in bodies.items()
    ],
)
def test_what_parsers_disagree_about_is_refused(body: bytes, failure: Failure) -> None:
    assert parse(body) is failure


@pytest.mark.parametrize(("body", "value"), READ.values(), ids=READ.keys())
def test_what_all_parsers_agree_about_is_read(body: bytes, value: Any) -> None:
    assert parse(body) == (json.loads(body) if value is None else value)


@given(body=almost_json() | fragments | st.binary(max_size=30))
def test_any_bytes_give_a_failure_or_a_value_that_three_parsers_read(body: bytes) -> None:
    value = parse(body)
    if isinstance(value, Failure):
        return
    assert value == json.loads(body.decode("utf-8"))
    orjson.loads(body)
    assert msgspec.json.decode(body) == value


@given(
    value=st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=5)
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from("abc"), inner),
        max_leaves=12,
    )
)
def test_json_that_everyone_reads_alike_is_read_as_it_is(value: Any) -> None:
    assert parse(json.dumps(value, ensure_ascii=False).encode()) == value


def test_a_body_at_the_depth_limit_is_read_from_a_deep_stack() -> None:
    def descend(frames: int) -> Any:
        return descend(frames - 1) if frames else parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)

    assert isinstance(descend(300), list)


def test_four_mebibytes_of_empty_arrays_are_refused_before_anything_is_built() -> None:
    body = b"[" + b"[]," * (4 * 2**20 // 3) + b"[]]"
    tracemalloc.start()
    try:
        assert parse(body) is Failure.BODY_TOO_COMPLEX
        assert tracemalloc.get_traced_memory()[1] < 64 * 1024
    finally:
        tracemalloc.stop()


def test_the_largest_accepted_body_of_objects_stays_below_a_stated_size() -> None:
    body = b"[" + b"{}," * (MAX_MEMBERS // 2 - 2) + b"{}]"
    tracemalloc.start()
    try:
        assert isinstance(parse(body), list)
        assert tracemalloc.get_traced_memory()[1] < 40 * 2**20
    finally:
        tracemalloc.stop()


def read(body: bytes = BODY, max_bytes: int = 1000, **headers: str) -> Any:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_body(Call(body=body, headers=names), max_bytes)


def test_no_headers_at_all_will_do() -> None:
    assert read() == json.loads(BODY)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
def test_an_empty_body_is_none_where_there_need_not_be_one(method: str) -> None:
    assert read_body(Call(method=method), 10_000) is None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "post", "QUERY"])
def test_a_missing_body_is_not_an_empty_one(method: str) -> None:
    missing = Call(method=method, headers={"content-type": "application/json"})
    said_empty = Call(method=method, headers={"content-length": "0"})
    assert read_body(missing, 10_000) is Failure.BODY_TRUNCATED
    assert read_body(said_empty, 10_000) is None


@pytest.mark.parametrize(
    "parameters",
    ["charset*0=ut; charset*1=f-7", "charset*=utf-7", "charset *=utf-7", "x-charset=utf-8"],
)
def test_a_charset_that_is_not_plainly_utf_8_is_not_read(parameters: str) -> None:
    assert read(content_type=f"application/json; {parameters}") is Failure.BODY_NOT_UTF8


@pytest.mark.parametrize("flag", ["true", "True", "", "1", "false,true"])
def test_envoys_mark_of_a_cut_body_is_believed_unless_it_plainly_says_no(flag: str) -> None:
    assert read(x_envoy_auth_partial_body=flag) is Failure.BODY_TRUNCATED
    assert read(b"", x_envoy_auth_partial_body=flag) is Failure.BODY_TRUNCATED


def test_a_whole_body_is_read() -> None:
    assert read(x_envoy_auth_partial_body="false", content_length=str(len(BODY))) is not None


@pytest.mark.parametrize("length", ["46", "9" * 30, "9" * 5000, "0" * 30 + "46"])
def test_a_body_shorter_than_declared_is_cut(length: str) -> None:
    assert len(BODY) == 45
    assert read(content_length=length) is Failure.BODY_TRUNCATED


@pytest.mark.parametrize("length", ["45", "0", "000", "", "45, 45", "x", "-1", "٤٦", "²", "4_6"])
def test_a_declared_length_that_is_not_above_the_body_or_no_number_says_nothing(
    length: str,
) -> None:
    assert read(content_length=length) == json.loads(BODY)


def test_one_byte_over_the_limit_is_too_large() -> None:
    assert read(max_bytes=len(BODY)) == json.loads(BODY)
    assert read(max_bytes=len(BODY) - 1) is Failure.BODY_TOO_LARGE


@pytest.mark.parametrize(
    "encoding", ["gzip", "br", "zstd", "deflate", "identity, gzip", "gzip, gzip", "x", "", "utf-8"]
)
def test_an_encoded_body_is_refused_even_if_it_looks_plain(encoding: str) -> None:
    assert read(content_encoding=encoding) is Failure.ENCODING_UNSUPPORTED


@pytest.mark.parametrize("encoding", ["identity", " Identity "])
def test_identity_is_no_encoding(encoding: str) -> None:
    assert read(content_encoding=encoding) == json.loads(BODY)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=utf-16",
        "application/json;charset=UTF-7",
        'text/plain; a=b; charset="ibm037"',
        "application/json; Charset = latin1",
        "application/json; charset=utf-8; charset=utf-16",
        "application/json; charset=utf-8, text/plain; charset=utf-16",
        "application/json; charset=",
        "application/json; charset",
    ],
)
def test_a_charset_that_may_be_another_is_refused(content_type: str) -> None:
    assert read(content_type=content_type) is Failure.BODY_NOT_UTF8


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "application/json; charset=UTF-8",
        'application/json; charset="utf8"',
        "text/plain; charset=us-ascii; x",
        "multipart/form-data; boundary=utf-16",
        "application/jsonx",
    ],
)
def test_the_content_type_is_not_believed(content_type: str) -> None:
    assert read(content_type=content_type) == json.loads(BODY)
    assert read(b"prompt=x", content_type=content_type) is Failure.BODY_MALFORMED
