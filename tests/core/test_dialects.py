"""Dialects: which endpoint speaks which, and refusals that its SDKs can read."""

import json
from typing import Any

import pytest

from extauthz.core.dialects import KNOWN, UNKNOWN_JSON, Dialect, dialect_for
from tests.fixtures import sdk_call

each_known = pytest.mark.parametrize("dialect", KNOWN, ids=[d.name for d in KNOWN])
TEXT = 'No.\n"é" \u2028 \n\ndata: x'


def events(stream: bytes) -> list[tuple[str, Any]]:
    """(event name, data) of each server-sent event; data that is not JSON stays text."""
    assert stream.endswith(b"\n\n")
    found = []
    for block in stream.decode().removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        assert fields.keys() <= {"event", "data"}
        data = fields["data"]
        found.append((fields.get("event", ""), data if data == "[DONE]" else json.loads(data)))
    return found


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/chat/completions", "openai_chat"),
        ("/v1/chat/completions/", "openai_chat"),
        ("/openai/deployments/gpt/chat/completions", "openai_chat"),
        ("/v1/responses", "openai_responses"),
        ("/v1/messages", "anthropic_messages"),
        ("/v1/messages/count_tokens", "anthropic_messages"),
        ("/v1/completions", "unknown_json"),
        ("/v1/threads/t/messages", "unknown_json"),
        ("/v1/chat/completionsx", "unknown_json"),
        ("/", "unknown_json"),
        ("", "unknown_json"),
    ],
)
def test_the_endpoint_names_the_dialect(path: str, name: str) -> None:
    assert dialect_for(path).name == name


@pytest.mark.parametrize(
    ("fixture", "name"),
    [
        ("openai_chat", "openai_chat"),
        ("openai_chat_stream", "openai_chat"),
        ("openai_responses", "openai_responses"),
        ("anthropic_messages", "anthropic_messages"),
        ("openai_completions", "unknown_json"),
    ],
)
def test_what_sdks_send_is_recognised(fixture: str, name: str) -> None:
    assert dialect_for(sdk_call(fixture).path).name == name


@each_known
def test_a_vocabulary_holds_short_constants_only(dialect: Dialect) -> None:
    assert all(word.isascii() and word.isidentifier() for word in dialect.vocabulary)
    assert max(map(len, dialect.vocabulary)) < 32


def test_unknown_json_exempts_nothing_and_labels_all_as_the_users() -> None:
    assert not UNKNOWN_JSON.vocabulary
    assert set(UNKNOWN_JSON.labels.values()) == {"user"}
    assert UNKNOWN_JSON.refuse is UNKNOWN_JSON.refuse_stream is None


@each_known
def test_a_refusal_says_its_text_and_that_it_is_one(dialect: Dialect) -> None:
    assert dialect.refuse is not None
    answer = json.loads(dialect.refuse(TEXT))
    said, end = {
        "openai_chat": lambda: (
            answer["choices"][0]["message"]["content"],
            answer["choices"][0]["finish_reason"] == "content_filter",
        ),
        "openai_responses": lambda: (
            answer["output"][0]["content"][0]["text"],
            answer["status"] == "completed",
        ),
        "anthropic_messages": lambda: (
            answer["content"][0]["text"],
            answer["stop_reason"] == "refusal",
        ),
    }[dialect.name]()
    assert said == TEXT
    assert end


def stream_of(dialect: Dialect) -> list[tuple[str, Any]]:
    assert dialect.refuse_stream is not None
    return events(dialect.refuse_stream(TEXT))


def test_a_streamed_chat_refusal_is_chunks_and_then_done() -> None:
    chunks = [data for _, data in stream_of(dialect_for("/v1/chat/completions"))]
    assert chunks.pop() == "[DONE]"
    choices = [chunk["choices"][0] for chunk in chunks]
    assert "".join(choice["delta"].get("content", "") for choice in choices) == TEXT
    assert [choice["finish_reason"] for choice in choices] == [None, "content_filter"]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}


def test_a_streamed_responses_refusal_is_numbered_and_ends_with_the_whole_response() -> None:
    found = stream_of(dialect_for("/v1/responses"))
    assert [name for name, _ in found] == [data["type"] for _, data in found]
    assert [data["sequence_number"] for _, data in found] == list(range(len(found)))
    assert found[-1][0] == "response.completed"
    assert found[-1][1]["response"]["output"][0]["content"][0]["text"] == TEXT


def test_a_streamed_messages_refusal_opens_and_closes_its_block() -> None:
    found = stream_of(dialect_for("/v1/messages"))
    assert [name for name, _ in found] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert all(name == data["type"] for name, data in found)
    assert found[2][1]["delta"]["text"] == TEXT
    assert found[4][1]["delta"]["stop_reason"] == "refusal"
