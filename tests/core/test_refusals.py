"""How a denial looks: for every shape, reason and dialect, something that a client can read."""

import inspect
import itertools
import re
from typing import Any

import orjson
import pytest

from extauthz.core.dialects import KNOWN, UNKNOWN_JSON, Dialect
from extauthz.core.dialects.anthropic_messages import ANTHROPIC_MESSAGES
from extauthz.core.dialects.openai_chat import OPENAI_CHAT
from extauthz.core.dialects.openai_responses import OPENAI_RESPONSES
from extauthz.core.media import Media
from extauthz.core.policy import DenyShape
from extauthz.core.reasons import Failure, Reason
from extauthz.core.refusals import Denial, denial

DIALECTS = (*KNOWN, UNKNOWN_JSON)
STATUS = {
    "body_truncated": 413,
    "body_too_large": 413,
    "body_not_utf8": 400,
    "body_malformed": 400,
    "body_too_complex": 400,
    "body_duplicate_key": 400,
    "encoding_unsupported": 415,
    "body_byte_order_mark": 400,
    "body_number_too_large": 400,
    "charset_unsupported": 415,
    "encoding_malformed": 400,
    "media_unsupported": 415,
    "media_ambiguous": 400,
    "form_malformed": 400,
    "multipart_malformed": 400,
    "grpc_malformed": 400,
    "tensor_malformed": 400,
    "query_malformed": 400,
    "header_mismatch": 400,
    "upgrade_unreadable": 400,
    "identity_ambiguous": 400,
    "path_ambiguous": 400,
    "too_many_tokens": 413,
    "output_cap_malformed": 400,
    "output_cap_exceeded": 400,
    "over_budget": 429,
    "overloaded": 503,
    "deadline_exceeded": 503,
    "cancelled": 503,
    "model_fault": 503,
    "store_fault": 503,
    "check_malformed": 500,
    "internal_error": 500,
}
#: The policy's own "no". Everything else says that a request could not be read, judged or afforded.
JUDGED = [reason for reason in Reason if reason.value not in STATUS]
#: As `limit_headers` writes them.
LIMITS = {
    "x-extauthz-limit": "tokens",
    "ratelimit-limit": "1000",
    "ratelimit-remaining": "0",
    "ratelimit-reset": "60",
    "retry-after": "7",
}
FORMS = [*itertools.product(DenyShape, DIALECTS, (False, True))]


def events(stream: bytes) -> list[tuple[str, Any]]:
    """(name, data) of each server-sent event, read by the letter of the format."""
    assert stream.endswith(b"\n\n")
    found = []
    for block in stream.decode().removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        assert fields.keys() <= {"event", "data"}
        data = fields["data"]
        found.append(
            (fields.get("event", ""), "[DONE]" if data == "[DONE]" else orjson.loads(data))
        )
    return found


def can_refuse(dialect: Dialect, *, stream: bool) -> bool:
    return bool(dialect.refuse_stream if stream else dialect.refuse)


def refusal(dialect: Dialect, *, stream: bool) -> Denial:
    return denial(DenyShape.REFUSAL_200, Reason.PROMPT_INJECTION, dialect, stream=stream)


@pytest.mark.parametrize("reason", Reason)
def test_every_denial_is_well_formed_and_names_its_reason(reason: Reason) -> None:
    for shape, dialect, stream in FORMS:
        answer = denial(shape, reason, dialect, stream=stream)
        assert answer.headers["x-extauthz-reason"] == reason.value
        assert reason.value.encode() in answer.body
        if answer.headers["content-type"] == "text/event-stream":
            assert stream
            assert events(answer.body)
        elif answer.headers["content-type"] == "application/x-ndjson":
            assert stream
            assert [orjson.loads(line)["done"] for line in answer.body.splitlines()] == [
                False,
                True,
            ]
        else:
            assert answer.headers["content-type"] == "application/json"
            assert isinstance(orjson.loads(answer.body), dict)


@pytest.mark.parametrize("reason", Reason)
def test_the_status_follows_the_reason_and_only_a_judgement_takes_the_rules_shape(
    reason: Reason,
) -> None:
    for shape, dialect, stream in FORMS:
        answer = denial(shape, reason, dialect, stream=stream)
        judged = {
            DenyShape.JSON_403: 403,
            DenyShape.CONTENT_FILTER_400: 400,
            DenyShape.REFUSAL_200: 200 if can_refuse(dialect, stream=stream) else 403,
        }
        assert answer.status == STATUS.get(reason.value, judged[shape])


@pytest.mark.parametrize("reason", Reason)
def test_only_an_answer_that_may_change_says_when_to_try_again(reason: Reason) -> None:
    for shape, dialect, stream in FORMS:
        answer = denial(shape, reason, dialect, stream=stream)
        assert ("retry-after" in answer.headers) == (answer.status == 503)
        assert answer.headers.get("retry-after", "1").isdigit()


@pytest.mark.parametrize("failure", Failure)
def test_every_failure_has_a_status_of_its_own_kind(failure: Failure) -> None:
    assert failure.value in STATUS


def test_a_denial_knows_nothing_of_the_request_and_no_score() -> None:
    parameters = inspect.signature(denial).parameters
    assert list(parameters) == ["shape", "reason", "dialect", "stream", "limits"]


@pytest.mark.parametrize("reason", Reason)
def test_a_denial_shows_no_score(reason: Reason) -> None:
    for shape, dialect, stream in FORMS:
        body = denial(shape, reason, dialect, stream=stream).body
        assert b"score" not in body
        assert b"threshold" not in body
        assert not re.search(rb"\d\.\d", body.replace(b'"jsonrpc":"2.0"', b""))


def over_budget(name: str, shape: DenyShape = DenyShape.JSON_403) -> Denial:
    (dialect,) = (one for one in DIALECTS if one.name == name)
    return denial(shape, Reason.OVER_BUDGET, dialect, stream=False, limits=LIMITS)


def test_over_a_limit_every_shape_and_dialect_says_which_and_when_to_try_again() -> None:
    for shape, dialect, stream in FORMS:
        answer = denial(shape, Reason.OVER_BUDGET, dialect, stream=stream, limits=LIMITS)
        assert answer.status == 429
        assert LIMITS.items() <= answer.headers.items()
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers.get("grpc-status") == ("8" if Media.GRPC in dialect.accepts else None)


def test_a_request_that_can_never_pass_is_not_told_to_try_again() -> None:
    limits = {name: value for name, value in LIMITS.items() if name != "retry-after"}
    answer = denial(
        DenyShape.JSON_403, Reason.OVER_BUDGET, OPENAI_CHAT, stream=False, limits=limits
    )
    assert "retry-after" not in answer.headers


def test_a_failure_of_ours_says_in_a_second_and_not_when_the_limit_is_as_new() -> None:
    answer = denial(DenyShape.JSON_403, Reason.OVERLOADED, OPENAI_CHAT, stream=False, limits=LIMITS)
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("shape", DenyShape)
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("openai_chat", {"error": {"type": "rate_limit_error", "code": "rate_limit_exceeded"}}),
        ("openai_chat", {"error": {"param": None, "innererror": {"code": "over_budget"}}}),
        ("openai_responses", {"error": {"code": "rate_limit_exceeded"}}),
        ("unknown_json", {"error": {"code": "rate_limit_exceeded"}}),
        ("anthropic_messages", {"type": "error", "error": {"type": "rate_limit_error"}}),
        ("gemini", {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}),
        ("mcp", {"jsonrpc": "2.0", "id": None}),
        ("tgi", {"error_type": "overloaded"}),
        ("bedrock_converse", {}),
        ("cohere_chat", {}),
        ("ollama_chat", {}),
    ],
)
def test_over_a_limit_each_client_sees_the_error_of_its_own_api_whatever_the_shape(
    shape: DenyShape, name: str, error: dict[str, Any]
) -> None:
    body = orjson.loads(over_budget(name, shape).body)
    assert "over a usage limit" in orjson.dumps(body).decode()
    assert _holds(body, error)


def test_who_asks_for_too_much_output_is_told_so_and_not_that_it_is_a_security_matter() -> None:
    for reason in (Reason.OUTPUT_CAP_EXCEEDED, Reason.OUTPUT_CAP_MALFORMED):
        body = denial(DenyShape.JSON_403, reason, OPENAI_CHAT, stream=False).body
        assert b"output" in orjson.loads(body)["error"]["message"].encode()
        assert b"security" not in body


@pytest.mark.parametrize("reason", JUDGED)
def test_openai_clients_see_a_content_filter(reason: Reason) -> None:
    answer = denial(DenyShape.CONTENT_FILTER_400, reason, OPENAI_CHAT, stream=False)
    error = orjson.loads(answer.body)["error"]
    assert error["code"] == "content_filter"
    assert error["type"] == "invalid_request_error"
    assert error["innererror"]["code"] == reason.value


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("anthropic_messages", {"type": "error", "error": {"type": "invalid_request_error"}}),
        ("gemini", {"error": {"code": 400, "status": "INVALID_ARGUMENT"}}),
        ("mcp", {"jsonrpc": "2.0", "id": None, "error": {"code": -32600}}),
        ("tgi", {"error_type": "validation"}),
        ("bedrock_converse", {}),
        ("cohere_chat", {}),
        ("ollama_chat", {}),
    ],
)
def test_other_clients_see_the_error_of_their_own_api(name: str, error: dict[str, Any]) -> None:
    (dialect,) = (one for one in KNOWN if one.name == name)
    answer = denial(DenyShape.CONTENT_FILTER_400, Reason.PROMPT_INJECTION, dialect, stream=False)
    assert answer.status == 400
    body = orjson.loads(answer.body)
    inner = body.get("error")
    message = inner["message"] if isinstance(inner, dict) else inner or body["message"]
    assert "blocked" in message
    assert _holds(body, error)


def _holds(value: Any, expected: Any) -> bool:
    if isinstance(expected, dict):
        return all(_holds(value[name], member) for name, member in expected.items())
    return bool(value == expected)


def test_openai_clients_see_a_server_error_when_it_is_one() -> None:
    answer = denial(DenyShape.CONTENT_FILTER_400, Reason.OVERLOADED, OPENAI_CHAT, stream=False)
    error = orjson.loads(answer.body)["error"]
    assert (error["type"], error["code"]) == ("server_error", "overloaded")


def test_a_chat_refusal_is_a_completion_that_was_filtered() -> None:
    body = orjson.loads(refusal(OPENAI_CHAT, stream=False).body)
    assert body["object"] == "chat.completion"
    (choice,) = body["choices"]
    assert choice["finish_reason"] == "content_filter"
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"]


def test_a_streamed_chat_refusal_ends_as_the_api_does() -> None:
    *chunks, done = events(refusal(OPENAI_CHAT, stream=True).body)
    assert done == ("", "[DONE]")
    assert {chunk["object"] for _, chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[-1][1]["choices"][0]["finish_reason"] == "content_filter"


def test_a_responses_refusal_is_a_completed_response() -> None:
    body = orjson.loads(refusal(OPENAI_RESPONSES, stream=False).body)
    assert (body["object"], body["status"]) == ("response", "completed")
    assert body["output"][0]["content"][0]["text"]


def test_a_messages_refusal_stops_for_refusal() -> None:
    body = orjson.loads(refusal(ANTHROPIC_MESSAGES, stream=False).body)
    assert (body["type"], body["stop_reason"]) == ("message", "refusal")
    assert body["content"][0]["text"]


@pytest.mark.parametrize(
    ("dialect", "last"),
    [(OPENAI_RESPONSES, "response.completed"), (ANTHROPIC_MESSAGES, "message_stop")],
)
def test_a_stream_of_typed_events_names_each_by_its_type(dialect: Dialect, last: str) -> None:
    found = events(refusal(dialect, stream=True).body)
    assert all(name == data["type"] for name, data in found)
    assert found[-1][0] == last


@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_of_an_unknown_api_gets_plain_http(stream: bool) -> None:
    answer = refusal(UNKNOWN_JSON, stream=stream)
    assert answer.status == 403
    assert orjson.loads(answer.body)["error"]["reason"] == "prompt_injection"
