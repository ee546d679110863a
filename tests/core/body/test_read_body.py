"""Which bytes of a call are its body, and in which format they are read."""

import gzip
import json
import zlib
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from extauthz.core.body import is_coded, parse, read_body
from extauthz.core.call import Call
from extauthz.core.media import Media
from extauthz.core.opaque import Blob
from extauthz.core.reasons import Failure

BODY = '{"messages":[{"role":"user","content":"é"}]}'.encode()
JSON = frozenset({Media.JSON})
ALL = frozenset(Media)
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="n"\r\n\r\nv\r\n--b--\r\n'
GRPC = "application/grpc"
COMPRESS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
}


def read(
    body: bytes = BODY, accepts: frozenset[Media] = JSON, max_bytes: int = 1000, **headers: str
) -> Any:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_body(Call(body=body, headers=names), accepts, max_bytes)


def test_no_headers_at_all_will_do() -> None:
    assert read() == json.loads(BODY)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
def test_an_empty_body_is_none_where_there_need_not_be_one(method: str) -> None:
    assert read_body(Call(method=method), JSON, 10_000) is None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "post", "QUERY"])
def test_a_missing_body_is_not_an_empty_one(method: str) -> None:
    missing = Call(method=method, headers={"content-type": "application/json"})
    said_empty = Call(method=method, headers={"content-length": "0"})
    assert read_body(missing, JSON, 10_000) is Failure.BODY_TRUNCATED
    assert read_body(said_empty, JSON, 10_000) is None


@pytest.mark.parametrize(
    "parameters",
    ["charset*0=ut; charset*1=f-7", "charset*=utf-7", "charset *=utf-7", "x-charset=utf-8"],
)
def test_a_charset_that_is_not_plainly_utf_8_is_not_read(parameters: str) -> None:
    assert read(content_type=f"application/json; {parameters}") is Failure.CHARSET_UNSUPPORTED


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
    "encoding",
    ["x", "", "utf-8", "identity,", "gzip,,br", "gzip;q=1", "gzip, x", "gzip, gzip, gzip, gzip"],
)
def test_a_coding_that_we_do_not_know_is_refused_even_if_the_body_looks_plain(
    encoding: str,
) -> None:
    assert read(content_encoding=encoding) is Failure.ENCODING_UNSUPPORTED


@pytest.mark.parametrize("encoding", ["gzip", "X-GZip", "br", "zstd", "deflate", "identity, gzip"])
def test_a_plain_body_labelled_as_compressed_is_refused(encoding: str) -> None:
    assert read(content_encoding=encoding) is Failure.ENCODING_MALFORMED


@pytest.mark.parametrize(
    "magic", [gzip.compress(BODY), zstandard.compress(BODY), zlib.compress(BODY)]
)
def test_a_compressed_body_without_a_label_is_no_json(magic: bytes) -> None:
    assert read(magic) is Failure.BODY_NOT_UTF8
    assert isinstance(read(magic, ALL), Blob)


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
        "application/json; charset=",
        "application/json; charset",
    ],
)
def test_a_charset_that_may_be_another_is_refused(content_type: str) -> None:
    assert read(content_type=content_type) is Failure.CHARSET_UNSUPPORTED


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "application/json; charset=UTF-8",
        'application/json; charset="utf8"',
        "text/plain; charset=us-ascii; x",
        "application/octet-stream",
        "application/jsonx",
    ],
)
def test_the_content_type_is_not_believed(content_type: str) -> None:
    assert read(content_type=content_type) == json.loads(BODY)
    assert read(b"prompt=x", content_type=content_type) is Failure.BODY_MALFORMED


@pytest.mark.parametrize("claim", [FORM, MULTIPART, GRPC, "multipart/mixed", "application/jsonl"])
def test_what_looks_like_json_is_json_whatever_it_claims_to_be(claim: str) -> None:
    assert read(content_type=claim) == json.loads(BODY)
    assert read(b'{"a":1', content_type=claim) is Failure.BODY_MALFORMED


@pytest.mark.parametrize(
    ("claim", "body"),
    [
        (FORM, b"prompt=x"),
        (MULTIPART, PART),
        (GRPC, b"\0\0\0\0\0"),
        ("application/grpc-web-text", b"AAAAAAA="),
        ("application/grpc+json", b"\0\0\0\0\2{}"),
        ("multipart/mixed; boundary=b", PART),
    ],
)
def test_a_format_that_the_upstream_does_not_read_is_refused(claim: str, body: bytes) -> None:
    assert read(body, content_type=claim) is Failure.MEDIA_UNSUPPORTED


@pytest.mark.parametrize("body", [BODY, b"3", b"x"])
def test_json_is_refused_where_the_upstream_reads_something_else(body: bytes) -> None:
    forms = frozenset({Media.FORM})
    assert read(body, forms, content_type="application/json") is Failure.MEDIA_UNSUPPORTED


@pytest.mark.parametrize(
    "claim",
    ["application/json, text/plain", "application/json,application/json", f"{FORM}, {MULTIPART}"],
)
def test_two_content_types_are_ambiguous(claim: str) -> None:
    assert read(content_type=claim) is Failure.MEDIA_AMBIGUOUS


@pytest.mark.parametrize(
    ("claim", "body", "tree"),
    [
        ("application/x-ndjson", b'{"a":1}\n{"a":2}\n', [{"a": 1}, {"a": 2}]),
        ("application/jsonl; charset=utf-8", b'{"a":1}', [{"a": 1}]),
        ("application/vnd.api+json", b"null", None),
        ("", b'"text"', "text"),
        (FORM, b"a=b", [{"name": "a", "value": "b"}]),
        (MULTIPART, PART, [{"name": "n", "content": "v"}]),
        (GRPC, b"\0\0\0\0\0", [{}]),
        ("text/plain", "é".encode(), "é"),
        ("application/octet-stream", b"\xff", Blob(b"\xff")),
        ("", b"12", "12"),
    ],
)
def test_each_format_is_read_by_its_reader(claim: str, body: bytes, tree: Any) -> None:
    assert read(body, ALL, content_type=claim) == tree


@pytest.mark.parametrize(
    ("body", "value"),
    [(b"null", None), (b"true", True), (b"12.5", 12.5), (b'"hi"', "hi"), (b"[]", [])],
)
def test_a_scalar_is_a_body_too(body: bytes, value: Any) -> None:
    assert read(body) == value


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32-be"])
def test_json_in_another_encoding_is_not_passed_off_as_bytes(encoding: str) -> None:
    failure = read(' {"a":1}'.encode(encoding), ALL)
    assert failure in {Failure.BODY_NOT_UTF8, Failure.BODY_BYTE_ORDER_MARK}


@pytest.mark.parametrize("claim", [FORM, MULTIPART, GRPC, "text/plain", "", "multipart/mixed"])
def test_only_json_may_be_compressed_as_others_are_read_by_who_ignores_the_label(
    claim: str,
) -> None:
    """A lenient reader of multipart takes gzip's header for a preamble, and text in it for parts."""
    for body in (BODY, PART, b"a=b", b"\0\0\0\0\0"):
        coded = gzip.compress(body)
        found = read(coded, ALL, content_type=claim, content_encoding="gzip")
        assert found is Failure.ENCODING_UNSUPPORTED or found is Failure.MEDIA_UNSUPPORTED


@given(
    value=st.dictionaries(st.sampled_from("abc"), st.text(max_size=9) | st.integers(0, 9)),
    layers=st.lists(st.sampled_from(["gzip", "x-gzip", "deflate", "br", "zstd"]), max_size=3),
)
def test_a_body_compressed_in_any_way_says_what_it_says_plain(
    value: dict[str, Any], layers: list[str]
) -> None:
    plain = json.dumps(value).encode()
    body = plain
    for layer in layers:
        body = COMPRESS[layer](body)
    found = read(body, content_encoding=", ".join(layers) or "identity", content_type="text/json")
    assert found == parse(plain) == value


def test_the_limit_holds_for_what_comes_out() -> None:
    body = json.dumps("a" * 998).encode()
    assert read(gzip.compress(body), content_encoding="gzip") == "a" * 998
    over = gzip.compress(body + b" ")
    assert read(over, content_encoding="gzip") is Failure.BODY_TOO_LARGE
    assert read(gzip.compress(over), content_encoding="gzip, gzip") is Failure.BODY_TOO_LARGE


def test_who_plans_with_a_bodys_length_can_ask_whether_it_is_compressed() -> None:
    assert not is_coded({})
    assert not is_coded({"content-encoding": " Identity", "grpc-encoding": "identity"})
    assert is_coded({"content-encoding": "gzip"})
    assert is_coded({"grpc-encoding": "gzip"})


@pytest.mark.parametrize("header", ["8", "0"])
def test_tensors_are_refused_where_the_upstream_knows_none(header: str) -> None:
    found = read(inference_header_content_length=header)
    assert found is Failure.MEDIA_UNSUPPORTED


@pytest.mark.parametrize("claim", [FORM, MULTIPART, GRPC, "application/jsonl"])
def test_tensors_in_another_format_are_malformed(claim: str) -> None:
    found = read(b"{}", ALL, content_type=claim, inference_header_content_length="2")
    assert found is Failure.TENSOR_MALFORMED
