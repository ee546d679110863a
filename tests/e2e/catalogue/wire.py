"""One HTTP/1.1 request, byte for byte, and what comes back: no client that would tidy it up."""

import contextlib
import json
import socket
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any

from extauthz.demo.client import Answer

_TIMEOUT_S = 30.0
JSON_TYPE = ("content-type", "application/json")


@dataclass(frozen=True, slots=True)
class Wire:
    """What a client writes to its socket.

    `length` is the declared content-length where it shall not be the body's own; `chunk`, if set,
    sends the body in chunks of so many bytes instead. `raw` replaces the whole head.
    """

    path: str = "/v1/chat/completions"
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = (JSON_TYPE,)
    method: str = "POST"
    host: str = "llm.test"
    length: int | None = None
    chunk: int = 0
    raw: bytes = b""

    def encode(self) -> bytes:
        """Every byte of the request."""
        return (self.raw or self._head()) + (self._chunked() if self.chunk else self.body)

    def _head(self) -> bytes:
        lines = [f"{self.method} {self.path} HTTP/1.1", f"host: {self.host}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.chunk:
            lines.append("transfer-encoding: chunked")
        elif self.body or self.method == "POST":
            lines.append(
                f"content-length: {len(self.body) if self.length is None else self.length}"
            )
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _chunked(self) -> bytes:
        return b"".join([*map(_chunk, _pieces(self.body, self.chunk)), b"0\r\n\r\n"])


def _pieces(body: bytes, size: int) -> Iterator[bytes]:
    return (body[at : at + size] for at in range(0, len(body), size))


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def send(address: str, wire: Wire, tls: ssl.SSLContext | None = None) -> Answer:
    """Write a request to a connection of its own and read one answer."""
    with _connected(address, tls) as connection:
        # Refused before the end of the body, the answer is there to be read all the same.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(wire.encode())
        response = HTTPResponse(connection, method=wire.method)
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        upgraded = response.status == 101
        answer = Answer(response.status, headers, b"" if upgraded else response.read())
        response.close()
    return answer


def _connected(address: str, tls: ssl.SSLContext | None) -> socket.socket:
    host, _, port = address.rpartition(":")
    plain = socket.create_connection((host, int(port)), timeout=_TIMEOUT_S)
    return plain if tls is None else tls.wrap_socket(plain, server_hostname=host)


def posted(path: str, body: Any, *headers: tuple[str, str], host: str = "llm.test") -> Wire:
    """A JSON body as an SDK sends it."""
    data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    return Wire(path, data, (JSON_TYPE, *headers), host=host)


def chat(text: str, *headers: tuple[str, str], host: str = "llm.test") -> Wire:
    """A chat completion with one question."""
    return chat_of([{"role": "user", "content": text}], *headers, host=host)


def chat_of(
    messages: Iterable[dict[str, Any]], *headers: tuple[str, str], host: str = "llm.test"
) -> Wire:
    """A chat completion with these turns."""
    body = {"model": "sample", "messages": list(messages)}
    return posted("/v1/chat/completions", body, *headers, host=host)
