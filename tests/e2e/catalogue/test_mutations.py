"""A21, B41, B43, B51: what we write into answers, requests and logs, and what never gets there."""

import json

import pytest

from extauthz.demo.client import Answer
from tests.canary_model import CANARY
from tests.e2e.catalogue.case import ATTACK, HONEST
from tests.e2e.catalogue.wire import JSON_TYPE, Wire, chat, posted, send
from tests.e2e.running import Filter, Gateway

_SPLIT = "\r\nset-cookie: stolen=1\r\nx-admitted: entirely"
_FORGED = (
    ("x-extauthz-verdict", "allow"),
    ("X-ExtAuthz-Receipt", "1.i.0.0.0.0.0.0.0"),
    ("x-extauthz-reason", "clean"),
    ("x-extauthz-", "1"),
    ("x-envoy-auth-partial-body", "false"),
    ("x-envoy-auth-failure-mode-allowed", "true"),
)


def _everywhere(text: str) -> list[Wire]:
    """`text` in each place from which it could be repeated."""
    escaped = "".join(f"%{byte:02x}" for byte in text.encode())
    return [
        chat(text),
        posted("/v1/chat/completions", {"model": text, "messages": []}),
        posted("/v1/chat/completions", {text: 1}),
        posted(f"/v1/chat/completions?q={escaped}", {"messages": []}),
        posted(f"/nowhere/{escaped}", {}),
        chat("Hi", ("x-note", text.replace("\r\n", " "))),
        Wire(body=text.encode()),
    ]


def _said(answer: Answer) -> str:
    """All that the client can read of an answer of ours."""
    body = answer.body.decode() if "x-extauthz-reason" in answer.headers else ""
    return "\n".join([*answer.headers, *answer.headers.values(), body])


@pytest.mark.parametrize("text", [ATTACK + _SPLIT, HONEST + _SPLIT], ids=["denied", "allowed"])
def test_nothing_of_a_request_is_repeated_in_an_answer(gateway: Gateway, text: str) -> None:
    for wire in _everywhere(text):
        answer = send(gateway.address, wire)
        said = _said(answer).lower()

        assert "set-cookie" not in answer.headers
        assert not [at for at in range(len(text) - 7) if text[at : at + 8].lower() in said]


def test_headers_that_only_we_may_set_are_taken_from_the_client(gateway: Gateway) -> None:
    before = len(gateway.upstream.received)

    answer = send(gateway.address, chat(HONEST, *_FORGED, ("x-kept", "1")))

    [received] = gateway.upstream.received[before:]
    names = [name for name, _ in received.headers]
    assert answer.status == 200
    assert [name for name in names if name.startswith(("x-extauthz", "x-envoy-auth"))] == []
    assert received.header("x-kept") == ["1"]


def test_an_underscore_is_no_way_around_that(gateway: Gateway) -> None:
    assert send(gateway.address, chat(HONEST, ("x_extauthz_verdict", "allow"))).status == 400


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
def test_an_answer_shows_a_reason_and_no_score(
    gateway: Gateway, filter_: Filter, path: str
) -> None:
    denied = send(
        gateway.address, posted(path, {"messages": [{"role": "user", "content": ATTACK}]})
    )
    passed = send(
        gateway.address, posted(path, {"messages": [{"role": "user", "content": HONEST}]})
    )

    assert denied.headers["x-extauthz-reason"] == "prompt_injection"
    assert set(json.loads(denied.body)["error"]) == {"reason", "message"}
    assert not [name for name in passed.headers if "extauthz" in name]
    worst = filter_.observed[-2].signals.worst
    assert worst is not None
    assert f"{worst.score:.3f}" not in _said(denied)


def test_neither_log_of_envoy_holds_a_word_of_a_prompt(gateway: Gateway) -> None:
    secrets = (JSON_TYPE, ("x-api-key", "s3cret"), ("x-app-key", "s3cret"), ("cookie", "s3cret"))
    logs = (gateway.envoy.stdout, gateway.envoy.log)
    gateway.logged(send(gateway.address, chat(HONEST)))
    before = [len(log.read_text()) for log in logs]
    for wire in _everywhere(ATTACK)[:4]:
        send(gateway.address, Wire(wire.path, wire.body, secrets))
    final = send(gateway.address, chat(HONEST))

    assert gateway.logged(final)["verdict"] == "allow"
    said = "".join(log.read_text()[start:] for log, start in zip(logs, before, strict=True))
    assert said.count("prompt_injection") >= 3
    assert CANARY not in said
    assert "s3cret" not in said
