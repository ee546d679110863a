"""`explain` reads a request as it was on the wire, and shows each step of the decision on it."""

import json
from pathlib import Path
from typing import Any

import pytest

from extauthz import explain
from extauthz.core.policy import Identity, IdentitySource, Policy
from extauthz.model import calibration
from extauthz.model.directory import ModelError
from tests import builders, canary_model, fixtures
from tests.canary_model import CANARY
from tests.door import policy
from tests.model.calibrations import calibrated

FIXTURES = Path(fixtures.__file__).parent
SDK_CALLS = sorted(path.stem for path in FIXTURES.glob("*.http"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return canary_model.build(tmp_path_factory.mktemp("canary"))


async def trace(model: Path, served: Policy | None = None, **call: Any) -> explain.Trace:
    return await explain.explain(builders.call(**call), served or policy(), model, {})


@pytest.mark.parametrize("name", SDK_CALLS)
def test_what_an_sdk_sent_is_read_as_envoy_would_describe_it(name: str) -> None:
    found = explain.read_request(FIXTURES / f"{name}.http", "")
    expected = fixtures.sdk_call(name)

    for field in ("method", "host", "path", "headers", "body"):
        assert getattr(found, field) == getattr(expected, field)


@pytest.mark.parametrize("name", SDK_CALLS)
def test_an_editor_that_ended_lines_otherwise_changes_nothing(name: str, tmp_path: Path) -> None:
    crlf = (FIXTURES / f"{name}.http").read_bytes()
    head, _, body = crlf.partition(b"\r\n\r\n")
    edited = tmp_path / "request.http"
    edited.write_bytes(head.replace(b"\r\n", b"\n") + b"\n\n" + body)

    found = explain.read_request(edited, "")

    assert found == explain.read_request(FIXTURES / f"{name}.http", "")


def test_the_head_ends_at_the_first_empty_line_whatever_the_body_holds(tmp_path: Path) -> None:
    request = tmp_path / "request.http"
    request.write_bytes(b'POST /v1/x HTTP/1.1\nhost: a\n\n{"a": 1,\r\n\r\n"b": 2}')

    found = explain.read_request(request, "")

    assert found.headers == {"host": "a"}
    assert json.loads(found.body) == {"a": 1, "b": 2}


def test_header_values_are_read_as_utf8_and_are_never_a_line_of_their_own(tmp_path: Path) -> None:
    request = tmp_path / "request.http"
    request.write_bytes("POST / HTTP/1.1\r\nX-Note: Å\x0c b\r\n\r\n".encode())

    assert explain.read_request(request, "").headers == {"x-note": "Å\x0c b"}


def test_a_body_alone_needs_the_path_that_it_is_sent_to(tmp_path: Path) -> None:
    request = tmp_path / "body.json"
    request.write_bytes(b"{}")

    assert explain.read_request(request, "/v1/messages").path == "/v1/messages"
    with pytest.raises(ValueError, match="give it with --path"):
        explain.read_request(request, "")


def test_what_is_no_request_is_said_to_be_none(tmp_path: Path) -> None:
    request = tmp_path / "request.http"
    request.write_bytes(b'{"messages": []}')

    with pytest.raises(ValueError, match="expected METHOD PATH"):
        explain.read_request(request, "")


async def test_the_text_shows_policy_model_rule_coverage_and_each_score(model: Path) -> None:
    body = json.dumps({"messages": [{"role": "tool", "content": f"{CANARY} \x1b[2J"}]})

    found = await trace(model, body=body.encode())

    lines = explain.as_text(found).splitlines()
    assert lines[0] == "policy   sha256:pppppppppppp"
    assert lines[2:8] == [
        "path     POST /v1/chat/completions",
        "asks     spiffe://example.com/app",
        "rule     default (inspect)",
        "dialect  openai_chat",
        "text     33 bytes: 10 scanned, 23 exempt (vocabulary)",
        f"tokens   {found.outcome.signals.tokens} over all views",
    ]
    score, limit, windows, provenance, view, where, text = (
        lines[10].removeprefix("! ").split(None, 6)
    )
    assert (score, limit, windows, provenance, view) == (
        "1.000",
        "0.500",
        "1",
        "tool_result",
        "raw",
    )
    assert (where, text) == ("/messages/0", f"'{CANARY} \\x1b[2J'")
    assert lines[-1] == "DENY  prompt_injection"


async def test_who_asks_is_shown_as_the_policy_looks_for_it(model: Path) -> None:
    served = policy(identity=(Identity(source=IdentitySource.HEADER, header="x-user"),))

    known = await trace(model, served, headers={"x-user": "alice"}, body=b"{}")
    stranger = await trace(model, served, body=b"{}")

    assert "asks     header:x-user:alice" in explain.as_text(known).splitlines()
    assert json.loads(explain.as_json(known))["principal"] == "header:x-user:alice"
    assert "asks     nobody" in explain.as_text(stranger).splitlines()


async def test_what_a_shadow_rule_did_not_enforce_is_shown(model: Path) -> None:
    body = json.dumps({"prompt": CANARY}).encode()

    shown = explain.as_text(await trace(model, policy(shadow=True), body=body))

    assert shown.endswith("ALLOW  prompt_injection, not enforced: deny")


@pytest.mark.parametrize(
    ("changes", "last"),
    [
        ({"path": "/a/../b"}, "DENY  path_ambiguous"),
        ({"body": b"{"}, "DENY  body_malformed"),
        ({"body": b""}, "DENY  body_truncated"),
    ],
)
async def test_a_request_without_scores_has_a_trace_too(
    model: Path, changes: dict[str, Any], last: str
) -> None:
    found = await trace(model, **changes)

    assert explain.as_text(found).endswith(last)
    assert json.loads(explain.as_json(found))["scored"] == []


async def test_json_holds_every_score_with_its_text(model: Path) -> None:
    fullwidth = "ｘｙｚｚｙ"
    body = json.dumps({"messages": [{"role": "user", "content": fullwidth}]}).encode()

    found = json.loads(explain.as_json(await trace(model, body=body)))

    assert (found["verdict"], found["reason"], found["rule"]) == (
        "deny",
        "prompt_injection",
        "default",
    )
    coverage = {"total": 38, "scanned": 15, "exempt": {"vocabulary": 23}, "opaque": {}}
    assert found["coverage"] == coverage
    assert [(one["view"], one["text"], one["score"] > 0.5) for one in found["scored"]] == [
        ("raw", fullwidth, False),
        ("normalised", CANARY, True),
    ]
    assert {one["pointer"] for one in found["scored"]} == {"/messages/0"}
    assert found["policy"] == "p" * 64


THAI = "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e04\u0e23\u0e31\u0e1a" * 4


@pytest.mark.parametrize(
    ("reaction", "last"), [("deny", "DENY  unreadable"), ("flag", "ALLOW  clean")]
)
async def test_a_text_that_the_classifier_cannot_read_is_shown_as_such(
    model: Path, reaction: str, last: str
) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": THAI}]}).encode()

    found = await trace(model, policy(detect={"unreadable": reaction}), body=body)

    lines = explain.as_text(found).splitlines()
    assert f"found    unreadable (raw) at '/messages/0': {reaction}" in lines
    assert lines[-1] == last
    (finding,) = json.loads(explain.as_json(found))["findings"]
    assert (finding["detector"], finding["pointer"]) == ("unreadable", "/messages/0")


async def test_scores_are_held_to_the_calibration_that_is_named(
    model: Path, tmp_path: Path
) -> None:
    own_thresholds = calibrated(model / "model.onnx", user=(0.5, 1.0, 1.0))
    calibration.write(tmp_path / "own.json", own_thresholds)
    body = json.dumps({"prompt": CANARY}).encode()

    own = await explain.explain(
        builders.call(body=body), policy(), model, {}, tmp_path / "own.json"
    )

    assert explain.as_text(own).endswith("ALLOW  clean")
    assert explain.as_text(await trace(model, body=body)).endswith("DENY  prompt_injection")


async def test_a_rate_that_was_never_measured_is_said_to_be_none(model: Path) -> None:
    served = policy(detect={"prompt_injection": {"false_positive_rate": 0.01}})

    with pytest.raises(ModelError, match=r"has no calibration\.json"):
        await trace(model, served)
