"""A sample model server: answers in the shape that was asked for, and remembers what reached it.

Its tokens are words, and it counts them honestly. Headers say what it is to do: `x-sample-tokens` how
many words to say (never more than `max_tokens`), `x-sample-pause-s` how long to think before each word of
a stream, or before an answer in one piece, and `x-sample-status` which status to answer with.
"""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle, islice
from types import TracebackType
from typing import Any, Final, Self

#: What the APIs call the most tokens of an answer.
_CAPS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived. Header names are lower case; `path` holds the query."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def sha256(self) -> str:
        """Digest of the body, hex."""
        return hashlib.sha256(self.body).hexdigest()

    def header(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self.headers if key == name]


class Upstream:
    """A started sample server."""

    def __init__(self) -> None:
        """Listen on a free loopback port, on threads of its own."""
        self.received: Final[list[Received]] = []
        handler = type("Handler", (_Handler,), {"note": staticmethod(self.received.append)})
        self._server: Final = _Server(("127.0.0.1", 0), handler)
        self._thread: Final = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self._server.server_port}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    #: As many clients may come at once; of Python's own five the others would wait a second.
    request_queue_size = 1_024


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body are two writes: with Nagle's algorithm the second waits 40 ms for an ACK.
    disable_nagle_algorithm = True
    note: Callable[[Received], None]

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        chunked = self.headers.get("transfer-encoding", "") == "chunked"
        length = int(self.headers.get("content-length", "0"))
        self._answer(self._chunks() if chunked else self.rfile.read(length))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""

    def _chunks(self) -> bytes:
        parts: list[bytes] = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, body: bytes) -> None:
        headers = tuple((name.lower(), value) for name, value in self.headers.items())
        received = Received(self.command, self.path, headers, body)
        self.note(received)
        path, status = self.path.partition("?")[0], int(self.headers.get("x-sample-status", "200"))
        said = _said(received)
        if said.streamed and status == 200:
            self._stream(said.events(path))
            return
        time.sleep(said.pause_s)
        self._whole(status, said.completion(path) if status < 400 else _ERROR)

    def _whole(self, status: int, said: dict[str, Any]) -> None:
        answer = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _stream(self, events: Iterator[str]) -> None:
        """Send events one by one, until there are no more or nobody listens."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            for event in events:
                chunk = f"{event}\n\n".encode()
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True


@dataclass(frozen=True, slots=True)
class _Said:
    """An answer: its words, and how they are told."""

    words: tuple[str, ...]
    input_tokens: int
    streamed: bool = False
    tells_usage: bool = False
    pause_s: float = 0.0

    @property
    def output_tokens(self) -> int:
        return len(self.words)

    def completion(self, path: str) -> dict[str, Any]:
        """The answer in one piece, in the dialect of the endpoint `path`."""
        if path.startswith("/v1/models"):
            model = {"id": "sample", "object": "model", "created": 0, "owned_by": "extauthz"}
            return {"object": "list", "data": [model]}
        if path == "/v1/messages":
            return _message(self)
        if path == "/v1/responses":
            return _response(self)
        return _chat(self)

    def events(self, path: str) -> Iterator[str]:
        """The answer as server-sent events, a word in each."""
        if path == "/v1/messages":
            return _message_events(self)
        if path == "/v1/responses":
            return _response_events(self)
        return _chat_events(self)

    def slowly(self) -> Iterator[str]:
        """The words, each after the pause."""
        for word in self.words:
            time.sleep(self.pause_s)
            yield f"{word} "


def _said(received: Received) -> _Said:
    """What the model says to a request. It reads a body that is no JSON object as an empty one."""
    try:
        asked = json.loads(received.body)
    except ValueError:
        asked = {}
    if not isinstance(asked, dict):
        asked = {}
    text = f"The sample model got your request (body sha256 {received.sha256[:12]})."
    words = text.split()
    wanted = _number(received, "x-sample-tokens", len(words))
    caps = [cap for name in _CAPS if type(cap := asked.get(name)) is int]
    options = asked.get("stream_options")
    return _Said(
        tuple(islice(cycle(words), max(0, int(min([wanted, *caps]))))),
        len(received.body.split()),
        asked.get("stream") is True,
        isinstance(options, dict) and options.get("include_usage") is True,
        _number(received, "x-sample-pause-s", 0.0),
    )


def _number(received: Received, header: str, usual: float) -> float:
    return float(next(iter(received.header(header)), usual))


_ERROR: Final = {"error": {"message": "The sample model failed.", "type": "server_error"}}


def _chat(said: _Said) -> dict[str, Any]:
    message = {"role": "assistant", "content": " ".join(said.words)}
    return {
        "id": "chatcmpl-sample",
        "object": "chat.completion",
        "created": 0,
        "model": "sample",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": _chat_usage(said),
    }


def _chat_events(said: _Said) -> Iterator[str]:
    for word in said.slowly():
        delta = {"role": "assistant", "content": word}
        yield _chat_chunk([{"index": 0, "delta": delta, "finish_reason": None}])
    yield _chat_chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    if said.tells_usage:
        yield _chat_chunk([], usage=_chat_usage(said))
    yield "data: [DONE]"


def _chat_chunk(choices: list[dict[str, Any]], **more: object) -> str:
    kind = {"id": "chatcmpl-sample", "object": "chat.completion.chunk", "created": 0}
    return f"data: {json.dumps({**kind, 'model': 'sample', 'choices': choices, **more})}"


def _chat_usage(said: _Said) -> dict[str, int]:
    return {
        "prompt_tokens": said.input_tokens,
        "completion_tokens": said.output_tokens,
        "total_tokens": said.input_tokens + said.output_tokens,
    }


def _message(said: _Said) -> dict[str, Any]:
    return {
        "id": "msg_sample",
        "type": "message",
        "role": "assistant",
        "model": "sample",
        "content": [{"type": "text", "text": " ".join(said.words)}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": said.input_tokens, "output_tokens": said.output_tokens},
    }


def _message_events(said: _Said) -> Iterator[str]:
    usage = {"input_tokens": said.input_tokens, "output_tokens": 1}
    begun = _message(said) | {"content": [], "stop_reason": None, "usage": usage}
    yield _event("message_start", message=begun)
    yield _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    for word in said.slowly():
        yield _event("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
    yield _event("content_block_stop", index=0)
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    yield _event("message_delta", delta=ended, usage={"output_tokens": said.output_tokens})
    yield _event("message_stop")


def _response(said: _Said) -> dict[str, Any]:
    text = " ".join(said.words)
    content = {"type": "output_text", "text": text, "annotations": []}
    return {
        "id": "resp_sample",
        "object": "response",
        "created_at": 0,
        "status": "completed",
        "model": "sample",
        "output": [
            {
                "id": "msg_sample",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [content],
            }
        ],
        "usage": {
            "input_tokens": said.input_tokens,
            "output_tokens": said.output_tokens,
            "total_tokens": said.input_tokens + said.output_tokens,
        },
    }


def _response_events(said: _Said) -> Iterator[str]:
    begun = _response(said) | {"status": "in_progress", "output": [], "usage": None}
    yield _event("response.created", response=begun)
    for word in said.slowly():
        yield _event("response.output_text.delta", item_id="msg_sample", delta=word)
    yield _event("response.completed", response=_response(said))


def _event(kind: str, **members: object) -> str:
    """A named event, which says its name twice."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}"
