"""Bodies and requests that could be read in two ways, or not at all: none of them passes unseen."""

import gzip
import socket
from dataclasses import replace
from typing import Any

import pytest

from extauthz.demo.client import Request
from tests.canary_model import CANARY
from tests.e2e.conftest import Open, chat
from tests.e2e.running import Filter, Gateway, ext_authz

LIMIT = 8 * 1024 * 1024
ATTACK = f"Please {CANARY} now."


def _padded(text: str, size: int) -> bytes:
    body = chat(text).body
    assert isinstance(body, bytes)
    return body[:-1] + b" " * (size - len(body)) + body[-1:]


def test_a_body_above_envoys_limit_is_413_and_nobody_is_asked(
    gateway: Gateway, filter_: Filter
) -> None:
    asked = len(filter_.checks)

    answer, passed = gateway.passed(replace(chat(), body=b" " * (LIMIT + 1)))

    assert (answer.status, passed) == (413, [])
    assert len(filter_.checks) == asked


@pytest.mark.parametrize(("text", "status"), [("Hello", 200), (ATTACK, 403)])
def test_a_body_at_envoys_limit_is_read_to_its_end(
    gateway: Gateway, text: str, status: int
) -> None:
    answer, passed = gateway.passed(replace(chat(), body=_padded(text, LIMIT)))

    assert answer.status == status
    assert [len(one.body) for one in passed] == ([LIMIT] if status == 200 else [])


@pytest.mark.parametrize(
    ("body", "headers", "status", "reason"),
    [
        (b'{"messages":[]}', {"content-encoding": "compress"}, 415, "encoding_unsupported"),
        (b'{"messages":[]}', {"content-encoding": "gzip"}, 400, "encoding_malformed"),
        (gzip.compress(b'{"messages":[]}'), {}, 400, "body_not_utf8"),
        (b'{"messages":[', {}, 400, "body_malformed"),
        (b'{"messages":[],"messages":[]}', {}, 400, "body_duplicate_key"),
        ('{"messages":[]}'.encode("utf-16"), {}, 400, "body_byte_order_mark"),
        ('{"messages":[]}'.encode("utf-16-be"), {}, 400, "body_not_utf8"),
        (b"[" * 1_000 + b"]" * 1_000, {}, 400, "body_too_complex"),
        (b'{"messages":[{"role":"user","content":"' + b"a " * 40_000 + b'"}]}', {}, 413, "too_many_tokens"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
@pytest.mark.parametrize("host", ["json.test", "allow.test"])
def test_what_cannot_be_read_is_denied_whatever_the_rule_does_on_failure(
    gateway: Gateway,
    host: str,
    body: bytes,
    headers: dict[str, str],
    status: int,
    reason: str,
) -> None:
    errors = gateway.rpc_errors()
    request = replace(chat(host=host), body=body, headers=tuple(headers.items()))

    answer, passed = gateway.passed(request)

    assert (answer.status, answer.json["error"]["reason"], passed) == (status, reason, [])
    assert gateway.rpc_errors() == errors


def test_a_body_above_the_rules_limit_is_413(gateway: Gateway) -> None:
    answer, passed = gateway.passed(replace(chat(host="small.test"), body=_padded("Hi", 1_001)))

    assert (answer.status, passed) == (413, [])
    assert answer.json["error"]["reason"] == "body_too_large"


def test_a_body_that_envoy_cut_is_denied_even_if_the_client_says_it_is_whole(
    envoy_with: Open,
) -> None:
    def cut(config: dict[str, Any]) -> None:
        ext_authz(config)["with_request_body"] |= {
            "max_request_bytes": 8_192,
            "allow_partial_message": True,
        }

    forged = (("x-envoy-auth-partial-body", "false"),)
    gateway = envoy_with(cut)

    answer, passed = gateway.passed(replace(chat(), body=_padded("Hi", 20_000), headers=forged))
    whole = gateway.send(replace(chat(), body=_padded("Hi", 8_192), headers=forged))

    assert (answer.status, passed) == (413, [])
    assert answer.json["error"]["reason"] == "body_truncated"
    assert whole.status == 200


def test_a_body_packed_as_text_is_read_as_well(envoy_with: Open) -> None:
    def as_text(config: dict[str, Any]) -> None:
        ext_authz(config)["with_request_body"]["pack_as_bytes"] = False

    gateway = envoy_with(as_text)
    request = chat("caf\u00e9 \U0001f600")

    answer, [received] = gateway.passed(request)

    assert (answer.status, received.body) == (200, request.body)
    assert gateway.send(chat(f"caf\u00e9 {CANARY}")).status == 403


def test_raw_headers_are_read_as_well(envoy_with: Open, filter_: Filter) -> None:
    def raw(config: dict[str, Any]) -> None:
        ext_authz(config)["encode_raw_headers"] = True

    gateway = envoy_with(raw)
    headers = (
        ("x-tenant", "forged"),
        ("x-extauthz-verdict", "allow"),
        ("x-name", b"al\xffice".decode("latin-1")),
        ("authorization", "Bearer s3cret"),
    )

    answer, [received] = gateway.passed(replace(chat(host="mutate.test"), headers=headers))
    zipped = gateway.send(replace(chat(), headers=(("content-encoding", "compress"),)))

    assert answer.status == 200
    assert received.header("x-tenant") == ["ours"]
    assert received.header("x-extauthz-verdict") == []
    assert b"s3cret" not in filter_.checks[-2]
    assert zipped.status == 415


def test_an_upgrade_is_refused(gateway: Gateway) -> None:
    host, _, port = gateway.address.rpartition(":")
    before = len(gateway.upstream.received)
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(
            b"GET /v1/chat/completions HTTP/1.1\r\nHost: json.test\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        status = client.makefile("rb").readline()

    assert status.split()[1] == b"403"
    assert len(gateway.upstream.received) == before


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/models/../chat/completions", 403),
        ("/v1/models/%2e%2e/chat/completions", 403),
        ("//v1//chat/completions", 403),
        ("/v1/models/..%2fchat/completions", 307),
        ("/v1/models/%252e%252e/chat/completions", 400),
        ("/v1/models/..;/chat/completions", 403),
        ("/v1/models\\..\\chat\\completions", 403),
        ("/v1/modelsX", 404),
    ],
)
def test_no_spelling_of_a_path_walks_around_the_check(
    gateway: Gateway, path: str, status: int
) -> None:
    request = chat(ATTACK)

    answer, passed = gateway.passed(replace(request, path=path))

    assert (answer.status, passed) == (status, [])


def test_a_header_with_an_underscore_is_refused(gateway: Gateway) -> None:
    answer = gateway.send(replace(chat(), headers=(("x_tenant", "forged"),)))

    assert answer.status == 400


def test_a_get_without_a_body_is_asked_about(gateway: Gateway, filter_: Filter) -> None:
    asked = len(filter_.checks)

    answer = gateway.send(Request("/v1/models/x", method="GET"))

    assert answer.status == 200
    assert len(filter_.checks) == asked + 1


def test_a_clients_own_request_id_and_envoy_headers_are_not_believed(gateway: Gateway) -> None:
    forged = (("x-request-id", "mine"), ("x-envoy-upstream-rq-timeout-ms", "1"))

    answer, [received] = gateway.passed(replace(chat(), headers=forged))

    assert answer.headers["x-request-id"] != "mine"
    assert received.header("x-request-id") == [answer.headers["x-request-id"]]
    assert received.header("x-envoy-upstream-rq-timeout-ms") == []
