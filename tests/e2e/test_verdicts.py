"""What reaches the upstream, and what the client gets, through a real Envoy."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from extauthz.demo.client import Request
from tests.canary_model import CANARY
from tests.e2e.conftest import chat
from tests.e2e.running import Filter, Gateway

ATTACK = f"Please {CANARY} now."


def _filler(size: int) -> bytes:
    """A chat of about `size` bytes whose escapes and blanks re-serialising would lose.

    Most of it is blanks: to classify megabytes would test the machine, not the path.
    """
    frame = b'{ "model":"sample",%s\n "messages":[{"role":"user","content":"caf\\u00e9 %s"}]}'
    words = b" ".join([b"hedgehogs,"] * (min(size, 20_000) // 11))
    return frame % (b" " * (size - len(words)), words)


@pytest.mark.parametrize(
    "text", [ATTACK, f"caf\u00e9 \u200b{CANARY}", CANARY.replace("x", "\u0445")], ids=ascii
)
def test_a_denied_request_never_reaches_the_upstream(gateway: Gateway, text: str) -> None:
    errors = gateway.rpc_errors()

    answer, passed = gateway.passed(chat(text))

    assert answer.status == 403
    assert passed == []
    assert gateway.rpc_errors() == errors


@pytest.mark.parametrize("size", [300, 200_000, 2_000_000, 5 * 1024 * 1024])
def test_an_allowed_body_arrives_byte_for_byte(gateway: Gateway, size: int) -> None:
    body = _filler(size)

    answer, passed = gateway.passed(replace(chat(), body=body))

    assert answer.status == 200
    assert [one.body for one in passed] == [body]


def test_a_chunked_body_is_checked_whole_and_arrives_whole(
    gateway: Gateway, filter_: Filter
) -> None:
    body = _filler(100_000)

    def chunks(whole: bytes) -> Iterator[bytes]:
        return (whole[at : at + 7_000] for at in range(0, len(whole), 7_000))

    answer, passed = gateway.passed(replace(chat(), body=chunks(body)))
    bad = chat(ATTACK).body
    assert isinstance(bad, bytes)
    denied = gateway.send(replace(chat(), body=(bad[:50], bad[50:])))

    assert answer.status == 200
    assert [one.body for one in passed] == [body]
    assert denied.status == 403


def test_a_mutated_request_carries_our_headers_and_not_the_clients_forgeries(
    gateway: Gateway,
) -> None:
    forged = (
        ("x-tenant", "forged"),
        ("x-tenant", "forged too"),
        ("x-debug", "1"),
        ("x-extauthz-verdict", "allow"),
        ("X-Extauthz-Anything", "1"),
        ("x-envoy-auth-partial-body", "false"),
        ("x-envoy-auth-failure-mode-allowed", "true"),
        ("x-kept", "1"),
    )
    request = replace(
        chat(host="mutate.test"), path="/v1/chat/completions?debug=1&keep=2", headers=forged
    )

    answer, [received] = gateway.passed(request)

    assert received.header("x-tenant") == ["ours"]
    assert received.header("x-kept") == ["1"]
    ours = {name for name, _ in received.headers if name.startswith(("x-extauthz", "x-envoy-auth"))}
    assert ours == set()
    assert received.header("x-debug") == []
    assert received.path == "/v1/chat/completions?checked=yes&keep=2"
    assert received.body == request.body
    assert answer.headers["x-screened"] == "yes"
    assert gateway.logged(answer)["verdict"] == "mutate"


def test_forged_headers_are_removed_where_nothing_else_is_changed(gateway: Gateway) -> None:
    request = replace(chat(), headers=(("x-extauthz-verdict", "allow"),))

    _, [received] = gateway.passed(request)

    assert received.header("x-extauthz-verdict") == []


def test_a_shadow_rule_lets_pass_and_logs_what_it_would_have_done(gateway: Gateway) -> None:
    answer, passed = gateway.passed(chat(ATTACK, host="shadow.test"))

    assert answer.status == 200
    assert len(passed) == 1
    entry = gateway.logged(answer)
    assert (entry["verdict"], entry["shadowed"], entry["reason"]) == (
        "allow", "deny", "prompt_injection",
    )  # fmt: skip


def test_the_access_log_holds_the_decision_and_what_it_cost(gateway: Gateway) -> None:
    entry = gateway.logged(gateway.send(chat(ATTACK)))

    assert (entry["verdict"], entry["reason"], entry["rule"]) == (
        "deny", "prompt_injection", "json",
    )  # fmt: skip
    assert entry["score"] > 0.99
    assert 0 < int(entry["check_us"]) < 5_000_000
    assert entry["details"] == "ext_authz_denied"


def test_a_plain_denial_is_403_json_with_the_reason_and_no_score(gateway: Gateway) -> None:
    answer = gateway.send(chat(ATTACK))

    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-extauthz-reason"] == "prompt_injection"
    assert answer.json["error"]["reason"] == "prompt_injection"
    assert CANARY.encode() not in answer.body
    assert b"score" not in answer.body


def test_a_content_filter_denial_is_the_error_of_the_openai_api(gateway: Gateway) -> None:
    answer = gateway.send(chat(ATTACK, host="content-filter.test"))

    assert answer.status == 400
    assert answer.json["error"]["code"] == "content_filter"
    assert answer.json["error"]["innererror"] == {"code": "prompt_injection"}


def _said_by_chat(body: bytes) -> str:
    return str(json.loads(body)["choices"][0]["message"]["content"])


def _said_by_message(body: bytes) -> str:
    return str(json.loads(body)["content"][0]["text"])


def _said_by_response(body: bytes) -> str:
    return str(json.loads(body)["output"][0]["content"][0]["text"])


@pytest.mark.parametrize(
    ("path", "member", "said"),
    [
        ("/v1/chat/completions", "messages", _said_by_chat),
        ("/v1/messages", "messages", _said_by_message),
        ("/v1/responses", "input", _said_by_response),
    ],
)
def test_a_refusal_is_an_answer_in_the_callers_dialect(
    gateway: Gateway, path: str, member: str, said: Callable[[bytes], str]
) -> None:
    body = json.dumps({"model": "m", member: [{"role": "user", "content": ATTACK}]}).encode()

    answer, passed = gateway.passed(Request(path, body, host="refusal.test"))

    assert (answer.status, passed) == (200, [])
    assert "prompt_injection" in said(answer.body)


def test_a_refusal_to_a_stream_is_a_stream(gateway: Gateway) -> None:
    messages = [{"role": "user", "content": ATTACK}]
    body = json.dumps({"model": "m", "stream": True, "messages": messages}).encode()

    answer = gateway.send(Request("/v1/chat/completions", body, host="refusal.test"))

    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.body.endswith(b"data: [DONE]\n\n")


def test_credentials_go_to_the_upstream_and_not_to_us(gateway: Gateway, filter_: Filter) -> None:
    secrets = (
        ("Authorization", "Bearer s3cret"),
        ("Cookie", "id=s3cret"),
        ("X-Api-Key", "s3cret"),
        ("api-key", "s3cret"),
    )

    _, [received] = gateway.passed(replace(chat(), headers=secrets))

    assert received.header("authorization") == ["Bearer s3cret"]
    assert received.header("x-api-key") == ["s3cret"]
    assert b"s3cret" not in filter_.checks[-1]


def test_a_route_of_envoy_is_known_by_its_context(gateway: Gateway) -> None:
    answer = gateway.send(Request("/v1/models", method="GET", host="anything.test"))
    unknown = gateway.send(Request("/v1/modelsX", method="GET", host="anything.test"))

    assert (answer.status, gateway.logged(answer)["rule"]) == (200, "route")
    assert unknown.status == 404
