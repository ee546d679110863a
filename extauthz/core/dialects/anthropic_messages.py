"""Anthropic Messages: a system text beside the messages, tool results and documents in blocks."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from extauthz.core.call import Provenance
from extauthz.core.dialects.dialect import (
    EVERYWHERE,
    FREE_FORM,
    PAYLOAD,
    REMOTE,
    STORED,
    ByMember,
    Dialect,
    Label,
    Place,
    under,
    words,
)
from extauthz.core.dialects.messages import SCHEMA_WORDS
from extauthz.core.dialects.server_sent_events import typed_events

_ROLE: Final = ByMember(
    "role",
    {
        "system": Provenance.SYSTEM,
        "user": Provenance.USER,
        "assistant": Provenance.ASSISTANT,
    },
    otherwise=Provenance.USER,
)
_BLOCK: Final = ByMember(
    "type",
    {
        "tool_result": Provenance.TOOL_RESULT,
        "document": Provenance.DOCUMENT,
        "search_result": Provenance.DOCUMENT,
    },
    otherwise=None,
)
#: A source of type "text" has its text in the same member as one of type "base64" its bytes.
_SOURCE: Final[Mapping[str, Place]] = {
    "source/data": PAYLOAD.when("type", "base64"),
    "source/url": REMOTE,
    "source/file_id": STORED,
    "file_id": STORED,  # container_upload
    "data": STORED.when("type", "redacted_thinking"),
}
BLOCKS: Final[Mapping[str, Place]] = {
    **_SOURCE,
    **under("content/*", _SOURCE),  # of a tool result
    **under("source/content/*", _SOURCE),  # of a document
    **under("content/*/source/content/*", _SOURCE),
    "input": FREE_FORM,
}
LABELS: Final[Mapping[str, Label]] = {
    "system": Provenance.SYSTEM,
    "messages/*": _ROLE,
    "messages/*/content/*": _BLOCK,
    "tools/*": Provenance.TOOL_DEFINITION,
}
PLACES: Final[Mapping[str, Place]] = {
    **under("messages/*/content/*", BLOCKS),
    "mcp_servers/*/url": REMOTE,
    "container": STORED,
    "metadata": FREE_FORM,
}
VOCABULARY: Final = SCHEMA_WORDS | words(
    "messages role content type text system user assistant tool_use tool_result tool_use_id "
    "id name input document source data media_type title model max_tokens stream temperature "
    "top_p top_k stop_sequences tools tool_choice input_schema metadata user_id thinking "
    "budget_tokens cache_control ephemeral is_error image base64"
)


def _refuse(text: str) -> bytes:
    return orjson.dumps(_message([{"type": "text", "text": text}], "refusal"))


def _refuse_stream(text: str) -> bytes:
    return typed_events(
        {"type": "message_start", "message": _message([], None)},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": ""},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": text},
        },
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "refusal", "stop_sequence": None},
            "usage": {"output_tokens": 0},
        },
        {"type": "message_stop"},
    )


def _message(content: list[dict[str, Any]], stop_reason: str | None) -> dict[str, Any]:
    return {
        "id": "msg_refused",
        "type": "message",
        "role": "assistant",
        "model": "extauthz",
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }


def _error(message: str, status: int) -> bytes:
    known = {429: "rate_limit_error"}
    kind = known.get(status, "invalid_request_error" if status < 500 else "api_error")
    return orjson.dumps({"type": "error", "error": {"type": kind, "message": message}})


ANTHROPIC_MESSAGES: Final = Dialect(
    name="anthropic_messages",
    endpoints=(
        "/v1/messages",
        "/messages/count_tokens",
        "/publishers/anthropic/models/{model}:rawPredict",  # Vertex AI
        "/publishers/anthropic/models/{model}:streamRawPredict",
    ),
    silent_paths=("/count_tokens",),
    labels=LABELS,
    places=PLACES,
    vocabulary=VOCABULARY,
    stream_paths=(":streamRawPredict",),
    choices=(),
    refuse=_refuse,
    refuse_stream=_refuse_stream,
    error=_error,
)

ANTHROPIC_BATCHES: Final = Dialect(
    name="anthropic_batches",
    endpoints=("/messages/batches",),
    labels=under("requests/*/params", LABELS),
    places=under("requests/*/params", {**EVERYWHERE, **PLACES}),
    vocabulary=VOCABULARY | words("requests custom_id params"),
    choices=(),
    error=_error,
)
