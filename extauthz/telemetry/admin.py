"""The admin port: metrics, readiness, and a status page for people. Read-only, loopback by default.

It runs on threads of its own: a scrape of many series must not delay a check.
"""

import html
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from extauthz.telemetry.consumers import Consumer

#: Shown on the status page, in order.
Status = Callable[[], Mapping[str, str]]
#: The heaviest users, so many of them; shown by their digests.
Heaviest = Callable[[int], Sequence[Consumer]]
_SHOWN_USERS: Final = 20

#: How soon `close`, which the event loop waits for, is noticed.
_POLL_S: Final = 0.05

_PAGE: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>extauthz</title>
<meta http-equiv="refresh" content="5"><style>
body{{font:15px/1.5 system-ui,sans-serif;margin:2.5rem auto;max-width:52rem;padding:0 1rem;
color:#1a1a1a;background:#fff}}
table{{border-collapse:collapse;width:100%;margin:1rem 0}}
th,td{{text-align:left;padding:.4rem .8rem;border-bottom:1px solid #ddd;vertical-align:top}}
td{{font-variant-numeric:tabular-nums;overflow-wrap:anywhere}} th{{font-weight:600}}
</style><h1>extauthz</h1><table>{facts}</table>
<h2>Decisions since start</h2><table><tr><th>rule<th>verdict<th>reason<th>not enforced<th>count</tr>
{decisions}</table>{users}<p><a href="/metrics">metrics</a></p></html>"""

_USERS: Final = """<h2>Heaviest users, last hours</h2>
<table><tr><th>principal digest<th>tokens reserved<th>requests<th>strictest limit<th>left of it</tr>
{rows}</table>"""


def _nobody(_most: int) -> Sequence[Consumer]:
    return ()


class Admin:
    """A started admin server."""

    def __init__(
        self,
        address: str,
        registry: CollectorRegistry,
        status: Status,
        heaviest: Heaviest = _nobody,
    ) -> None:
        """Bind `host:port` and serve. Raises OSError when the address is taken."""
        host, _, port = address.rpartition(":")
        handler = type(
            "Handler",
            (_Handler,),
            {
                "registry": registry,
                "status": staticmethod(status),
                "heaviest": staticmethod(heaviest),
            },
        )
        self._server: Final = _Server((host.strip("[]"), int(port)), handler)
        threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="admin", daemon=True
        ).start()

    @property
    def address(self) -> str:
        """Where it listens, port resolved."""
        host, port = self._server.server_address[:2]
        return f"[{host!s}]:{port}" if ":" in str(host) else f"{host!s}:{port}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)


class _Handler(BaseHTTPRequestHandler):
    registry: CollectorRegistry
    status: Status
    heaviest: Heaviest
    timeout = 10

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self._send(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(self.registry))
        elif self.path == "/ready":
            ready = self.status()["serving"] == "yes"
            code = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
            self._send(code, "text/plain", b"ready\n" if ready else b"not ready\n")
        elif self.path == "/":
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", self._page().encode())
        else:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"try /, /metrics or /ready\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing: request lines are the caller's words."""

    def _send(self, code: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _page(self) -> str:
        facts = "".join(_row("th", key, value) for key, value in self.status().items())
        counts = sorted(
            (labels["rule"], labels["verdict"], labels["reason"], labels["shadow"], int(value))
            for labels, value in _samples(self.registry, "extauthz_decisions_total")
        )
        return _PAGE.format(
            facts=facts,
            decisions="".join(_row("td", *map(str, count)) for count in counts),
            users=_users(self.heaviest(_SHOWN_USERS)),
        )


def _users(consumers: Sequence[Consumer]) -> str:
    """The heaviest users without their names; nothing where nobody is known."""
    rows = "".join(
        _row(
            "td",
            one.digest or "nobody known",
            str(one.tokens),
            str(one.requests),
            one.limit or "none",
            f"{one.remaining:.6f}".rstrip("0").rstrip(".") if one.limit else "",
        )
        for one in consumers
    )
    return _USERS.format(rows=rows) if rows else ""


def _samples(registry: CollectorRegistry, name: str) -> list[tuple[dict[str, str], float]]:
    return [
        (sample.labels, sample.value)
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == name
    ]


def _row(first: str, *cells: str) -> str:
    head, *rest = map(html.escape, cells)
    return f"<tr><{first}>{head}" + "".join(f"<td>{cell}" for cell in rest) + "</tr>"
