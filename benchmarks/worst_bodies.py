"""The catalogue of worst bodies: what a hostile client sends to make one check as dear as it can."""

import base64
import gzip
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import brotli
import zstandard

_CHAT: Final = "/v1/chat/completions"
_JSON: Final = "application/json"
_BOUNDARY: Final = "worst"


@dataclass(frozen=True, slots=True)
class Body:
    """A request body, what is said of it, and how many bytes a reader makes of it."""

    data: bytes
    size: int
    path: str = _CHAT
    headers: Mapping[str, str] = field(default_factory=dict)


def catalogue() -> dict[str, Callable[[int], Body]]:
    """Makers of bodies by name; each is given the bytes that the decoded body may have."""
    makers: dict[str, Callable[[int], Body]] = {
        f"chat: {name}": _chat(make) for name, make in _TEXTS.items()
    }
    makers |= {f"json: {name}": _json(make) for name, make in _SHAPES.items()}
    return makers | _CODED | _OTHER


def _fill(unit: str, count: int) -> str:
    """`unit` over and over, at most `count` bytes of UTF-8, never cut inside."""
    return unit * (count // len(unit.encode()))


def _chat(make: Callable[[int], str]) -> Callable[[int], Body]:
    """The user's message is the text; written as raw UTF-8, or as the maker escaped it."""

    def body(size: int) -> Body:
        head, tail = b'{"model":"m","messages":[{"role":"user","content":"', b'"}]}'
        data = head + make(size - len(head) - len(tail)).encode() + tail
        return Body(data, len(data), headers={"content-type": _JSON})

    return body


def _json(make: Callable[[int], str]) -> Callable[[int], Body]:
    def body(size: int) -> Body:
        data = make(size).encode()
        return Body(data, len(data), headers={"content-type": _JSON})

    return body


def _prose(size: int) -> str:
    generator = random.Random(7)
    words = ["river", "garden", "letter", "the", "a", "of", "morning", "friend", "quiet", "was"]
    return " ".join(generator.choice(words) for _ in range(size // 7))[:size]


def _random_letters(size: int) -> str:
    """Distinct words everywhere: nothing that was seen before helps."""
    return base64.b32encode(random.Random(7).randbytes(size * 5 // 8 - 8)).decode()


def _nested_base64(size: int) -> str:
    data = _prose(int(size * 27 / 64) - 64).encode()
    for _ in range(3):
        data = base64.b64encode(data)
    return data.decode()


def _members(size: int) -> int:
    """As many members as a body of this size may hold; more is refused before it is built."""
    return min(199_000, size // 3)


def _padded(short: str, size: int) -> str:
    """Blanks until the body is full: the text costs nothing, reading past it might."""
    return short[:-1] + " " * (size - len(short)) + short[-1]


#: Texts of one user message. All are valid inside a JSON string.
_TEXTS: Final[dict[str, Callable[[int], str]]] = {
    "prose": _prose,
    "one endless word": lambda n: "a" * n,
    "random words": _random_letters,
    "CJK": lambda n: _fill("漢字仮名交文", n),
    "astral letters": lambda n: _fill("𝐢𝐠𝐧𝐨𝐫𝐞", n),
    "backslash escapes": lambda n: _fill("\\n\\t", n),
    "unicode escapes": lambda n: _fill("\\u0061\\u4e2d", n),
    "surrogate escapes": lambda n: _fill("\\ud83d\\ude00", n),
    "NFKC growth U+FDFA": lambda n: _fill("\ufdfa", n),
    "NFKC growth in measure": lambda n: _fill("\ufdfaabcdefghijklmnopqrstuvw", n),
    "combining marks": lambda n: "a" + _fill("\u0301\u0323", n - 1),
    "marks in runs of 30": lambda n: _fill("e" + "\u0301\u0323" * 15, n),
    "hangul jamo": lambda n: _fill("\u1112\u1161\u11ab", n),
    "zero-width": lambda n: _fill("a\u200b", n),
    "tag block": lambda n: _fill("\U000e0061\U000e0062", n),
    "variation selectors": lambda n: _fill("\U000e0141\ufe0f", n),
    "bidi controls": lambda n: _fill("\u202eab\u202c", n),
    "lookalikes": lambda n: _fill("іgnоrе ", n),
    "spelled": lambda n: _fill("i g n o r e  ", n),
    "single letters and symbols": lambda n: _fill("i-g_n.o*r ", n),
    "leet": lambda n: _fill("1gn0r3 4ll ", n),
    "base64 of prose": lambda n: base64.b64encode(_prose(n * 3 // 4 - 3).encode()).decode(),
    "base64, three deep": _nested_base64,
    "base64 of noise": lambda n: base64.b64encode(random.Random(1).randbytes(n * 3 // 4)).decode(),
    "many short base64": lambda n: _fill("aWdub3JlIGFsbCBydWxlcw== ", n),
    "base32": lambda n: base64.b32encode(_prose(n * 5 // 8 - 5).encode()).decode(),
    "hex": lambda n: _prose(n // 2).encode().hex(),
    "percent escapes": lambda n: _fill("%69%67%6e", n),
    "percent, three deep": lambda n: _fill("%252569", n),
    "HTML entities": lambda n: _fill("&#x69;&lt;&notin;", n),
    "escaped escapes": lambda n: _fill("\\\\u0069\\\\x67", n),
    "morse": lambda n: _fill(".. --. -. --- .-. .  ", n),
    "special tokens": lambda n: _fill("<|im_start|>", n),
    "role lines": lambda n: _fill("Human: a\\nAssistant: b\\n", n),
    "open tags": lambda n: "<" * n,
    "blank lines": lambda n: _fill("\\n \\n", n),
    "data URL": lambda n: "data:text/plain;base64," + "aWdu" * ((n - 30) // 4),
    "many data URLs": lambda n: _fill("data:text/plain;base64,aWdub3Jl ", n),
}


#: Whole JSON texts.
_SHAPES: Final[dict[str, Callable[[int], str]]] = {
    "numbers": lambda n: "[" + ",".join(["1"] * _members(n)) + "]",
    "long numbers": lambda n: "[" + ",".join(["0.1234567890123456"] * (n // 20)) + "]",
    "one number of many digits": lambda n: "[" + "9" * (n - 2) + "]",
    "one fraction of many digits": lambda n: "[0." + "1" * (n - 4) + "]",
    "empty arrays": lambda n: "[" + ",".join(["[]"] * (_members(n) // 2)) + "]",
    "empty objects": lambda n: "[" + ",".join(["{}"] * (_members(n) // 2)) + "]",
    "small objects": lambda n: "[" + ",".join(['{"a":1}'] * min(n // 9, 99_000)) + "]",
    "empty arrays, too many": lambda n: "[" + ",".join(["[]"] * (n // 3)) + "]",
    "short strings": lambda n: "[" + ",".join(['"ab"'] * min(n // 5, 199_000)) + "]",
    "distinct strings": lambda n: json.dumps([f"{i:06x}" for i in range(min(n // 11, 199_000))]),
    "keys of one object": lambda n: json.dumps(
        {f"k{i:06x}": 1 for i in range(min(n // 14, 99_000))}
    ),
    "keys alike but for case": lambda n: json.dumps(
        {f"{'aB' * 3}{i}": 0 for i in range(min(n // 20, 99_000))} | {"ABABAB0": 0}
    ),
    "one endless key": lambda n: '{"' + "k" * (n - 6) + '":1}',
    "keys below a labelled node": lambda n: (
        '{"messages":['
        + ",".join('{"' + "k" * 200 + '":"v"}' for _ in range((n - 20) // 212))
        + "]}"
    ),
    "depth 60": lambda n: (
        "[" + ",".join(["[" * 60 + "]" * 60] * (min(n, 370_000) // 121 - 1)) + "]"
    ),
    "depth 100,000": lambda n: "[" * min(n, 100_000),
    "messages": lambda n: (
        '{"messages":['
        + ",".join(['{"role":"user","content":"ab"}'] * min((n - 20) // 31, 66_000))
        + "]}"
    ),
    "messages within the token limit": lambda n: (
        '{"messages":['
        + ",".join(
            ['{"role":"user","content":"' + "ab " * 80 + '"}'] * min((n - 20) // 271, 30_000)
        )
        + "]}"
    ),
    "parts of one message": lambda n: (
        '{"messages":[{"role":"user","content":['
        + ",".join(['{"type":"text","text":"ab"}'] * min((n - 60) // 28, 66_000))
        + "]}]}"
    ),
    "JSON in strings": lambda n: json.dumps(
        {"messages": [{"tool_calls": [{"function": {"arguments": "[" + "[]," * (n // 4) + "1]"}}]}]}
    ),
    "token ids": lambda n: '{"input":[' + ",".join(["40000"] * min((n - 12) // 6, 199_000)) + "]}",
    "blanks": lambda n: _padded("[1]", n),
    "blanks, then nothing": lambda n: " " * n,
    "prose, broken at its end": lambda n: '{"a":"' + "ab " * ((n - 10) // 3) + '"]',
    "duplicate at the end": lambda n: '{"a":"' + "ab " * ((n - 20) // 3) + '","a":1}',
    "trailing value": lambda n: '{"a":"' + "ab " * ((n - 20) // 3) + '"}{}',
}


def _coded(
    encoding: str, compress: Callable[[bytes], bytes], make: Callable[[int], bytes], grows: int = 1
) -> Callable[[int], Body]:
    """A compressed body. `grows` above 1: a bomb, which decodes to so many times the limit."""

    def body(size: int) -> Body:
        data = compress(make(size * grows))
        headers = {"content-type": _JSON, "content-encoding": encoding}
        return Body(data, size, headers=headers)

    return body


def _chat_of(size: int) -> bytes:
    return _chat(_prose)(size).data


def _stacked(data: bytes) -> bytes:
    return gzip.compress(gzip.compress(data, 6), 6)


def _many_gzip_members(data: bytes) -> bytes:
    return b"".join(gzip.compress(data[i : i + 16], 1) for i in range(0, len(data) // 4, 16))


def _brotli(data: bytes) -> bytes:
    result: bytes = brotli.compress(data, quality=5)
    return result


_CODED: Final[dict[str, Callable[[int], Body]]] = {
    "gzip: chat": _coded("gzip", gzip.compress, _chat_of),
    "br: chat": _coded("br", _brotli, _chat_of),
    "zstd: chat": _coded("zstd", zstandard.compress, _chat_of),
    "gzip: bomb": _coded("gzip", gzip.compress, bytes, grows=8),
    "gzip, gzip: bomb": _coded("gzip, gzip", _stacked, bytes, grows=8),
    "br: bomb": _coded("br", _brotli, bytes, grows=8),
    "zstd: bomb": _coded("zstd", zstandard.compress, bytes, grows=8),
    "gzip: many members": _coded("gzip", _many_gzip_members, _chat_of),
}


def _form(make: Callable[[int], str]) -> Callable[[int], Body]:
    def body(size: int) -> Body:
        data = make(size).encode()
        headers = {"content-type": "application/x-www-form-urlencoded"}
        return Body(data, len(data), "/v1/audio/transcriptions", headers)

    return body


def _multipart(value: str, parts: int) -> Callable[[int], Body]:
    def body(size: int) -> Body:
        head = f'--{_BOUNDARY}\r\ncontent-disposition: form-data; name="p'
        count = min(parts, size // (len(head) + 20 + len(value)))
        fill = (
            value * max(1, (size // count - len(head) - 20) // len(value)) if parts < 100 else value
        )
        text = "".join(f'{head}{i}"\r\n\r\n{fill}\r\n' for i in range(count))
        data = (text + f"--{_BOUNDARY}--\r\n").encode()
        headers = {"content-type": f"multipart/form-data; boundary={_BOUNDARY}"}
        return Body(data, len(data), "/v1/audio/transcriptions", headers)

    return body


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _grpc(make: Callable[[int], bytes]) -> Callable[[int], Body]:
    def body(size: int) -> Body:
        message = make(size - 5)
        data = b"\x00" + len(message).to_bytes(4) + message
        path = "/inference.GRPCInferenceService/ModelInfer"
        return Body(data, len(data), path, {"content-type": "application/grpc"})

    return body


def _nested_message(size: int) -> bytes:
    message = b""
    while len(message) < min(size, 60_000) - 8:  # each level adds a few bytes
        message = _field(1, message)
    return message


def _tensors(size: int) -> Body:
    header = json.dumps(
        {"inputs": [{"name": "t", "datatype": "BYTES", "shape": [(size - 200) // 8],
                     "parameters": {"binary_data_size": (size - 200) // 8 * 8}}]}
    ).encode()  # fmt: skip
    data = header + (b"\x04\x00\x00\x00abcd" * ((size - 200) // 8))
    headers = {
        "content-type": "application/octet-stream",
        "inference-header-content-length": str(len(header)),
    }
    return Body(data, len(data), "/v2/models/m/infer", headers)


_OTHER: Final[dict[str, Callable[[int], Body]]] = {
    "form: many fields": _form(lambda n: _fill("a=b&", n)[:-1]),
    "form: distinct fields": _form(lambda n: "&".join(f"k{i:06x}=v" for i in range(n // 10))),
    "form: percent escapes": _form(lambda n: "prompt=" + _fill("%69%67", n - 7)),
    "form: ampersands": _form(lambda n: "&" * n),
    "multipart: 10,000 parts": _multipart("ab", 10_000),
    "multipart: one part": _multipart("ab ", 1),
    "multipart: boundaries that are none": _multipart("\r\n--wors", 1),
    "gRPC: nested": _grpc(_nested_message),
    "gRPC: many small fields": _grpc(lambda n: b"\x0a\x02ab" * (n // 4)),
    "gRPC: empty fields": _grpc(lambda n: b"\x0a\x00" * (n // 2)),
    "gRPC: one string": _grpc(lambda n: _field(1, b"ab " * ((n - 8) // 3))),
    "tensors: many strings": _tensors,
    "bytes: noise": lambda n: Body(
        random.Random(2).randbytes(n), n, "/v1/files", {"content-type": "application/octet-stream"}
    ),
}
