"""What a real Envoy sends is read as it was meant, and Envoy still sends it so."""

from dataclasses import replace

import pytest

from extauthz.core.call import Call
from extauthz.protocol import check
from tests.e2e.conftest import Open
from tests.e2e.golden import CASES, FOLDER
from tests.e2e.running import Filter

#: What differs from one request to the next.
_VOLATILE = ("x-request-id", "x-forwarded-for")


def _read(message: bytes) -> Call:
    call = check.read(message)
    assert isinstance(call, Call)
    steady = {name: value for name, value in call.headers.items() if name not in _VOLATILE}
    return replace(call, id="", headers=steady)


def _golden(name: str) -> Call:
    return _read((FOLDER / f"{name}.bin").read_bytes())


@pytest.mark.parametrize("name", CASES)
def test_envoy_sends_what_was_captured(name: str, envoy_with: Open, filter_: Filter) -> None:
    request, change = CASES[name]
    envoy_with(change).send(request)

    assert _read(filter_.checks[-1]) == _golden(name)


@pytest.mark.parametrize("name", ["chat", "chat_raw_headers", "chat_as_text"])
def test_every_form_of_a_chat_is_read_alike(name: str) -> None:
    call = _golden(name)

    assert (call.method, call.scheme, call.path) == ("POST", "http", "/v1/chat/completions")
    assert (call.host, call.source, call.principal) == ("json.test", "127.0.0.1", "")
    assert call.body == CASES[name][0].body
    assert call.headers["x-team"] == "a,b"
    assert call.headers["content-length"] == str(len(call.body))
    assert call.headers["x-envoy-auth-partial-body"] == "false"


def test_a_chunked_body_is_whole_and_has_no_length() -> None:
    call = _golden("chat_chunked")

    assert call.body == b'{"messages":[]}'
    assert "content-length" not in call.headers
    assert "transfer-encoding" not in call.headers


def test_a_cut_body_says_so() -> None:
    call = _golden("chat_cut")

    assert len(call.body) == 64
    assert call.headers["x-envoy-auth-partial-body"] == "true"


def test_a_get_has_a_query_a_context_and_no_body() -> None:
    call = _golden("models")

    assert (call.method, call.path, call.body) == ("GET", "/v1/models?limit=3", b"")
    assert call.context == {"route": "models"}
    assert "x-envoy-auth-partial-body" not in call.headers
