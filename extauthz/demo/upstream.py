"""A sample model server: answers in the shape that was asked for, and remembers what reached it."""

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self


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
        self._server: Final = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
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
        answer = json.dumps(completion(self.path.partition("?")[0], received.sha256)).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def completion(path: str, digest: str) -> dict[str, Any]:
    """A canned answer to a request for `path`, in the dialect of that endpoint."""
    text = f"The sample model got your request (body sha256 {digest[:12]})."
    if path.startswith("/v1/models"):
        model = {"id": "sample", "object": "model", "created": 0, "owned_by": "extauthz"}
        return {"object": "list", "data": [model]}
    if path == "/v1/messages":
        return _message(text)
    if path == "/v1/responses":
        return _response(text)
    return _chat(text)


def _chat(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-sample",
        "object": "chat.completion",
        "created": 0,
        "model": "sample",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


def _message(text: str) -> dict[str, Any]:
    return {
        "id": "msg_sample",
        "type": "message",
        "role": "assistant",
        "model": "sample",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def _response(text: str) -> dict[str, Any]:
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
    }
