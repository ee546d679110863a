"""An access log says what became of a request, and nothing in it raises."""

from collections.abc import Mapping
from typing import Any

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import UInt32Value, UInt64Value
from hypothesis import given
from hypothesis import strategies as st

from extauthz.core.budget.report import Report, Usage
from extauthz.protocol import access_log
from extauthz.protocol._pb.access_log_pb2 import (
    AccessLogType,
    HTTPAccessLogEntry,
    ResponseFlags,
    StreamAccessLogsMessage,
    StreamAccessLogsResponse,
    TokenUsage,
)

EXT_AUTHZ = "envoy.filters.http.ext_authz"
OURS = {EXT_AUTHZ: {"id": "call-1", "replica": "r-7", "verdict": "allow"}}
MOST = 2**40


def entry(
    metadata: Mapping[str, Mapping[str, Any]] = OURS,
    *,
    tokens: TokenUsage | None = None,
    status: int = 200,
    **common: Any,
) -> HTTPAccessLogEntry:
    """One request, answered in full by the upstream where nothing else is said."""
    made = HTTPAccessLogEntry()
    made.response.response_code.CopyFrom(UInt32Value(value=status))
    for name, value in common.items():
        field = getattr(made.common_properties, name)
        if isinstance(value, int):
            setattr(made.common_properties, name, value)
        else:
            field.CopyFrom(value)
    for name, members in metadata.items():
        made.common_properties.metadata.filter_metadata[name].update(members)
    if tokens is not None:
        typed = made.common_properties.metadata.typed_filter_metadata["envoy.ai.token_usage"]
        typed.type_url = "type.googleapis.com/envoy.data.ai.v3.TokenUsage"
        typed.value = tokens.SerializeToString()
    return made


def log(*entries: HTTPAccessLogEntry) -> bytes:
    """The message of a stream that carries these entries."""
    entries_of = StreamAccessLogsMessage.HTTPAccessLogEntries
    return StreamAccessLogsMessage(http_logs=entries_of(log_entry=entries)).SerializeToString()


def only(one: HTTPAccessLogEntry) -> Report:
    """The one report about one entry."""
    (report,) = access_log.read(log(one))
    return report


def counted(**usage: Any) -> Usage | None:
    """What is read where json_to_metadata has put these members of an answer's usage."""
    return only(entry(OURS | {"llm.usage": usage})).usage


def extracted(
    input_tokens: int | None,
    output_tokens: int | None,
    status: "TokenUsage.ExtractionStatus.ValueType" = TokenUsage.COMPLETE,
) -> TokenUsage:
    """What ai_protocol_manager writes."""
    return TokenUsage(
        input_tokens=None if input_tokens is None else UInt64Value(value=input_tokens),
        output_tokens=None if output_tokens is None else UInt64Value(value=output_tokens),
        extraction_status=status,
    )


# Which entries


def test_each_decision_of_ours_is_reported_in_order_and_others_are_not() -> None:
    second = {EXT_AUTHZ: {"id": "call-2", "replica": "r-8"}}

    reports = access_log.read(log(entry(), entry({}), entry(second)))

    assert [(report.id, report.replica) for report in reports] == [
        ("call-1", "r-7"),
        ("call-2", "r-8"),
    ]


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"other.filter": OURS[EXT_AUTHZ]},
        {EXT_AUTHZ: {"id": "call-1"}},
        {EXT_AUTHZ: {"replica": "r-7"}},
        {EXT_AUTHZ: {"id": "", "replica": "r-7"}},
        {EXT_AUTHZ: {"id": 7, "replica": "r-7"}},
        {EXT_AUTHZ: {"id": "call-1", "replica": None}},
        {EXT_AUTHZ: {"id": ["call-1"], "replica": {"r": 7}}},
    ],
)
def test_an_entry_without_our_number_and_replica_is_skipped(
    metadata: Mapping[str, Mapping[str, Any]],
) -> None:
    assert access_log.read(log(entry(metadata))) == []


@pytest.mark.parametrize(
    ("kind", "reported"),
    [(0, True), (6, True), (4, False), (5, False), (9, False), (10, False), (99, False)],
    ids=["no type", "end", "start", "periodic", "upstream's end", "tunnel", "unknown"],
)
def test_only_the_end_of_a_request_is_reported(kind: int, reported: bool) -> None:
    message = log(entry(access_log_type=AccessLogType.ValueType(kind)))

    assert len(access_log.read(message)) == reported


# Usage


def test_what_envoy_has_normalised_counts_before_what_the_api_says() -> None:
    reported = OURS | {"llm.usage": {"prompt_tokens": 1, "completion_tokens": 2}}

    assert only(entry(reported, tokens=extracted(30, 40))).usage == Usage(30, 40)


@pytest.mark.parametrize(
    ("tokens", "usage"),
    [
        (extracted(30, None), Usage(30, 0)),
        (extracted(None, 40), Usage(0, 40)),
        (extracted(0, 0), Usage(0, 0)),
        (extracted(2**64 - 1, 2**40 + 1), Usage(MOST, MOST)),
        (extracted(None, None), None),
        (extracted(30, 40, TokenUsage.PARTIAL), None),
        (extracted(30, 40, TokenUsage.FAILED), None),
        (extracted(30, 40, TokenUsage.EXTRACTION_STATUS_UNSPECIFIED), None),
    ],
)
def test_complete_counts_alone_are_usage(tokens: TokenUsage, usage: Usage | None) -> None:
    assert only(entry(tokens=tokens)).usage == usage


def test_partial_counts_give_way_to_what_the_api_says() -> None:
    reported = OURS | {"llm.usage": {"prompt_tokens": 1, "completion_tokens": 2}}

    partial = extracted(30, 40, TokenUsage.PARTIAL)

    assert only(entry(reported, tokens=partial)).usage == Usage(1, 2)


@pytest.mark.parametrize(
    "typed",
    [
        AnyMessage(type_url="type.googleapis.com/envoy.data.ai.v3.RequestInfo"),
        AnyMessage(type_url="type.googleapis.com/envoy.data.ai.v3.TokenUsage", value=b"\xff"),
        AnyMessage(type_url="//", value=b"\xff"),
        AnyMessage(),
    ],
)
def test_another_message_under_that_name_is_no_usage(typed: AnyMessage) -> None:
    made = entry()
    made.common_properties.metadata.typed_filter_metadata["envoy.ai.token_usage"].CopyFrom(typed)

    assert only(made).usage is None


@pytest.mark.parametrize(
    ("said", "usage"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}, Usage(9, 5)),
        ({"prompt_tokens": 9, "total_tokens": 9}, Usage(9, 0)),
        ({"input_tokens": 9, "output_tokens": 5}, Usage(9, 5)),
        (
            {
                "input_tokens": 9,
                "cache_creation_input_tokens": 200,
                "cache_read_input_tokens": 1000,
                "output_tokens": 5,
            },
            Usage(1209, 5),
        ),
        ({"prompt_tokens": 9, "cache_read_input_tokens": 8, "completion_tokens": 5}, Usage(9, 5)),
        (
            {"promptTokenCount": 9, "candidatesTokenCount": 5, "thoughtsTokenCount": 70},
            Usage(9, 75),
        ),
        ({"promptTokenCount": 9, "thoughtsTokenCount": 70}, Usage(9, 70)),
        ({"promptTokenCount": 9, "toolUsePromptTokenCount": 3}, Usage(12, 0)),
        ({"inputTokens": 9, "cacheReadInputTokens": 80, "outputTokens": 5}, Usage(89, 5)),
        ({"prompt_eval_count": 9, "eval_count": 5}, Usage(9, 5)),
        ({"eval_count": 5}, Usage(0, 5)),
        ({"total_tokens": 14}, None),
        ({}, None),
    ],
    ids=[
        "OpenAI",
        "OpenAI embeddings",
        "OpenAI responses",
        "Anthropic",
        "OpenAI's form of Anthropic",
        "Gemini",
        "Gemini, thoughts alone",
        "Gemini tools",
        "Bedrock",
        "Ollama",
        "Ollama, prompt in its cache",
        "total alone",
        "nothing",
    ],
)
def test_every_apis_own_counts_are_read(said: Mapping[str, Any], usage: Usage | None) -> None:
    assert counted(**said) == usage


@pytest.mark.parametrize(
    "value", [-1, 1.5, float("nan"), float("inf"), float("-inf"), "9", True, None, [9], {"n": 9}]
)
def test_what_is_no_count_is_none(value: Any) -> None:
    assert counted(prompt_tokens=value) is None
    assert counted(prompt_tokens=value, completion_tokens=5) == Usage(0, 5)


@pytest.mark.parametrize("value", [2.0**40, 2.0**63, 1e308])
def test_a_huge_count_is_cut(value: float) -> None:
    said = {"input_tokens": value, "cache_read_input_tokens": value, "output_tokens": value}

    assert counted(**said) == Usage(MOST, MOST)


@given(st.dictionaries(st.sampled_from(["prompt_tokens", "eval_count"]), st.floats()))
def test_counts_are_within_bounds_whatever_is_claimed(said: Mapping[str, float]) -> None:
    usage = counted(**said)

    assert usage is None or all(0 <= count <= MOST for count in usage)


# How it ended


@pytest.mark.parametrize(
    ("status", "failed"),
    [(200, False), (304, False), (399, False), (400, True), (429, True), (503, True), (0, False)],
)
def test_an_error_that_was_given_whole_is_a_failure(status: int, failed: bool) -> None:
    assert only(entry(status=status)).failed is failed


@pytest.mark.parametrize("flag", [field.name for field in ResponseFlags.DESCRIPTOR.fields])
def test_nothing_that_was_cut_short_is_a_failure_for_which_nothing_is_charged(flag: str) -> None:
    assert only(entry(status=504, response_flags=ResponseFlags())).failed
    assert not only(entry(status=504, response_flags=ResponseFlags(**{flag: True}))).failed


@pytest.mark.parametrize("flag", [field.name for field in ResponseFlags.DESCRIPTOR.fields])
def test_counts_of_a_stream_that_was_cut_short_are_not_its_last(flag: str) -> None:
    """Whoever cuts an Anthropic stream at its beginning would pay for one token of output."""
    told: dict[str, Any] = {**OURS, "llm.usage": {"input_tokens": 9, "output_tokens": 1}}
    whole = TokenUsage(
        input_tokens=UInt64Value(value=9),
        output_tokens=UInt64Value(value=5),
        extraction_status=TokenUsage.COMPLETE,
    )
    cut = ResponseFlags(**{flag: True})
    assert only(entry(told)).usage == Usage(9, 1)
    assert only(entry(told, response_flags=cut)).usage is None
    assert only(entry(told, tokens=whole, response_flags=cut)).usage == Usage(9, 5)


def test_an_entry_without_a_response_is_no_failure() -> None:
    made = entry()
    made.ClearField("response")

    assert not only(made).failed


@pytest.mark.parametrize(
    ("times", "ended_s"),
    [
        ({"start_time": Timestamp(seconds=1000, nanos=500_000_000)}, 0.0),
        ({"duration": Duration(seconds=2)}, 0.0),
        (
            {
                "start_time": Timestamp(seconds=1000, nanos=500_000_000),
                "duration": Duration(seconds=2, nanos=250_000_000),
            },
            1002.75,
        ),
        (
            {
                "start_time": Timestamp(seconds=1000),
                "time_to_last_downstream_tx_byte": Duration(nanos=250_000_000),
            },
            1000.25,
        ),
        (
            {
                "start_time": Timestamp(seconds=1000),
                "time_to_last_downstream_tx_byte": Duration(seconds=1),
                "duration": Duration(seconds=2),
            },
            1002.0,
        ),
        ({"start_time": Timestamp(seconds=2**63 - 1), "duration": Duration(seconds=2)}, 0.0),
        ({"start_time": Timestamp(seconds=-(2**63)), "duration": Duration(seconds=2)}, 0.0),
    ],
    ids=["no duration", "no start", "both", "last byte", "duration first", "huge", "negative"],
)
def test_the_end_is_the_start_and_what_it_lasted(times: Mapping[str, Any], ended_s: float) -> None:
    assert only(entry(**times)).ended_s == ended_s


# What nobody should send


def test_a_message_without_entries_or_of_tcp_is_about_nothing() -> None:
    assert access_log.read(b"") == []
    assert access_log.read(StreamAccessLogsMessage().SerializeToString()) == []
    assert access_log.read(b"\x1a\x00") == []  # field 3, tcp_logs


@pytest.mark.parametrize("message", [b"\xff", log(entry())[:-1]])
def test_what_is_no_message_is_about_nothing(message: bytes) -> None:
    assert access_log.read(message) == []


@given(st.binary(max_size=64))
def test_no_bytes_raise(message: bytes) -> None:
    assert access_log.read(message) == []


@given(st.data())
def test_a_damaged_message_never_raises(data: st.DataObject) -> None:
    metadata = OURS | {"llm.usage": {"prompt_tokens": 9, "completion_tokens": 5}}
    made = entry(
        metadata,
        tokens=extracted(30, 40),
        start_time=Timestamp(seconds=1000),
        duration=Duration(seconds=2),
        response_flags=ResponseFlags(local_reset=True),
    )
    message = bytearray(log(made))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))

    for report in access_log.read(bytes(message)):
        assert report.usage is None or all(0 <= count <= MOST for count in report.usage)
        assert 0.0 <= report.ended_s < 1e12


def test_the_answer_says_nothing() -> None:
    assert StreamAccessLogsResponse.FromString(access_log.ANSWER) == StreamAccessLogsResponse()
