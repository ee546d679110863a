"""A body is a value only when every common parser would read the same value."""

import json
import tracemalloc
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extauthz.core.body import MAX_DEPTH, MAX_MEMBERS, parse
from extauthz.core.body.json_text import MAX_KEYS, fold, parse_lines
from extauthz.core.reasons import Failure

TEXT = '{"messages":[{"role":"user","content":"é"}]}'
BODY = TEXT.encode()
FAILED = {
    Failure.BODY_BYTE_ORDER_MARK: {
        "utf-16 with a BOM": TEXT.encode("utf-16"),
        "utf-16-be with a BOM": ("\ufeff" + TEXT).encode("utf-16-be"),
        "utf-32 with a BOM": TEXT.encode("utf-32"),
        "utf-32-be with a BOM": ("\ufeff" + TEXT).encode("utf-32-be"),
        "utf-8 with a BOM": b"\xef\xbb\xbf" + BODY,
    },
    Failure.BODY_NOT_UTF8: {
        "utf-16-le": TEXT.encode("utf-16-le") + "é中".encode("utf-16-le"),
        "utf-16-be": TEXT.encode("utf-16-be") + "é中".encode("utf-16-be"),
        "utf-16-le of ASCII": b'{"a":1}'.decode().encode("utf-16-le"),
        "utf-16-be of ASCII": b'{"a":1}'.decode().encode("utf-16-be"),
        "utf-32-le of ASCII": b'{"a":1}'.decode().encode("utf-32-le"),
        "utf-32-be of ASCII": b'{"a":1}'.decode().encode("utf-32-be"),
        "a surrogate as UTF-8": b'{"a":"\xed\xa0\x80"}',
        "a surrogate pair as UTF-8": b'{"a":"\xed\xa0\xbd\xed\xb8\x80"}',
        "an overlong slash": b'{"a":"\xc0\xaf"}',
        "an overlong quote": b'{"a":"x\xc0\xa2}',
        "a byte that is none": b'{"a":"\xff"}',
        "a cut sequence": b'{"a":"\xe4\xb8"}',
        "above U+10FFFF": b'{"a":"\xf4\x90\x80\x80"}',
        "latin-1": '{"a":"é"}'.encode("latin-1"),
    },
    Failure.BODY_NUMBER_TOO_LARGE: {
        "2^64": b'{"a":18446744073709551616}',
        "-2^63-1": b"[-9223372036854775809]",
        "a number of a million digits": b'{"a":' + b"9" * 1_000_000 + b"}",
        "1e999": b'{"a":1e999}',
        "-1e999": b'{"a":-1e999}',
        "1.8e308": b"[1.8e308]",
        "a large integer in the last place": b'{"a":1.5,"b":[{"c":"1"},99999999999999999999]}',
    },
    Failure.BODY_MALFORMED: {
        "a lone high surrogate": b'{"a":"\\ud800"}',
        "a lone low surrogate": b'{"a":"\\udc00"}',
        "a lone surrogate in a key": b'{"\\ud800":1}',
        "swapped surrogates": b'{"a":"\\udc00\\ud800"}',
        "NaN": b'{"a":NaN}',
        "Infinity": b'{"a":Infinity}',
        "-Infinity": b'{"a":-Infinity}',
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
        "nothing": b"",
        "only white space": b" \n",
        "cut off": BODY[:-1],
        "not JSON": b"hello",
        "a form": b"prompt=hello",
        "brotli unlabelled": b"\x0b\x02",
    },
    Failure.BODY_DUPLICATE_KEY: {
        "the same key": b'{"a":1,"a":1}',
        "the same key escaped": b'{"messages":1,"\\u006dessages":2}',
        "another case": b'{"messages":1,"MESSAGES":2}',
        "the long s, which Go folds": b'{"messages":1,"me\xc5\xbfsages":2}',
        "the kelvin sign, which Go folds": b'{"k":1,"\xe2\x84\xaa":2}',
        "the dotless i, which Java folds": b'{"input":1,"\xc4\xb1nput":2}',
        "the dotted I, which Java folds": b'{"input":1,"\xc4\xb0nput":2}',
        "a sharp s in capitals": b'{"stra\xc3\x9fe":1,"STRASSE":2}',
        "the kelvin sign escaped": b'{"k":1,"\\u212a":2}',
        "a surrogate pair and its character": b'{"\xf0\x90\x90\x80":1,"\\ud801\\udc28":2}',
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
        "little but brackets": b"[" + b",".join([b"[" * 63 + b"]" * 63] * 600) + b"]",
        "many keys": b"{" + b",".join(b'"%d":1' % n for n in range(MAX_KEYS + 1)) + b"}",
        "many keys in many objects": b"[" + b'{"a":1},' * MAX_KEYS + b'{"a":1}]',
    },
}
READ: dict[str, tuple[bytes, Any]] = {
    "2^64-1": (b'{"a":18446744073709551615}', {"a": 2**64 - 1}),
    "2^64 with a point": (b"[18446744073709551616.0]", [2.0**64]),
    "-2^63": (b"-9223372036854775808", -(2**63)),
    "1e308": (b"[1e308]", [1e308]),
    "64 arrays": (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, None),
    "brackets in a string": (b'"' + b"[" * 1000 + b'"', "[" * 1000),
    "many keys": (b"[" + b'{"a":1},' * (MAX_KEYS - 1) + b'{"a":1}]', [{"a": 1}] * MAX_KEYS),
    "colons in strings": (b'"' + b":" * MAX_MEMBERS + b'"', ":" * MAX_MEMBERS),
    "a BOM in a string": ('"\ufeffa"'.encode(), "\ufeffa"),
    "a surrogate pair": (b'"\\ud83d\\ude00"', "\U0001f600"),
    "an escaped NUL": (b'"\\u0000"', "\0"),
    "white space around": (b" \t\r\n[1] ", [1]),
    "a bare string": (b'"a"', "a"),
    "null": (b"null", None),
    "the same key in two objects": (b'[{"a":1},{"a":2}]', [{"a": 1}, {"a": 2}]),
    "keys that differ beyond ASCII": ('{"é":1,"e":2}'.encode(), {"é": 1, "e": 2}),
    "one key escaped in two objects": (b'[{"\\u0061":1},{"a":2}]', [{"a": 1}, {"a": 2}]),
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


def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len({fold(key) for key, _ in pairs}) == len(pairs)
    return dict(pairs)


@given(body=almost_json() | fragments | st.binary(max_size=30))
def test_any_bytes_give_a_failure_or_a_value_that_three_parsers_read(body: bytes) -> None:
    value = parse(body)
    if isinstance(value, Failure):
        return
    assert value == json.loads(body.decode("utf-8"), object_pairs_hook=no_duplicates)
    assert value == orjson.loads(body)
    assert value == msgspec.json.decode(body)


@given(
    value=st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
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


def test_what_is_mostly_escapes_is_refused_and_a_long_program_in_a_string_is_not() -> None:
    program = b'["' + 9_000 * (40 * b"x" + b"\\n" + 20 * b"y" + b'\\"') + b'"]'
    assert isinstance(parse(program), list)
    assert parse(b'["' + b"\\n" * 2**19 + b'"]') == ["\n" * 2**19]
    assert parse(b'["' + b"\\n" * (2**19 + 1) + b'"]') is Failure.BODY_TOO_COMPLEX


def test_the_largest_accepted_body_of_objects_stays_below_a_stated_size() -> None:
    body = b"[" + b"{}," * (MAX_MEMBERS // 2 - 2) + b"{}]"
    tracemalloc.start()
    try:
        assert isinstance(parse(body), list)
        assert tracemalloc.get_traced_memory()[1] < 40 * 2**20
    finally:
        tracemalloc.stop()


def test_no_two_characters_that_any_server_takes_for_one_make_two_keys() -> None:
    """Simple folding (Go), upper case, then lower (Java), and the full folding of Unicode."""
    for point in range(0x110000):
        character = chr(point)
        others = (character.lower(), character.upper(), character.title(), character.casefold())
        assert {fold(other) for other in others} == {fold(character)}


def test_lines_may_have_more_keys_than_one_document() -> None:
    lines = b'{"a":1}\n' * (MAX_KEYS + 1)
    assert parse_lines(lines) == [{"a": 1}] * (MAX_KEYS + 1)
    assert parse_lines(lines + b'{"a":1,"A":2}') is Failure.BODY_DUPLICATE_KEY


def test_json_lines_are_one_document_each() -> None:
    assert parse_lines(b'{"a":1}\n\r\n [2]\r\n"x"') == [{"a": 1}, [2], "x"]
    assert parse_lines(b"") == []


@pytest.mark.parametrize(
    ("lines", "failure"),
    [
        (b'{"a":1}\n{"b":1,"B":2}', Failure.BODY_DUPLICATE_KEY),
        (b"1\n18446744073709551616", Failure.BODY_NUMBER_TOO_LARGE),
        (b"1\n2,3", Failure.BODY_MALFORMED),
        (b"[\n1]", Failure.BODY_MALFORMED),
        (b'"\n"', Failure.BODY_MALFORMED),
        (b'{"a":1}{"a":2}', Failure.BODY_MALFORMED),
        (b'{"a":1}\x0b{"a":2}', Failure.BODY_MALFORMED),
        (b'1\n"\xff"', Failure.BODY_NOT_UTF8),
        (b"\xef\xbb\xbf1\n2", Failure.BODY_BYTE_ORDER_MARK),
        (b"\n" * (MAX_MEMBERS + 1), Failure.BODY_TOO_COMPLEX),
        (b"1\n" * (MAX_MEMBERS // 2) + b"[1,1]\n" * (MAX_MEMBERS // 4), Failure.BODY_TOO_COMPLEX),
        (b"1\n" + b"[" * 65 + b"]" * 65, Failure.BODY_TOO_COMPLEX),
    ],
)
def test_lines_that_parsers_disagree_about_are_refused(lines: bytes, failure: Failure) -> None:
    assert parse_lines(lines) is failure


@given(values=st.lists(ANY_JSON | st.integers(), max_size=4))
def test_lines_are_read_as_each_would_be_alone(values: list[Any]) -> None:
    written = [json.dumps(value).encode() for value in values]
    alone = [parse(line) for line in written]
    together = parse_lines(b"\n".join(written))
    assert together in alone if isinstance(together, Failure) else together == alone
