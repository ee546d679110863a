"""Dialects: which endpoint speaks which, and refusals that its SDKs can read."""

import functools
import json
import operator
from typing import Any

import pytest

from extauthz.core.dialects import KNOWN, UNKNOWN_JSON, Dialect, dialect_for
from extauthz.core.dialects.dialect import words
from extauthz.core.dialects.endpoint import matches, model_in

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
        ("/api/v3/openai/v1/chat/completions", "openai_chat"),
        ("/openai/deployments/gpt/chat/completions", "openai_chat"),
        ("/openai/deployments/gpt/completions", "openai_completions"),
        ("/openai/v1/responses", "openai_responses"),
        ("/v1/completions", "openai_completions"),
        ("/v1/messages", "anthropic_messages"),
        ("/v1/messages/count_tokens", "anthropic_messages"),
        ("/v1/messages/batches", "anthropic_batches"),
        ("/v1/threads/t/messages", "openai_threads"),
        ("/v1/threads/t/runs/r/submit_tool_outputs", "openai_threads"),
        ("/v1beta/models/gemini-2.0-flash:streamGenerateContent", "gemini"),
        ("/v1/projects/p/locations/l/publishers/google/models/g:generateContent", "gemini"),
        ("/v1/publishers/anthropic/models/claude:rawPredict", "anthropic_messages"),
        ("/model/us.anthropic.claude:0/invoke-with-response-stream", "bedrock_invoke"),
        ("/v2/chat", "cohere_chat"),
        ("/v1/chat", "cohere_chat_v1"),
        ("/api/chat", "ollama_chat"),
        ("/api/generate", "ollama_generate"),
        ("/generate", "tgi"),
        ("/inference/v1/generate", "vllm_generate"),
        ("/v2/models/m/generate", "kserve"),
        ("/v2/models/m/versions/1/infer", "kserve"),
        ("/v2/embed", "cohere_embed"),
        ("/embed", "text_embeddings"),
        ("/", "tgi"),
        ("", "tgi"),
        ("/v1/chat/completionsx", "unknown_json"),
        ("/v1/xcompletions", "unknown_json"),
        ("/v1/chat/completions/x", "unknown_json"),
        ("/model/converse", "unknown_json"),
        ("/model/a/b/converse", "unknown_json"),
        ("/x/models/:generateContent", "unknown_json"),
        ("/chat", "unknown_json"),
        ("/x", "unknown_json"),
    ],
)
def test_the_endpoint_names_the_dialect(path: str, name: str) -> None:
    assert dialect_for(path).name == name


def test_an_endpoint_is_spelled_exactly() -> None:
    assert not matches("/model/*/invoke", "/model/a/Invoke")
    assert not matches("/a.b", "/aXb")
    assert matches("/a/*", "/a/anything")
    assert not matches("/a/*", "/a")
    assert model_in(["/m/{model}:go"], "/m/x:y:go") == "x:y"


def test_no_two_dialects_share_an_endpoint() -> None:
    endpoints = [endpoint for dialect in KNOWN for endpoint in dialect.endpoints]
    assert len(endpoints) == len(set(endpoints))
    for dialect in KNOWN:
        for endpoint in dialect.endpoints:
            assert dialect_for(endpoint.replace("*", "x").replace("{model}", "m")) is dialect


@pytest.mark.parametrize(
    ("path", "body", "wanted"),
    [
        ("/v1/chat/completions", {"stream": True}, True),
        ("/v1/chat/completions", {"stream": "true"}, True),
        ("/v1/chat/completions", {"stream": False}, False),
        ("/v1/chat/completions", {"stream": []}, False),
        ("/v1/chat/completions", {}, False),
        ("/v1/chat/completions", None, False),
        ("/v1/chat/completions", ["stream"], False),
        ("/api/chat", {}, True),
        ("/api/chat", {"stream": False}, False),
        ("/api/chat", {"stream": None}, True),
        ("/models/m:streamGenerateContent", {}, True),
        ("/models/m:generateContent", {}, False),
        ("/model/m/converse-stream/", {}, True),
        ("/generate_stream", {"stream": False}, True),
        ("/v1/audio/transcriptions", [{"name": "stream", "content": "true"}], True),
        ("/v1/audio/transcriptions", [{"name": "stream", "value": "false"}], False),
    ],
)
def test_who_asks_for_a_stream(path: str, body: Any, wanted: bool) -> None:
    assert dialect_for(path).wants_stream(path, body) is wanted


@pytest.mark.parametrize(
    ("path", "body", "model"),
    [
        ("/v1/chat/completions", {"model": "m"}, "m"),
        ("/openai/deployments/d/chat/completions", {"model": "m"}, "d"),
        ("/models/g:generateContent", {"model": "m"}, "g"),
        ("/model/a.b:0/converse", {}, "a.b:0"),
        ("/v2/models/m/versions/3/infer", {}, "m"),
        ("/endpoints/e/invocations", {}, "e"),
        ("/v1/audio/transcriptions", [{"name": "model", "content": "w"}], "w"),
        ("/v1/chat/completions", {"model": ["m"]}, ""),
        ("/v1/chat/completions", [{"name": ["model"], "content": "w"}, 1], ""),
        ("/v1/chat/completions", "m", ""),
        ("/mcp", {"": "m"}, ""),
        ("/x", {"model": "m"}, "m"),
    ],
)
def test_which_model_is_asked(path: str, body: Any, model: str) -> None:
    assert dialect_for(path).model_of(path, body) == model


CALL = {"method": "tools/call", "params": {"name": "f"}}


@pytest.mark.parametrize(
    ("headers", "body", "contradiction"),
    [
        ({}, CALL, False),
        ({"mcp-method": "tools/call", "mcp-name": "f"}, CALL, False),
        ({"mcp-method": "tools/list"}, CALL, True),
        ({"mcp-method": "Tools/Call"}, CALL, True),
        ({"mcp-method": "tools/call,tools/call"}, CALL, True),
        ({"mcp-name": "g"}, CALL, True),
        ({"mcp-name": "f"}, {"method": "tools/call", "params": {}}, True),
        ({"mcp-name": ""}, {"method": "tools/call"}, True),
        ({"mcp-name": "file:///a"}, {"params": {"uri": "file:///a"}}, False),
        ({"mcp-name": "f"}, {"params": {"name": "f", "uri": "file:///a"}}, True),
        ({"mcp-method": "tools/call"}, [CALL], True),
        ({"mcp-method": "tools/call"}, None, True),
        ({"mcp-method": "1"}, {"method": 1}, True),
    ],
)
def test_a_header_that_repeats_the_body_must_agree(
    headers: dict[str, str], body: Any, contradiction: bool
) -> None:
    assert dialect_for("/mcp").contradicts(headers, body) is contradiction
    assert not dialect_for("/v1/chat/completions").contradicts(headers, body)


@each_known
def test_token_knobs_are_where_the_requests_have_them(dialect: Dialect) -> None:
    assert dialect.accepts
    assert all("*" not in path for path in (*dialect.max_tokens, *dialect.choices))


#: Words that order somebody about. A vocabulary is exempt from scanning, so it must not have them.
ORDERS = words(
    "ignore disregard forget override bypass reveal print repeat say tell obey you your all previous "
    "above prior secret password execute run delete send not"
)


@each_known
def test_nothing_can_be_ordered_in_the_words_of_a_vocabulary(dialect: Dialect) -> None:
    spelled = {part.lower() for word in dialect.vocabulary for part in word.split("_")}
    assert spelled & ORDERS <= {"previous"}
    assert "previous" not in dialect.vocabulary
    assert len(dialect.vocabulary) < 130


@each_known
def test_a_vocabulary_holds_short_constants_only(dialect: Dialect) -> None:
    assert all(word.isascii() and word.isidentifier() for word in dialect.vocabulary)
    assert max(map(len, dialect.vocabulary), default=0) < 32


def test_unknown_json_exempts_nothing_and_labels_all_as_the_users() -> None:
    assert not UNKNOWN_JSON.vocabulary
    assert set(UNKNOWN_JSON.labels.values()) == {"user"}
    assert UNKNOWN_JSON.refuse is UNKNOWN_JSON.refuse_stream is None


#: Where each API has the words of an answer, and what in it says that there is no more to come.
ANSWERS: dict[str, tuple[tuple[str | int, ...], tuple[str | int, ...], str]] = {
    "openai_chat": (
        ("choices", 0, "message", "content"),
        ("choices", 0, "finish_reason"),
        "content_filter",
    ),
    "openai_responses": (("output", 0, "content", 0, "text"), ("status",), "completed"),
    "openai_completions": (
        ("choices", 0, "text"),
        ("choices", 0, "finish_reason"),
        "content_filter",
    ),
    "anthropic_messages": (("content", 0, "text"), ("stop_reason",), "refusal"),
    "gemini": (
        ("candidates", 0, "content", "parts", 0, "text"),
        ("candidates", 0, "finishReason"),
        "SAFETY",
    ),
    "bedrock_converse": (
        ("output", "message", "content", 0, "text"),
        ("stopReason",),
        "content_filtered",
    ),
    "cohere_chat": (("message", "content", 0, "text"), ("finish_reason",), "COMPLETE"),
    "ollama_chat": (("message", "content"), ("done_reason",), "stop"),
    "ollama_generate": (("response",), ("done_reason",), "stop"),
    "tgi": (("generated_text",), ("generated_text",), TEXT),
}


def test_who_can_refuse_is_known() -> None:
    assert {dialect.name for dialect in KNOWN if dialect.refuse} == ANSWERS.keys()
    streaming = {dialect.name for dialect in KNOWN if dialect.refuse_stream}
    assert ANSWERS.keys() - streaming == {"bedrock_converse"}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_refusal_says_its_text_and_that_it_is_one(name: str) -> None:
    (dialect,) = (one for one in KNOWN if one.name == name)
    assert dialect.refuse is not None
    answer = json.loads(dialect.refuse(TEXT))
    said, end, why = ANSWERS[name]
    assert functools.reduce(operator.getitem, said, answer) == TEXT
    assert functools.reduce(operator.getitem, end, answer) == why


def test_a_streamed_refusal_of_ollama_is_a_line_and_an_end() -> None:
    dialect = dialect_for("/api/generate")
    assert dialect.refuse_stream is not None
    said, end = map(json.loads, dialect.refuse_stream(TEXT).splitlines())
    assert (said["response"], said["done"]) == (TEXT, False)
    assert (end["response"], end["done"], end["done_reason"]) == ("", True, "stop")


def test_a_streamed_cohere_refusal_opens_and_closes_its_content() -> None:
    found = stream_of(dialect_for("/v2/chat"))
    assert [name for name, _ in found] == [
        "message-start",
        "content-start",
        "content-delta",
        "content-end",
        "message-end",
    ]
    assert found[2][1]["delta"]["message"]["content"]["text"] == TEXT


def test_streamed_refusals_of_one_event() -> None:
    ((_, gemini),) = stream_of(dialect_for("/models/m:streamGenerateContent"))
    assert gemini["candidates"][0]["content"]["parts"] == [{"text": TEXT}]
    ((_, tgi),) = stream_of(dialect_for("/generate_stream"))
    assert tgi["token"]["text"] == tgi["generated_text"] == TEXT
    (_, completion), (_, done) = stream_of(dialect_for("/v1/completions"))
    assert completion["choices"][0]["text"] == TEXT
    assert done == "[DONE]"


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
