"""Requests as SDKs send them, and what Envoy wrote about each in its access log."""

import contextlib
import http.client
import json
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

_TIMEOUT_S: Final = 30.0
_LOG_WAIT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. A body that is no `bytes` is sent in chunks."""

    path: str
    body: bytes | Iterable[bytes] = b""
    method: str = "POST"
    host: str = "llm.test"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client gets. Header names are lower case."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever the server says
        """The body, parsed."""
        return json.loads(self.body)


def send(address: str, request: Request, tls: ssl.SSLContext | None = None) -> Answer:
    """Send `request` to Envoy at `address` over a connection of its own."""
    if tls is None:
        connection = http.client.HTTPConnection(address, timeout=_TIMEOUT_S)
    else:
        connection = http.client.HTTPSConnection(address, timeout=_TIMEOUT_S, context=tls)
    try:
        connection.putrequest(
            request.method, request.path, skip_host=True, skip_accept_encoding=True
        )
        for name, value in (("host", request.host), *_framing(request), *request.headers):
            connection.putheader(name, value)
        # Refused before the end of the body, the answer is there to be read all the same.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            chunked = not isinstance(request.body, bytes)
            connection.endheaders(request.body or None, encode_chunked=chunked)
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())
    finally:
        connection.close()


def _framing(request: Request) -> list[tuple[str, str]]:
    if not isinstance(request.body, bytes):
        return [("content-type", "application/json"), ("transfer-encoding", "chunked")]
    if not request.body:
        return []
    length = str(len(request.body))
    return [("content-type", "application/json"), ("content-length", length)]


def logged(access_log: Path, answer: Answer) -> dict[str, Any]:
    """Envoy's access log entry for an answer, once it is written; empty after 5 s without."""
    wanted = answer.headers.get("x-request-id", "")
    until = time.monotonic() + _LOG_WAIT_S
    while time.monotonic() < until:
        for line in reversed(access_log.read_text().splitlines()):
            if wanted in line and line.endswith("}"):
                entry: dict[str, Any] = json.loads(line)
                return entry
        time.sleep(0.02)
    return {}
