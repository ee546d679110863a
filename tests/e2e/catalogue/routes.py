"""Paths, methods and upgrades: no way around the check, and nothing that nobody listed."""

from collections.abc import Iterator
from dataclasses import replace

from tests.e2e.catalogue.case import ATTACK, FOUND, HONEST, Case, pair
from tests.e2e.catalogue.places import PLACES
from tests.e2e.catalogue.wire import JSON_TYPE, Wire, chat, posted


def _paths() -> Iterator[Case]:
    """Envoy normalises what it can; what is left and could be read in two ways is ours to refuse."""
    attack = chat(ATTACK)
    for name, path, expected in (
        ("dot-dot", "/v1/models/../chat/completions", FOUND),
        ("percent-dots", "/v1/models/%2e%2e/chat/completions", FOUND),
        ("double-slash", "//v1//chat/completions", FOUND),
        ("escaped-slash", "/v1/models/..%2fchat/completions", "307 -"),
        ("double-encoded", "/v1/models/%252e%252e/chat/completions", "400 path_ambiguous"),
        ("path-parameter", "/v1/models/..;/chat/completions", FOUND),
        ("back-slashes", "/v1/models\\..\\chat\\completions", FOUND),
        ("prefix-extension", "/v1x/chat/completions", "403 route_denied"),
        ("allowed-prefix-extension", "/v1/modelsX", FOUND),
        ("upper-case", "/V1/CHAT/COMPLETIONS", "403 route_denied"),
        ("trailing-dot", "/v1/chat/completions.", "400 path_ambiguous"),
        ("trailing-blank", "/v1/chat/completions%20", "400 path_ambiguous"),
        ("nul", "/v1/chat/completions%00", "400 -"),
        ("escaped-letter", "/v1/ch%61t/completions", FOUND),
        ("full-width", "/v1/%ef%bd%83hat/completions", "400 path_ambiguous"),
        ("fragment", "/v1/models#/v1/chat/completions", "400 -"),
        ("trailing-slash", "/v1/chat/completions/", FOUND),
    ):
        yield Case("A14", name, replace(attack, path=path), expected, chat(HONEST))


def _unknown() -> Iterator[Case]:
    body = {"text": ATTACK}
    twin = chat(HONEST)
    for name, path in (
        ("unknown-path", "/internal/complete"),
        ("root", "/"),
        ("health", "/health"),
    ):
        yield Case("A10", name, posted(path, body), "403 route_denied", twin)
    yield Case(
        "A10",
        "unknown-host",
        posted("/v1/chat/completions", body, host="other.test"),
        "403 route_denied",
        twin,
    )
    yield pair(
        "A10",
        "unknown-path-of-a-permissive-host",
        lambda text: posted("/internal/complete", {"text": text}, host="any.test"),
    )


_UPGRADE = (
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
)


def _upgrades() -> Iterator[Case]:
    """Envoy would let them through here: what follows an upgrade is seen by nobody."""
    for name, path in (("realtime", "/v1/realtime?model=m"), ("chat", "/v1/chat/completions")):
        upgrade = Wire(path, headers=_UPGRADE, method="GET")
        yield Case("A26", name, upgrade, "400 upgrade_unreadable", replace(upgrade, headers=()))
    shouting = Wire(
        "/v1/realtime",
        headers=(("connection", "keep-alive, UPGRADE"), ("upgrade", "WebSocket"), *_UPGRADE[2:]),
        method="GET",
    )
    yield Case(
        "A26", "upper-case", shouting, "400 upgrade_unreadable", replace(shouting, headers=())
    )


def _methods() -> Iterator[Case]:
    yield Case("C07", "get-with-a-body", replace(chat(ATTACK), method="GET"), FOUND)
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        yield Case("C05", method.lower(), replace(chat(ATTACK), method=method), FOUND)
    yield Case("C05", "connect", Wire("llm.test:443", method="CONNECT", headers=()), "404 -")


def _lengths() -> Iterator[Case]:
    declared = chat(ATTACK)
    yield Case(
        "C07", "nothing-declared", Wire(headers=(JSON_TYPE,), method="PUT"), "413 body_truncated"
    )
    yield Case(
        "A04",
        "body-beyond-envoys-limit",
        replace(declared, body=b" " * 8_388_609),
        "413 -",
        chat(HONEST),
    )


def _echoes() -> Iterator[Case]:
    """MCP repeats in headers what its body says, for proxies that read no bodies."""
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "f", "arguments": {}},
    }
    agrees = posted("/mcp", call, ("mcp-method", "tools/call"), ("mcp-name", "f"))
    for name, headers in {
        "method": (("mcp-method", "tools/list"), ("mcp-name", "f")),
        "name": (("mcp-method", "tools/call"), ("mcp-name", "harmless")),
        "repeated": (("mcp-method", "tools/call"), ("mcp-method", "tools/list")),
    }.items():
        yield Case(
            "B09",
            f"mcp-other-{name}-in-headers",
            posted("/mcp", call, *headers),
            "400 header_mismatch",
            agrees,
        )


def _places() -> Iterator[Case]:
    for place in PLACES:
        name = f"{place.dialect}, {place.name}".replace(" ", "-").replace(",", "")
        yield pair(place.id, name, place.with_text, twin_expected=f"200 {place.flags}".rstrip())


def cases() -> list[Case]:
    """All of this subject."""
    return [*_paths(), *_unknown(), *_upgrades(), *_methods(), *_lengths(), *_echoes(), *_places()]
