"""Anthropic Messages: a system text beside the messages, tool results and documents in blocks."""

from typing import Any, Final

import orjson

from extauthz.core.call import Provenance
from extauthz.core.dialects.dialect import ByMember, Dialect, words
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


ANTHROPIC_MESSAGES: Final = Dialect(
    name="anthropic_messages",
    endpoints=("/v1/messages", "/messages/count_tokens"),
    labels={
        "system": Provenance.SYSTEM,
        "messages/*": _ROLE,
        "messages/*/content/*": _BLOCK,
        "tools/*": Provenance.TOOL_DEFINITION,
    },
    vocabulary=words(
        "messages role content type text system user assistant tool_use tool_result tool_use_id "
        "id name input document source data media_type title model max_tokens stream temperature "
        "top_p top_k stop_sequences tools tool_choice input_schema description properties "
        "required object string number integer boolean array items metadata user_id thinking "
        "budget_tokens cache_control ephemeral is_error"
    ),
    refuse=_refuse,
    refuse_stream=_refuse_stream,
)
