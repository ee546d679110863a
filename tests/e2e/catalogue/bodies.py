"""Bodies that could be read in two ways or not at all: charsets, compression, JSON, framing."""

import codecs
import gzip
import json
import struct
import zlib
from collections.abc import Callable

import brotli
import zstandard

from tests.e2e.catalogue.case import ATTACK, FOUND, HONEST, Case, pair
from tests.e2e.catalogue.wire import JSON_TYPE, Wire, chat

Squeeze = Callable[[bytes], bytes]
_MIB = 1024 * 1024


def _body(text: str) -> bytes:
    return chat(text).body


def _as(content_type: str | None, body: bytes, *headers: tuple[str, str]) -> Wire:
    label = (("content-type", content_type),) if content_type is not None else ()
    return Wire(body=body, headers=(*label, *headers))


def _in_charset(codec: str, mark: bytes = b"", label: str = "") -> Callable[[str], Wire]:
    content_type = f"application/json; charset={label}" if label else "application/json"
    return lambda text: _as(content_type, mark + _body(text).decode().encode(codec))


def _charsets() -> list[Case]:
    """UTF-8 alone is read. The honest twin is the same JSON in UTF-8, labelled and not."""
    plain = chat(HONEST)
    marked = {
        "utf16le": ("utf-16-le", b""),
        "utf16be": ("utf-16-be", b""),
        "utf32le": ("utf-32-le", b""),
        "utf32be": ("utf-32-be", b""),
    }
    marks = {
        "utf16le-bom": ("utf-16-le", codecs.BOM_UTF16_LE),
        "utf16be-bom": ("utf-16-be", codecs.BOM_UTF16_BE),
        "utf32le-bom": ("utf-32-le", codecs.BOM_UTF32_LE),
        "utf32be-bom": ("utf-32-be", codecs.BOM_UTF32_BE),
    }
    bare = [
        Case("A06", name, _in_charset(*how)(ATTACK), "400 body_not_utf8", plain)
        for name, how in marked.items()
    ]
    # A mark says which charset it is, and that it is none of ours.
    with_mark = [
        Case("A06", name, _in_charset(*how)(ATTACK), "400 body_byte_order_mark", plain)
        for name, how in marks.items()
    ]
    labelled = [
        Case("B04", f"{label}-label-over-utf8", _in_charset("utf-8", label=label)(ATTACK),
             "415 charset_unsupported", _in_charset("utf-8", label="utf-8")(HONEST))
        for label in ("utf-16", "utf-7", "ibm037", "iso-8859-1", "utf-32", "UTF8;charset=utf-16")
    ]  # fmt: skip
    honest = [
        pair("B04", f"label-{label}", _in_charset("utf-8", label=label))
        for label in ("utf-8", "UTF-8", '"utf-8"', "us-ascii")
    ]
    lying = Case(
        "B04", "utf16-bytes-labelled-utf8", _in_charset("utf-16-le", label="utf-8")(ATTACK),
        "400 body_not_utf8", plain,
    )  # fmt: skip
    ebcdic = Case(
        "B04", "ibm037-bytes", _in_charset("cp037", label="ibm037")(ATTACK),
        "415 charset_unsupported", plain,
    )  # fmt: skip
    return [*bare, *with_mark, *labelled, *honest, lying, ebcdic]


def _raw_deflate(data: bytes) -> bytes:
    squeezer = zlib.compressobj(wbits=-15)
    return squeezer.compress(data) + squeezer.flush()


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


def _zstd_frames(data: bytes) -> bytes:
    return _zstd(data[:20]) + _zstd(data[20:])


def _gzip_members(data: bytes) -> bytes:
    return gzip.compress(data[:20]) + gzip.compress(data[20:])


def _encoded(label: str, *squeezes: Squeeze, tail: bytes = b"") -> Callable[[str], Wire]:
    def shape(text: str) -> Wire:
        body = _body(text)
        for squeeze in squeezes:
            body = squeeze(body)
        return _as("application/json", body + tail, ("content-encoding", label))

    return shape


def _compression() -> list[Case]:
    read: dict[str, tuple[str, list[Squeeze]]] = {
        "gzip": ("gzip", [gzip.compress]),
        "x-gzip": ("x-gzip", [gzip.compress]),
        "upper-case-label": ("GZIP", [gzip.compress]),
        "deflate": ("deflate", [zlib.compress]),
        "br": ("br", [brotli.compress]),
        "zstd": ("zstd", [_zstd]),
        "gzip-multi-member": ("gzip", [_gzip_members]),
        "zstd-multi-frame": ("zstd", [_zstd_frames]),
        "gzip-gzip": ("gzip, gzip", [gzip.compress, gzip.compress]),
        "br-in-gzip": ("br, gzip", [brotli.compress, gzip.compress]),
        "identity": ("identity", []),
    }
    found = [pair("A08", name, _encoded(label, *how)) for name, (label, how) in read.items()]
    return [*found, *_bad_compression()]


def _bad_compression() -> list[Case]:
    zipped = _encoded("gzip", gzip.compress)
    twin = zipped(HONEST)
    bad = {
        "trailing-bytes": (_encoded("gzip", gzip.compress, tail=b"trailing"), "400 encoding_malformed"),
        "cut-short": (lambda text: _as("application/json", zipped(text).body[:-9], ("content-encoding", "gzip")), "400 encoding_malformed"),
        "deflate-raw": (_encoded("deflate", _raw_deflate), "400 encoding_malformed"),
        "br-labelled-gzip": (_encoded("gzip", brotli.compress), "400 encoding_malformed"),
        "plain-labelled-gzip": (_encoded("gzip"), "400 encoding_malformed"),
        "unlabelled-gzip": (lambda text: _as("application/json", zipped(text).body), "400 body_not_utf8"),
        "unknown-label": (_encoded("compress"), "415 encoding_unsupported"),
        "one-known-one-unknown": (_encoded("gzip, pack200", gzip.compress), "415 encoding_unsupported"),
        "wrong-order": (_encoded("gzip, br", brotli.compress, gzip.compress), "400 encoding_malformed"),
    }  # fmt: skip
    two_lines = _as("application/json", zipped(ATTACK).body, ("content-encoding", "gzip"), ("content-encoding", "gzip"))  # fmt: skip
    return [
        *(Case("A08", name, shape(ATTACK), expected, twin) for name, (shape, expected) in bad.items()),
        Case("A08", "labelled-twice-encoded-once", two_lines, "400 encoding_malformed", twin),
    ]  # fmt: skip


def _bombs() -> list[Case]:
    zeros = b" " * (64 * _MIB)
    small = b" " * (1 * _MIB) + _body(HONEST)
    squeezes: dict[str, Squeeze] = {
        "gzip": lambda data: gzip.compress(data, 9),
        "deflate": zlib.compress,
        "br": lambda data: brotli.compress(data, quality=3),
        "zstd": _zstd,
    }
    return [
        Case("A19", name, _as("application/json", squeeze(zeros), ("content-encoding", name)),
             "413 body_too_large", _as("application/json", squeeze(small), ("content-encoding", name)))
        for name, squeeze in squeezes.items()
    ]  # fmt: skip


def _raw_json(name: str, case_id: str, attack: str | bytes, expected: str, twin: str = "") -> Case:
    body = attack.encode() if isinstance(attack, str) else attack
    return Case(
        case_id, name, Wire(body=body), expected, Wire(body=twin.encode()) if twin else chat(HONEST)
    )


def _messages(text: str, extra: str = "") -> str:
    return f'{{"messages":[{{"role":"user","content":"{text}"}}]{extra}}}'


def _escaped(text: str) -> str:
    return "".join(f"\\u{ord(char):04x}" for char in text)


def _json() -> list[Case]:
    hi = _messages("Hi")
    evil = f'"messages":[{{"role":"user","content":"{ATTACK}"}}]'
    malformed, duplicate = "400 body_malformed", "400 body_duplicate_key"
    return [
        _raw_json("duplicate-last", "B01", f'{hi[:-1]},{evil}}}', duplicate),
        _raw_json("duplicate-first", "B01", f'{{{evil},{hi[1:]}', duplicate),
        _raw_json("duplicate-escaped", "B01", hi[:-1] + "," + evil.replace('"m', '"\\u006d', 1) + "}", duplicate),
        _raw_json("duplicate-other-case", "B01", hi[:-1] + "," + evil.replace('"messages', '"MESSAGES') + "}", duplicate),
        _raw_json("duplicate-content", "B01", hi.replace('"Hi"', f'"Hi","content":"{ATTACK}"'), duplicate),
        _raw_json("duplicate-long-s", "B01", hi[:-1] + "," + evil.replace('"messages', '"me\u017f\u017fages') + "}", duplicate),
        _raw_json("other-case-alone", "B01", _messages(ATTACK).replace("messages", "MESSAGES"), FOUND, _messages(HONEST).replace("messages", "MESSAGES")),
        _raw_json("nan", "B02", _messages(ATTACK, ',"temperature":NaN'), malformed, _messages(HONEST, ',"temperature":1')),
        _raw_json("infinity", "B02", _messages(ATTACK, ',"temperature":-Infinity'), malformed),
        _raw_json("huge-exponent", "B02", _messages(ATTACK, ',"temperature":1e999'), "400 body_number_too_large", _messages(HONEST, ',"temperature":1e9')),
        _raw_json("lone-surrogate", "B02", _messages(ATTACK + "\\ud800"), malformed, _messages(HONEST + "\\ud83d\\ude00")),
        _raw_json("encoded-surrogate", "B02", _messages(ATTACK + "@").encode().replace(b"@", b"\xed\xa0\x80"), "400 body_not_utf8", _messages(HONEST + "\U0001f600")),
        _raw_json("invalid-byte", "B02", _messages(ATTACK + "@").encode().replace(b"@", b"\xff"), "400 body_not_utf8"),
        _raw_json("overlong", "B02", _messages(ATTACK + "@").encode().replace(b"@", b"\xc1\xa1"), "400 body_not_utf8"),
        _raw_json("cut-sequence", "B02", _messages(ATTACK + "@").encode().replace(b"@", b"\xe2\x82"), "400 body_not_utf8", _messages(HONEST + "\u20ac")),
        _raw_json("bom", "B03", codecs.BOM_UTF8 + _messages(ATTACK).encode(), "400 body_byte_order_mark", _messages(HONEST)),
        _raw_json("bom-in-string", "B03", _messages(f"\ufeff{ATTACK}"), FOUND, _messages(f"\ufeff{HONEST}")),
        _raw_json("bom-inside-the-word", "B03", _messages("\ufeff".join(ATTACK)), FOUND, _messages("\ufeff".join(HONEST))),
        _raw_json("unicode-escapes", "B02", _messages(_escaped(ATTACK)), FOUND, _messages(_escaped(HONEST))),
        _raw_json("comment", "B02", "/* hi */" + _messages(ATTACK), malformed),
        _raw_json("trailing-comma", "B02", _messages(ATTACK)[:-1] + ",}", malformed),
        _raw_json("two-documents", "B02", _messages("Hi") + _messages(ATTACK), malformed),
        _raw_json("two-lines", "B02", _messages("Hi") + "\n" + _messages(ATTACK), malformed),
        _raw_json("raw-newline-in-string", "B02", _messages(ATTACK + "\n"), malformed, _messages(HONEST + "\\n")),
        _raw_json("nul-byte-behind", "B02", _messages(ATTACK) + "\0", malformed, _messages(HONEST) + "\n"),
        _raw_json("single-quotes", "B02", _messages(ATTACK).replace('"', "'"), malformed),
        _raw_json("white-space-around", "B02", f"\r\n\t {_messages(ATTACK)} \n", FOUND, f"\r\n\t {_messages(HONEST)} \n"),
    ]  # fmt: skip


def _nested(depth: int, text: str) -> str:
    return "[" * depth + f'"{text}"' + "]" * depth


def _shapes() -> list[Case]:
    complex_, number = "400 body_too_complex", "400 body_number_too_large"
    keys = ",".join(f'"k{index}":{index}' for index in range(210_000))
    few = ",".join(f'"k{index}":{index}' for index in range(500))
    return [
        _raw_json("empty-lists", "B29", "[" + "[]," * (4 * _MIB // 3) + "[]]", complex_, "[[],[],[]]"),
        _raw_json("many-keys", "B29", f"{{{keys}}}", complex_, f"{{{few}}}"),
        _raw_json("depth-65", "B29", _nested(65, ATTACK), complex_, _nested(64, HONEST)),
        _raw_json("depth-64", "B29", _nested(64, ATTACK), FOUND, _nested(64, HONEST)),
        _raw_json("depth-1200", "B29", _nested(1_200, ATTACK), complex_),
        _raw_json("depth-100k", "B29", _nested(100_000, ATTACK), complex_),
        _raw_json("million-digits", "B29", _messages(ATTACK, ',"seed":' + "9" * _MIB), number, _messages(HONEST, ',"seed":9')),
        _raw_json("two-to-the-64", "B29", _messages(ATTACK, f',"seed":{2**64}'), number, _messages(HONEST, f',"seed":{2**63 - 1}')),
        _raw_json("empty-object", "C09", "{}", "200", "{}"),
        _raw_json("empty-list", "C09", "[]", "200", "[]"),
        _raw_json("null", "C09", "null", "200", "null"),
        _raw_json("string", "C09", json.dumps(ATTACK), FOUND, json.dumps(HONEST)),
        Case("C09", "empty-body", Wire(body=b""), "200", Wire(body=b"")),
        _raw_json("blanks-alone", "C09", "   ", "400 body_malformed", "{}"),
    ]  # fmt: skip


def _labels() -> list[Case]:
    """The content type is the client's claim: what is there is read as what the endpoint reads."""
    labels = {
        "none": None,
        "text-plain": "text/plain",
        "jsonx": "application/jsonx",
        "octet-stream": "application/octet-stream",
        "vendor-json": "application/vnd.api+json",
        "upper-case": "APPLICATION/JSON",
        "nonsense": "json",
        "parameter": "application/json; boundary=x",
        "html": "text/html",
        "form": "application/x-www-form-urlencoded",
        "multipart": "multipart/form-data; boundary=x",
    }

    def shape(label: str | None) -> Callable[[str], Wire]:
        return lambda text: _as(label, _body(text))

    twice = _as("application/json", _body(ATTACK), ("content-type", "text/plain"))
    return [
        *(pair("B05", name, shape(label)) for name, label in labels.items()),
        Case("B05", "two-content-types", twice, "400 media_ambiguous", chat(HONEST)),
    ]  # fmt: skip


def _chunked(text: str) -> Wire:
    return Wire(body=_body(text), chunk=7)


def _framing() -> list[Case]:
    """What an HTTP/1.1 parser must not be talked into. Envoy answers these alone."""
    body = _body(ATTACK)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: llm.test\r\n"
    size = b"content-length: %d\r\n" % len(body)
    chunked = b"transfer-encoding: chunked\r\n"
    chunks = Wire(body=body, chunk=9).encode().partition(b"\r\n\r\n")[2]
    twin = chat(HONEST)
    bad = {
        "length-and-chunked": head + size + chunked + b"\r\n" + chunks,
        "two-lengths": head + size + b"content-length: 3\r\n\r\n" + body,
        "obfuscated-chunked": head + b"transfer-encoding: xchunked\r\n\r\n" + chunks,
        "negative-length": head + b"content-length: -1\r\n\r\n" + body,
        "blank-in-name": head + b"content-length : 5\r\n\r\n" + body,
    }
    statuses = {"obfuscated-chunked": "501 -"}
    absolute = b"POST http://llm.test/v1/chat/completions HTTP/1.1\r\nhost: other.test\r\n"
    expect = (JSON_TYPE, ("expect", "100-continue"))
    trailers = Wire(body=body, chunk=9).encode()[:-2] + b"x-user: admin\r\n\r\n"
    return [
        *(Case("C01", name, Wire(raw=raw), statuses.get(name, "400 -"), twin) for name, raw in bad.items()),
        Case("C01", "absolute-uri", Wire(raw=absolute + size + b"\r\n" + body), FOUND, twin),
        pair("C01", "chunked", _chunked),
        pair("C01", "folded-header", _folded),
        Case("C02", "expect-continue", Wire(body=body, headers=expect), FOUND, Wire(body=_body(HONEST), headers=expect)),
        Case("C03", "trailers", Wire(raw=trailers), FOUND, _chunked(HONEST)),
        Case("C08", "h2c-upgrade", Wire(body=body, headers=_H2C), FOUND, chat(HONEST)),
    ]  # fmt: skip


def _folded(text: str) -> Wire:
    return Wire(
        body=_body(text), headers=(("content-type", "application/json;\r\n charset=utf-8"),)
    )


_H2C = (
    JSON_TYPE,
    ("connection", "upgrade, http2-settings"),
    ("upgrade", "h2c"),
    ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA"),
)


def _model_infer(text: str) -> bytes:
    """KServe's ModelInferRequest: model_name, and one BYTES tensor with the text as its content."""
    contents = b"\x42" + bytes([len(text)]) + text.encode()
    shape = b"\x1a\x01\x01"
    tensor = _field(1, b"text") + _field(2, b"BYTES") + shape + _field(5, contents)
    return _field(1, b"m") + _field(5, tensor)


def _field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2, len(value)]) + value


def _grpc(frames: bytes, *more: tuple[str, str]) -> Wire:
    headers = (("content-type", "application/grpc"), ("te", "trailers"), *more)
    return Wire("/inference.GRPCInferenceService/ModelInfer", frames, headers)


def _frame(message: bytes, *, flag: int = 0) -> bytes:
    return struct.pack(">BI", flag, len(message)) + message


def _squeezed(text: str) -> Wire:
    frame = _frame(gzip.compress(_model_infer(text)), flag=1)
    return _grpc(frame, ("grpc-encoding", "gzip"))


def _grpc_cases() -> list[Case]:
    attack, twin = _model_infer(ATTACK), _grpc(_frame(_model_infer(HONEST)))
    malformed = "grpc 13 grpc_malformed"
    return [
        pair("C04", "model-infer", lambda text: _grpc(_frame(_model_infer(text))), "grpc 7 prompt_injection"),
        pair("C04", "two-messages", lambda text: _grpc(_frame(_model_infer("Hi")) + _frame(_model_infer(text))), "grpc 7 prompt_injection"),
        pair("C04", "compressed", _squeezed, "grpc 7 prompt_injection"),
        Case("C04", "length-too-long", _grpc(struct.pack(">BI", 0, 9_999) + attack), malformed, twin),
        Case("C04", "bytes-behind", _grpc(_frame(attack) + b"\x01"), malformed, twin),
        Case("C04", "unknown-flag", _grpc(_frame(attack, flag=7)), malformed, twin),
        Case("C04", "compressed-without-encoding", _grpc(_frame(gzip.compress(attack), flag=1)), malformed, twin),
        Case("C04", "not-protobuf", _grpc(_frame(b"\xff" + attack)), malformed, twin),
    ]  # fmt: skip


def cases() -> list[Case]:
    """All of this subject."""
    return [
        *_charsets(), *_compression(), *_bombs(), *_json(), *_shapes(), *_labels(), *_framing(),
        *_grpc_cases(),
    ]  # fmt: skip
