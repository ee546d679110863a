"""Envoy's access log to what became of the requests that we decided on.

Counts are what an upstream claims: they are read as numbers within bounds, or not at all.
"""

from typing import Final

from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct

from extauthz.core.budget.report import Report, Usage
from extauthz.protocol._pb import access_log_pb2, core_pb2

METHOD: Final = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"

#: What a stream is answered with when it ends.
ANSWER: Final = access_log_pb2.StreamAccessLogsResponse().SerializeToString()

#: Where Envoy keeps the metadata of our answers, whatever the filter is called in its configuration.
_EXT_AUTHZ: Final = "envoy.filters.http.ext_authz"
#: Where Envoy's ai_protocol_manager writes unless it is told otherwise.
_NORMALISED: Final = "envoy.ai.token_usage"
_NORMALISED_TYPE: Final = "envoy.data.ai.v3.TokenUsage"
#: Where our Envoy configuration has json_to_metadata and sse_to_metadata write an answer's `usage`.
_LLM_USAGE: Final = "llm.usage"
#: Counts of one API are added up; the first API that has any counts. Anthropic and Bedrock count
#: apart what a cache held, Gemini what tools were told and what was thought. To OpenAI and Ollama all
#: of it is in the one number.
_INPUT: Final = (
    ("prompt_tokens",),
    ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"),
    ("promptTokenCount", "toolUsePromptTokenCount"),
    ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"),
    ("prompt_eval_count",),
)
_OUTPUT: Final = (
    ("completion_tokens",),
    ("output_tokens",),
    ("candidatesTokenCount", "thoughtsTokenCount"),
    ("outputTokens",),
    ("eval_count",),
)
#: No model reads or writes so much; sums of such counts stay far from any limit of a number.
_MAX_TOKENS: Final = 2**40
#: HTTP statuses from here on are errors.
_ERROR: Final = 400
#: Entries that say how a request ended. Old releases of Envoy name no type, and write no others.
_FINAL: Final = frozenset({access_log_pb2.NotSet, access_log_pb2.DownstreamEnd})
#: The end of year 9999, which is as far as protobuf's time goes.
_LATEST_S: Final = 253_402_300_800.0


def read(message: bytes) -> list[Report]:
    """The entries of one StreamAccessLogsMessage that are about our decisions, and none else."""
    try:
        entries = access_log_pb2.StreamAccessLogsMessage.FromString(message).http_logs.log_entry
    except DecodeError:
        return []
    return [report for entry in entries if (report := _report(entry)) is not None]


def _report(entry: access_log_pb2.HTTPAccessLogEntry) -> Report | None:
    common = entry.common_properties
    ours = common.metadata.filter_metadata.get(_EXT_AUTHZ)
    if ours is None or common.access_log_type not in _FINAL:
        return None
    call, replica = _text(ours, "id"), _text(ours, "replica")
    if not call or not replica:
        return None
    return Report(
        call,
        replica,
        _text(ours, "billed_model"),
        _text(ours, "capped") != "no",
        _usage(common),
        _failed(entry),
        _ended_s(common),
    )


def _text(metadata: Struct, name: str) -> str:
    value = metadata.fields.get(name)
    return "" if value is None else value.string_value


def _usage(common: access_log_pb2.AccessLogCommon) -> Usage | None:
    """Streams of some APIs begin with counts. Of one that was cut short, those are not the last."""
    if usage := _normalised(common.metadata):
        return usage
    return None if _cut_short(common) else _as_the_api_says(common.metadata)


def _normalised(metadata: core_pb2.Metadata) -> Usage | None:
    """What ai_protocol_manager read. Partial counts may be too low, so they are none."""
    typed = metadata.typed_filter_metadata.get(_NORMALISED)
    if typed is None or typed.TypeName() != _NORMALISED_TYPE:
        return None
    try:
        usage = access_log_pb2.TokenUsage.FromString(typed.value)
    except DecodeError:
        return None
    if usage.extraction_status != access_log_pb2.TokenUsage.COMPLETE:
        return None
    return _claimed(
        usage.input_tokens.value if usage.HasField("input_tokens") else None,
        usage.output_tokens.value if usage.HasField("output_tokens") else None,
    )


def _as_the_api_says(metadata: core_pb2.Metadata) -> Usage | None:
    usage = metadata.filter_metadata.get(_LLM_USAGE)
    return None if usage is None else _claimed(_sum(usage, _INPUT), _sum(usage, _OUTPUT))


def _sum(usage: Struct, apis: tuple[tuple[str, ...], ...]) -> int | None:
    for names in apis:
        counts = [count for name in names if (count := _count(usage, name)) is not None]
        if counts:
            return sum(counts)
    return None


def _count(usage: Struct, name: str) -> int | None:
    """A whole number from 0 on. What is larger than any count is cut, unless it is infinite."""
    value = usage.fields.get(name)
    if value is None or value.WhichOneof("kind") != "number_value":
        return None
    number = value.number_value
    return min(int(number), _MAX_TOKENS) if number >= 0 and number.is_integer() else None


def _claimed(input_tokens: int | None, output_tokens: int | None) -> Usage | None:
    """An API without one of the counts (embeddings have no output) spends nothing there."""
    if input_tokens is None and output_tokens is None:
        return None
    return Usage(min(input_tokens or 0, _MAX_TOKENS), min(output_tokens or 0, _MAX_TOKENS))


def _failed(entry: access_log_pb2.HTTPAccessLogEntry) -> bool:
    return entry.response.response_code.value >= _ERROR and not _cut_short(entry.common_properties)


def _cut_short(common: access_log_pb2.AccessLogCommon) -> bool:
    """Our .proto has only those flags that say that an answer, or the wait for it, was cut short."""
    return bool(common.response_flags.ListFields())


def _ended_s(common: access_log_pb2.AccessLogCommon) -> float:
    lasted = common.time_to_last_downstream_tx_byte
    if common.HasField("duration"):
        lasted = common.duration
    elif not common.HasField("time_to_last_downstream_tx_byte"):
        return 0.0
    if not common.HasField("start_time"):
        return 0.0
    start = common.start_time
    ended_s = start.seconds + lasted.seconds + (start.nanos + lasted.nanos) * 1e-9
    return ended_s if 0.0 < ended_s < _LATEST_S else 0.0
