"""What no text classifier can read: named and left to the policy; and text that only looks so."""

import base64
import gzip
import io
import struct
import wave
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from tests.e2e.catalogue.case import ATTACK, FOUND, HONEST, Case, pair
from tests.e2e.catalogue.wire import Wire, chat_of, posted

DENIED = "403 uninspected"


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _data_url(media: str, data: bytes) -> str:
    return f"data:{media};base64,{_b64(data)}"


def _png() -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        check = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0\1\2\3")
    mark = b"\x89PNG\r\n\x1a\n"
    return mark + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def wav() -> bytes:
    """A sound of 16 ms."""
    target = io.BytesIO()
    with wave.open(target, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8_000)
        sound.writeframes(bytes(range(256)))
    return target.getvalue()


def _docx() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", f"<w:t>{ATTACK}</w:t>")
    return target.getvalue()


_PDF = b"%PDF-1.7\n1 0 obj\n<< /Length 9 >>\nstream\n\x9c\x8b\xff\x00\x81\x80\xfe\xc3\x28\nendstream\n%%EOF\n"
_NOISE = bytes((i * 197 + 41) % 256 for i in range(300))


def _with_part(part: dict[str, Any], text: str = HONEST) -> Wire:
    return chat_of([{"role": "user", "content": [{"type": "text", "text": text}, part]}])


def _image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def _file(data: str) -> dict[str, Any]:
    return {"type": "file", "file": {"filename": "a", "file_data": data}}


def _flagged(case_id: str, name: str, part: dict[str, Any], flags: str) -> list[Case]:
    """Let through and said so; the text beside it is read as ever."""
    return [
        Case(case_id, name, _with_part(part), f"200 {flags}"),
        Case(case_id, f"{name}-beside-an-attack", _with_part(part, ATTACK), FOUND, _with_part(part), f"200 {flags}"),
    ]  # fmt: skip


def _media() -> Iterator[Case]:
    yield from _flagged("B12", "png", _image(_data_url("image/png", _png())), "uninspected_image")
    yield from _flagged(
        "B12", "remote-image", _image("https://example.com/a.png"), "uninspected_remote"
    )
    audio = {"type": "input_audio", "input_audio": {"data": _b64(wav()), "format": "wav"}}
    yield from _flagged("B12", "wav", audio, "uninspected_audio")
    yield from _flagged(
        "B12", "file-id", {"type": "file", "file": {"file_id": "file-abc"}}, "uninspected_stored"
    )
    for name, media, data in (
        ("pdf", "application/pdf", _PDF),
        ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", _docx()),
        ("gzip", "application/gzip", gzip.compress(ATTACK.encode())),
        ("noise", "application/octet-stream", _NOISE),
        ("pdf-called-image", "image/png", _PDF),
    ):  # fmt: skip
        yield Case(
            "B12",
            name,
            _with_part(_file(_data_url(media, data))),
            DENIED,
            _with_part(_file(_data_url("text/plain", b"Hello"))),
        )
    source = {"type": "base64", "media_type": "application/pdf", "data": _b64(_PDF)}
    yield Case(
        "B12",
        "anthropic-pdf",
        _anthropic({"type": "document", "source": source}),
        DENIED,
        _anthropic({"type": "text", "text": HONEST}),
    )
    picture = {"type": "base64", "media_type": "image/png", "data": _b64(_png())}
    yield Case(
        "B12",
        "anthropic-png",
        _anthropic({"type": "image", "source": picture}),
        "200 uninspected_image",
    )
    inline = {"inlineData": {"mimeType": "image/png", "data": _b64(_png())}}
    yield Case("B12", "gemini-png", _gemini(inline), "200 uninspected_image")
    fetched = {"fileData": {"mimeType": "application/pdf", "fileUri": "gs://b/a.pdf"}}
    yield Case("B12", "gemini-file-uri", _gemini(fetched), "200 uninspected_remote")
    yield Case(
        "B12",
        "ollama-image",
        posted("/api/generate", {"model": "m", "prompt": HONEST, "images": [_b64(_png())]}),
        "200 uninspected_image",
    )


def _of_bytes(shape: Callable[[bytes], Wire]) -> Callable[[str], Wire]:
    return lambda text: shape(text.encode())


def _disguised_text() -> Iterator[Case]:
    """Text in base64 is text."""
    shapes: dict[str, Callable[[bytes], Wire]] = {
        "text-data-url": lambda data: _with_part(_file(_data_url("text/plain", data))),
        "html-data-url": lambda data: _with_part(_file(_data_url("text/html", b"<p>" + data))),
        "percent-data-url": lambda data: _with_part(_image("data:text/plain," + "".join(f"%{b:02x}" for b in data))),
        "text-called-image": lambda data: _with_part(_image(_data_url("image/png", data))),
        "svg": lambda data: _with_part(_image(_data_url("image/svg+xml", b"<svg><text>" + data + b"</text></svg>"))),
        "anthropic-base64-text": lambda data: _anthropic({"type": "document", "source": {"type": "base64", "media_type": "text/plain", "data": _b64(data)}}),
        "gemini-inline-text": lambda data: _gemini({"inlineData": {"mimeType": "text/plain", "data": _b64(data)}}),
    }  # fmt: skip
    for name, shape in shapes.items():
        yield pair("B12", name, _of_bytes(shape))


def _anthropic(block: dict[str, Any]) -> Wire:
    messages = [{"role": "user", "content": [block]}]
    return posted("/v1/messages", {"model": "m", "max_tokens": 9, "messages": messages})


def _gemini(part: dict[str, Any]) -> Wire:
    body = {"contents": [{"role": "user", "parts": [part]}]}
    return posted("/v1beta/models/gemini-2.0-flash:generateContent", body)


def _token_ids() -> Iterator[Case]:
    bodies: dict[str, tuple[str, dict[str, Any]]] = {
        "prompt": ("/v1/completions", {"model": "m", "prompt": [101, 7592, 102]}),
        "prompt-list": ("/v1/completions", {"model": "m", "prompt": [[101, 7592], [102]]}),
        "prompt-floats": ("/v1/completions", {"model": "m", "prompt": [101.0, 7592.0]}),
        "prompt-mixed": ("/v1/completions", {"model": "m", "prompt": ["Hi", [101, 7592]]}),
        "embeddings": ("/v1/embeddings", {"model": "m", "input": [[101, 7592, 102]]}),
        "ollama-context": ("/api/generate", {"model": "m", "prompt": "Hi", "context": [1, 2, 3]}),
        "vllm-generate": ("/v1/generate", {"model": "m", "token_ids": [1, 2, 3]}),
        "kserve-int64": ("/v2/models/m/infer", {"inputs": [{"name": "input_ids", "shape": [1, 5], "datatype": "INT64", "data": [1, 2, 3, 4, 5]}]}),
    }  # fmt: skip
    twins = {
        "/v1/completions": {"model": "m", "prompt": ["Hi", "there"]},
        "/v1/embeddings": {"model": "m", "input": ["Hi"]},
        "/api/generate": {"model": "m", "prompt": "Hi"},
        "/v1/generate": {"model": "m", "prompt": "Hi"},
        "/v2/models/m/infer": {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["Hi"]}]},
    }  # fmt: skip
    for name, (path, body) in bodies.items():
        yield Case("B11", name, posted(path, body), DENIED, posted(path, twins[path]))


def _references() -> Iterator[Case]:
    responses = {"model": "m", "input": HONEST}
    bodies: dict[str, tuple[str, dict[str, Any]]] = {
        "previous-response": ("/v1/responses", responses | {"previous_response_id": "resp_1"}),
        "conversation": ("/v1/responses", responses | {"conversation": "conv_1"}),
        "stored-prompt": ("/v1/responses", responses | {"prompt": {"id": "pmpt_1"}}),
        "input-file-id": ("/v1/responses", {"model": "m", "input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]}),
        "item-reference": ("/v1/responses", {"model": "m", "input": [{"type": "item_reference", "id": "msg_1"}]}),
        "cached-content": ("/v1beta/models/gemini-2.0-flash:generateContent", {"cachedContent": "cachedContents/1", "contents": []}),
        "batch": ("/v1/batches", {"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"}),
        "assistant": ("/v1/threads/thread_1/runs", {"assistant_id": "asst_1"}),
    }  # fmt: skip
    for name, (path, body) in bodies.items():
        yield Case("B13", name, posted(path, body), "200 uninspected_stored")
    remote = {"type": "mcp", "server_label": "s", "server_url": "https://tools.example.com"}
    yield Case(
        "B13",
        "remote-tools",
        posted("/v1/responses", responses | {"tools": [remote]}),
        "200 uninspected_remote",
    )


def _templates() -> Iterator[Case]:
    frame = {"model": "m", "messages": [{"role": "user", "content": HONEST}]}
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    for name, path, body in (
        ("chat-template", "/v1/chat/completions", frame | {"chat_template": template}),
        ("ollama-template", "/api/generate", {"model": "m", "prompt": "Hi", "template": "{{ .Prompt }}"}),
        ("ollama-modelfile", "/api/create", {"model": "m", "template": "{{ .Prompt }}"}),
    ):  # fmt: skip
        twin = {key: value for key, value in body.items() if "template" not in key}
        yield Case("B10", name, posted(path, body), "403 chat_template", posted(path, twin))


def cases() -> list[Case]:
    """All of this subject."""
    return [
        *_media(), *_disguised_text(), *_token_ids(), *_references(), *_templates(),
    ]  # fmt: skip
