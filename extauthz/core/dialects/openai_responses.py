"""OpenAI Responses: instructions, and input as a string or as items."""

from typing import Any, Final

import orjson

from extauthz.core.call import Provenance
from extauthz.core.dialects.dialect import (
    FREE_FORM,
    PAYLOAD,
    REMOTE,
    STORED,
    ByMember,
    Dialect,
    Place,
    under,
    words,
)
from extauthz.core.dialects.messages import CHAT_WORDS, ROLES, SCHEMA_WORDS
from extauthz.core.dialects.server_sent_events import typed_events

_ITEM: Final = ByMember(
    "role", ROLES, otherwise=Provenance.TOOL_RESULT
)  # items without a role are calls and what they returned
_BLOCK: Final = ByMember("type", {"input_file": Provenance.DOCUMENT}, otherwise=None)
_PART: Final = {
    "image_url": PAYLOAD,
    "file_data": PAYLOAD,
    "file_url": REMOTE,
    "file_id": STORED,
    "input_audio/data": PAYLOAD,
}
_ITEM_PLACES: Final[dict[str, Place]] = {
    **under("*/content/*", _PART),
    **under("*/output/*", _PART),
    "*/output/image_url": PAYLOAD,  # a screenshot
    "*/output/file_id": STORED,
    "*/id": STORED.when("type", "item_reference"),
    "*/encrypted_content": STORED,
    "*/action": FREE_FORM,
}
_ID: Final = "resp_refused"


def _refuse(text: str) -> bytes:
    return orjson.dumps(_response(text))


def _refuse_stream(text: str) -> bytes:
    """The shortest stream that SDKs accept: created, one delta, completed."""
    delta = {
        "type": "response.output_text.delta",
        "sequence_number": 1,
        "item_id": "msg_refused",
        "output_index": 0,
        "content_index": 0,
        "delta": text,
        "logprobs": [],
    }
    created = _response("") | {"status": "in_progress", "output": []}
    return typed_events(
        {"type": "response.created", "sequence_number": 0, "response": created},
        delta,
        {
            "type": "response.completed",
            "sequence_number": 2,
            "response": _response(text),
        },
    )


def _response(text: str) -> dict[str, Any]:
    content = {"type": "output_text", "text": text, "annotations": []}
    message = {
        "id": "msg_refused",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [content],
    }
    return {
        "id": _ID,
        "object": "response",
        "created_at": 0,
        "status": "completed",
        "model": "extauthz",
        "output": [message],
        "parallel_tool_calls": False,
        "tool_choice": "none",
        "tools": [],
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "usage": None,
    }


OPENAI_RESPONSES: Final = Dialect(
    name="openai_responses",
    endpoints=(
        "/responses",
        "/responses/input_tokens",
        "/responses/compact",
        "/conversations",
        "/conversations/*/items",
    ),
    silent_paths=("/responses/input_tokens",),
    labels={
        "instructions": Provenance.SYSTEM,
        "input": Provenance.USER,
        "input/*": _ITEM,
        "input/*/content/*": _BLOCK,
        "inputs": Provenance.USER,  # Mistral's conversations
        "inputs/*": _ITEM,
        "items/*": _ITEM,
        "items/*/content/*": _BLOCK,
        "tools/*": Provenance.TOOL_DEFINITION,
    },
    places={
        **under("input", _ITEM_PLACES),
        **under("items", _ITEM_PLACES),
        "tools/*/server_url": REMOTE,
        "tools/*/vector_store_ids": STORED,
        "tools/*/container": STORED,
        "tools/*/container/file_ids": STORED,
        "prompt/variables": FREE_FORM,
        **under("prompt/variables/*", _PART),
        "metadata": FREE_FORM,
    },
    vocabulary=CHAT_WORDS
    | SCHEMA_WORDS
    | words(
        "input input_text output_text message function_call function_call_output call_id output "
        "instructions max_output_tokens previous_response_id store metadata reasoning effort "
        "summary include truncation parallel_tool_calls format status completed items input_image "
        "input_file file_data filename"
    ),
    max_tokens=("max_output_tokens",),
    choices=(),
    refuse=_refuse,
    refuse_stream=_refuse_stream,
)
