"""Bodies that are no JSON, and text beside the body: forms, uploads, query strings, tensors."""

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from tests.e2e.catalogue.case import ATTACK, HONEST, Case, pair
from tests.e2e.catalogue.opaque import DENIED, wav
from tests.e2e.catalogue.wire import JSON_TYPE, Wire, posted


def _multipart(*parts: bytes, boundary: str = "XX", path: str = "/v1/files") -> Wire:
    edge = boundary.encode()
    body = (
        b"".join(b"--" + edge + b"\r\n" + part + b"\r\n" for part in parts)
        + b"--"
        + edge
        + b"--\r\n"
    )
    return Wire(path, body, (("content-type", f"multipart/form-data; boundary={boundary}"),))


def _part(disposition: str, content: str | bytes, *headers: str) -> bytes:
    lines = [f"content-disposition: form-data; {disposition}", *headers, "", ""]
    data = content.encode() if isinstance(content, str) else content
    return "\r\n".join(lines).encode() + data


def _jsonl(text: str) -> str:
    lines = [
        {"custom_id": str(i), "method": "POST", "url": "/v1/chat/completions",
         "body": {"messages": [{"role": "user", "content": text if i == 2 else "Hi"}]}}
        for i in range(4)
    ]  # fmt: skip
    return "\n".join(map(json.dumps, lines))


_PURPOSE = _part('name="purpose"', "batch")


def _upload(part: Callable[[str], bytes]) -> Callable[[str], Wire]:
    return lambda text: _multipart(_PURPOSE, part(text))


def _file_part(
    name: str, media: str, content: Callable[[str], str] = str
) -> Callable[[str], bytes]:
    where = f'name="file"; filename="{name}"'
    return lambda text: _part(where, content(text), f"content-type: {media}")


def _forms() -> Iterator[Case]:
    places: dict[str, Callable[[str], bytes]] = {
        "field": lambda text: _part('name="prompt"', text),
        "field-name": lambda text: _part(f'name="{text}"', "a"),
        "filename": lambda text: _part(f'name="file"; filename="{text}"', "Hello", "content-type: text/plain"),
        "text-file": _file_part("a.txt", "text/plain"),
        "text-file-called-audio": _file_part("a.wav", "audio/wav"),
        "part-header": lambda text: _part('name="a"', "b", f"x-note: {text}"),
        "json-part": lambda text: _part('name="a"', json.dumps({"a": text}), "content-type: application/json"),
    }  # fmt: skip
    for name, place in places.items():
        yield pair("B06", f"multipart-{name}", _upload(place))
    yield pair("B14", "jsonl", _upload(_file_part("b.jsonl", "application/jsonl", _jsonl)))
    yield pair(
        "B14", "jsonl-as-bytes", _upload(_file_part("b", "application/octet-stream", _jsonl))
    )
    yield Case("B12", "transcription", _transcription(HONEST), "200 uninspected_audio")
    yield pair("B12", "transcription-prompt", _transcription, twin_expected="200 uninspected_audio")


def _transcription(prompt: str) -> Wire:
    sound = _part('name="file"; filename="a.wav"', wav(), "content-type: audio/wav")
    return _multipart(sound, _part('name="prompt"', prompt), path="/v1/audio/transcriptions")


def _bad_multipart() -> Iterator[Case]:
    good = _multipart(_part('name="prompt"', ATTACK))
    twin = _multipart(_part('name="prompt"', HONEST))

    def labelled(content_type: str, body: bytes = good.body) -> Wire:
        return Wire("/v1/files", body, (("content-type", content_type),))

    nested = b"--YY\r\n" + _part('name="b"', ATTACK) + b"\r\n--YY--"
    malformed = "400 multipart_malformed"
    for name, wire in {
        "multipart-without-boundary": labelled("multipart/form-data"),
        "multipart-two-boundaries": labelled("multipart/form-data; boundary=XX; boundary=YY"),
        "multipart-other-boundary": labelled("multipart/form-data; boundary=ZZ"),
        "multipart-nested": _multipart(_part('name="a"', nested, "content-type: multipart/mixed; boundary=YY")),
        "multipart-cut-short": labelled("multipart/form-data; boundary=XX", good.body[:-8]),
        "multipart-preamble": labelled("multipart/form-data; boundary=XX", ATTACK.encode() + b"\r\n" + twin.body),
        "multipart-epilogue": labelled("multipart/form-data; boundary=XX", twin.body + ATTACK.encode()),
    }.items():  # fmt: skip
        yield Case("B06", name, wire, malformed, twin)


def _form(text: str) -> Wire:
    pairs = f"prompt={text.replace(' ', '+')}&n=1".encode()
    return Wire("/v1/made-up", pairs, (("content-type", "application/x-www-form-urlencoded"),))


def _percent(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


def _asked(query: Callable[[str], str], body: Any = None) -> Callable[[str], Wire]:
    """The text in the query string of a POST with that body, or of a GET."""
    if body is None:
        return lambda text: Wire(f"/v1/search?{query(text)}", headers=(), method="GET")
    return lambda text: posted(f"/v1/chat/completions?{query(text)}", body)


def _urlencoded() -> Iterator[Case]:
    yield pair("B06", "form", _form)
    yield pair("B06", "form-percent", lambda text: _form(_percent(text)))
    yield pair("B06", "form-key", lambda text: _form(f"a&{_percent(text)}=1"))
    bad = Wire("/v1/made-up", b"prompt=%zz" + ATTACK.encode(), _form("a").headers)
    yield Case("B06", "form-bad-escape", bad, "400 form_malformed", _form(HONEST))
    queries: dict[str, Callable[[str], str]] = {
        "plus": lambda text: f"prompt={text.replace(' ', '+')}",
        "percent": lambda text: f"prompt={_percent(text)}",
        "twice-percent": lambda text: f"prompt={_percent(_percent(text))}",
        "name": lambda text: f"{_percent(text)}=1",
        "second-of-a-name": lambda text: f"q=a&q={_percent(text)}",
        "escaped-semicolon": lambda text: f"a=b%3bprompt={_percent(text)}",
    }
    body = {"messages": [{"role": "user", "content": "Hi"}]}
    for name, query in queries.items():
        yield pair("B07", name, _asked(query, body))
        yield pair("B07", f"{name}-of-a-get", _asked(query))
    twin = Wire("/v1/search?q=%c3%a9", headers=(), method="GET")
    for name, of in {"bad-escape": "q=%ff%fe", "semicolon": "a=b;prompt="}.items():
        attack = replace(twin, path=f"/v1/search?{of}{_percent(ATTACK)}")
        yield Case("B07", name, attack, "400 query_malformed", twin)


def _tensors() -> Iterator[Case]:
    """KServe's binary extension: JSON, then the tensors' bytes."""

    def shape(text: str) -> Wire:
        data = struct.pack("<I", len(text)) + text.encode()
        tensor = {
            "name": "text",
            "shape": [1],
            "datatype": "BYTES",
            "parameters": {"binary_data_size": len(data)},
        }
        head = json.dumps({"inputs": [tensor]}).encode()
        length = ("inference-header-content-length", str(len(head)))
        return Wire("/v2/models/m/infer", head + data, (JSON_TYPE, length))

    yield pair("B11", "kserve-binary-text", shape)
    twin = shape(HONEST)
    ids = json.dumps(
        {
            "inputs": [
                {
                    "name": "ids",
                    "shape": [1, 2],
                    "datatype": "INT64",
                    "parameters": {"binary_data_size": 16},
                }
            ]
        }
    ).encode()
    length = ("inference-header-content-length", str(len(ids)))
    yield Case(
        "B11",
        "kserve-binary-ids",
        Wire("/v2/models/m/infer", ids + bytes(16), (JSON_TYPE, length)),
        DENIED,
        twin,
    )
    lying = ("inference-header-content-length", "9999")
    yield Case(
        "B11",
        "kserve-binary-lying-length",
        Wire("/v2/models/m/infer", shape(ATTACK).body, (JSON_TYPE, lying)),
        "400 tensor_malformed",
        twin,
    )


def cases() -> list[Case]:
    """All of this subject."""
    return [*_forms(), *_bad_multipart(), *_urlencoded(), *_tensors()]
