"""Multipart forms: cut up as every server would, every word of every part kept."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extauthz.core.body import read_body
from extauthz.core.body.json_text import MAX_KEYS, MAX_MEMBERS
from extauthz.core.call import Call
from extauthz.core.media import Media
from extauthz.core.opaque import Blob
from extauthz.core.reasons import Failure

NAMED = 'Content-Disposition: form-data; name="n"'
FILE = 'Content-Disposition: form-data; name="file"; filename="{}"'


def part(*headers: str, content: bytes = b"v") -> bytes:
    return "".join(f"{header}\r\n" for header in headers).encode() + b"\r\n" + content


def whole(*parts: bytes, boundary: str = "b") -> bytes:
    delimiter = b"--" + boundary.encode()
    return b"".join(delimiter + b"\r\n" + each + b"\r\n" for each in parts) + delimiter + b"--\r\n"


def read(body: bytes, parameters: str = "boundary=b") -> Any:
    headers = {"content-type": f"multipart/form-data; {parameters}"}
    return read_body(Call(body=body, headers=headers), frozenset({Media.MULTIPART}), 2**24)


def content(data: bytes, *headers: str) -> Any:
    found = read(whole(part(*(headers or (FILE.format("a.txt"),)), content=data)))
    return found if isinstance(found, Failure) else found[0]["content"]


def test_every_word_of_a_parts_headers_is_kept() -> None:
    found = read(
        whole(
            part(NAMED, content=b"text"),
            part(FILE.format("é.txt"), "Content-Type: text/plain; charset=utf-8", "X-Note: words"),
        )
    )
    assert found == [
        {"name": "n", "content": "text"},
        {
            "name": "file",
            "filename": "é.txt",
            "content_type": "text/plain; charset=utf-8",
            "headers": {"x-note": "words"},
            "content": "v",
        },
    ]


@pytest.mark.parametrize(
    ("data", "tree"),
    [
        (b"", ""),
        (b"plain\r\ntext", "plain\r\ntext"),
        (b'{"a":["b"]}', {"a": ["b"]}),
        (b'{"a":1}\n{"a":2}\n', [{"a": 1}, {"a": 2}]),
        (b"RIFF\xff\xfe", Blob(b"RIFF\xff\xfe")),
        (b"i\0g\0n\0", ["i\0g\0n\0", Blob(b"i\0g\0n\0")]),
        (b'"name","age"\n"x","1"', '"name","age"\n"x","1"'),
        (b"[note] a text", "[note] a text"),
        (b"[\xff\xfe", Blob(b"[\xff\xfe")),
    ],
)
def test_a_content_is_json_or_text_or_bytes(data: bytes, tree: Any) -> None:
    assert content(data) == tree


@pytest.mark.parametrize(
    ("data", "failure"),
    [
        (b'{"a":1,"a":2}', Failure.BODY_DUPLICATE_KEY),
        (b'{"a":1}\n{"a":1,"A":2}', Failure.BODY_DUPLICATE_KEY),
        (b"[18446744073709551616]", Failure.BODY_NUMBER_TOO_LARGE),
        (b"[" * 65 + b"]" * 65, Failure.BODY_TOO_COMPLEX),
    ],
)
def test_a_content_that_parsers_of_json_read_differently_is_refused(
    data: bytes, failure: Failure
) -> None:
    assert content(data) is failure


@pytest.mark.parametrize(
    "headers",
    [
        (FILE.format("batch.jsonl"),),
        (FILE.format("A.JSON"),),
        (NAMED, "Content-Type: application/json"),
        (FILE.format("a"), "Content-Type: application/jsonl"),
    ],
)
@pytest.mark.parametrize(
    ("data", "failure"),
    [
        (b'{"a":NaN}', Failure.BODY_MALFORMED),
        (b'{"a":1}\nx', Failure.BODY_MALFORMED),
        (b'{"a":"\xff"}', Failure.BODY_NOT_UTF8),
        (b'\xef\xbb\xbf{"a":1}', Failure.BODY_BYTE_ORDER_MARK),
        ('{"a":1}'.encode("utf-16-le"), Failure.BODY_NOT_UTF8),
    ],
)
def test_a_part_that_claims_to_be_json_must_be(
    headers: tuple[str, ...], data: bytes, failure: Failure
) -> None:
    assert content(data, *headers) is failure


def test_a_file_of_lines_may_have_more_keys_than_one_document() -> None:
    assert content(b'{"a":1}\n' * (MAX_KEYS + 1)) == [{"a": 1}] * (MAX_KEYS + 1)
    document = b"[" + b'{"a":1},\n' * MAX_KEYS + b'{"a":1}]'
    assert content(document) is Failure.BODY_TOO_COMPLEX


def test_a_field_that_is_no_file_must_be_text() -> None:
    """Starlette reads such a field as latin-1."""
    assert content(b"ignore \xff", NAMED) is Failure.BODY_NOT_UTF8


def test_a_file_without_a_name_is_a_field() -> None:
    """To Go, which hands it over as a string."""
    assert content(b"BM ignore \xff", FILE.format("")) is Failure.BODY_NOT_UTF8
    assert content(b"text", FILE.format("")) == "text"


@pytest.mark.parametrize("name", ["a.jsonl", "a.JSONL ", "a.ndjson"])
def test_a_file_of_one_line_has_lines(name: str) -> None:
    assert content(b'{"body":{}}', FILE.format(name)) == [{"body": {}}]
    assert content(b'{"body":{}}', FILE.format("a.json")) == {"body": {}}
    assert content(b'{"a":1}', FILE.format("a"), "Content-Type: application/jsonl") == [{"a": 1}]


MALFORMED: dict[str, bytes] = {
    "no part": b"--b--\r\n",
    "nothing but text": b"hello",
    "a preamble": b"text\r\n" + whole(part(NAMED)),
    "an empty preamble": b"\r\n" + whole(part(NAMED)),
    "an epilogue": whole(part(NAMED)) + b"text",
    "an epilogue with a part": whole(part(NAMED)) + whole(part(NAMED)),
    "a cut last delimiter": whole(part(NAMED))[:-5],
    "no last delimiter": whole(part(NAMED))[:-7],
    "a delimiter with more behind it": whole(part(NAMED, content=b"x\r\n--bc\r\n")),
    "a delimiter behind a bare newline": whole(part(NAMED, content=b"x\n--b\n" + part(NAMED))),
    "a delimiter in a text": whole(part(NAMED, content=b"x --b")),
    "space behind a delimiter": whole(part(NAMED)).replace(b"--b\r\n", b"--b \r\n", 1),
    "bare newlines": whole(part(NAMED)).replace(b"\r\n", b"\n"),
    "no headers": whole(part()),
    "no name": whole(part("Content-Disposition: form-data")),
    "no disposition": whole(part("Content-Type: text/plain")),
    "another disposition": whole(part('Content-Disposition: attachment; name="n"')),
    "two dispositions": whole(part(NAMED, 'Content-Disposition: form-data; name="m"')),
    "two names": whole(part(NAMED + '; name="m"')),
    "an extended filename": whole(part(FILE.format("a") + "; filename*=UTF-8''b")),
    "an extended name": whole(part("Content-Disposition: form-data; name*=UTF-8''n")),
    "an escaped quote": whole(part('Content-Disposition: form-data; name="a\\"b"')),
    "a bare name": whole(part("Content-Disposition: form-data; name=n")),
    "a folded header": whole(part("Content-Disposition: form-data;", ' name="n"')),
    "a header without colon": whole(part(NAMED, "x")),
    "a header that is no UTF-8": whole(part(NAMED)).replace(b'"n"', b'"\xff"'),
    "base64": whole(part(NAMED, "Content-Transfer-Encoding: base64")),
    "quoted-printable": whole(part(NAMED, "Content-Transfer-Encoding: Quoted-Printable")),
    "a part in another charset": whole(part(NAMED, "Content-Type: text/plain; charset=utf-7")),
    "two content types": whole(part(NAMED, "Content-Type: text/plain, application/json")),
    "a nested multipart": whole(part(NAMED, "Content-Type: multipart/mixed; boundary=c")),
    "a nested form": whole(part(NAMED, "Content-Type: multipart/form-data; boundary=c")),
    "a wrong length": whole(part(NAMED, "Content-Length: 7")),
    "nine headers": whole(part(NAMED, *(f"X-{n}: y" for n in range(8)))),
    "a header of 8 KB": whole(part(NAMED, "X-A: " + "y" * 8192)),
    "fields in another charset": whole(
        part('Content-Disposition: form-data; name="_charset_"', content=b"utf-16")
    ),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_a_body_that_servers_cut_up_differently_is_malformed(body: bytes) -> None:
    assert read(body) is Failure.MULTIPART_MALFORMED


@pytest.mark.parametrize(
    "parameters",
    [
        "",
        "boundary=",
        'boundary=""',
        "boundary=c",
        "boundary=b; boundary=c",
        "boundary=b; boundary=b",
        "boundary=b; boundary*=UTF-8''c",
        "boundary*=UTF-8''b",
        'boundary="b',
        'boundary="b\\""',
        "boundary=b; x=y",
        "boundary=" + "b" * 71,
        "boundary=b b ",
    ],
)
def test_a_boundary_that_servers_read_differently_is_malformed(parameters: str) -> None:
    assert read(whole(part(NAMED)), parameters) is Failure.MULTIPART_MALFORMED


@pytest.mark.parametrize(
    "parameters", ["boundary=b", 'boundary="b"', "BOUNDARY=b; charset=utf-8", " boundary=b "]
)
def test_a_plain_boundary_is_read(parameters: str) -> None:
    assert read(whole(part(NAMED)), parameters) == [{"name": "n", "content": "v"}]


@pytest.mark.parametrize("end", [b"--b--", b"--b--\r\n"])
def test_the_last_newline_may_be_missing(end: bytes) -> None:
    body = b"--b\r\n" + part(NAMED) + b"\r\n"
    assert read(body + end) == [{"name": "n", "content": "v"}]


@pytest.mark.parametrize("encoding", ["7bit", "8bit", "BINARY"])
def test_an_encoding_that_changes_nothing_is_read(encoding: str) -> None:
    assert content(b"v", NAMED, f"Content-Transfer-Encoding: {encoding}") == "v"


def test_more_parts_than_servers_read_are_refused() -> None:
    assert len(read(whole(*[part(NAMED)] * 500))) == 500
    assert read(whole(*[part(NAMED)] * 501)) is Failure.BODY_TOO_COMPLEX


def test_parts_together_have_no_more_members_than_a_body_may_have() -> None:
    json = b"[" + b"1," * (MAX_MEMBERS // 10) + b"1]"
    assert read(whole(*[part(NAMED, content=json)] * 10)) is Failure.BODY_TOO_COMPLEX


@settings(max_examples=40)
@given(
    contents=st.lists(
        st.binary(max_size=20).filter(lambda data: b"--b" not in data), min_size=1, max_size=3
    )
)
def test_what_is_put_in_as_files_comes_out(contents: list[bytes]) -> None:
    found = read(whole(*(part(FILE.format("a"), content=data) for data in contents)))
    if isinstance(found, list):
        assert len(found) == len(contents)
    for data in contents:
        if not data.lstrip().startswith((b"{", b"[", b'"')) and b"\0" not in data:
            text = data.decode("utf-8", "ignore")
            assert content(data) == (text if text.encode() == data else Blob(data))


TOKENS = [b"--b", b"--", b"\r\n", b"\n", b"x", NAMED.encode()]


@given(body=st.lists(st.sampled_from(TOKENS), min_size=1))
def test_any_text_gives_a_failure_or_parts(body: list[bytes]) -> None:
    found = read(b"".join(body))
    assert isinstance(found, list | Failure)
