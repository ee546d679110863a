"""OpenAI Responses: instructions, and input as a string or as items."""

from typing import Any, Final

import orjson

from extauthz.core.call import Provenance
from extauthz.core.dialects.dialect import ByMember, Dialect, words
from extauthz.core.dialects.server_sent_events import typed_events

_ROLE: Final = ByMember(
    "role",
    {
        "system": Provenance.SYSTEM,
        "developer": Provenance.SYSTEM,
        "user": Provenance.USER,
        "assistant": Provenance.ASSISTANT,
    },
    otherwise=Provenance.TOOL_RESULT,  # items without a role are calls and what they returned
)
_BLOCK: Final = ByMember("type", {"input_file": Provenance.DOCUMENT}, otherwise=None)
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
    endpoints=("/responses",),
    labels={
        "instructions": Provenance.SYSTEM,
        "input": Provenance.USER,
        "input/*": _ROLE,
        "input/*/content/*": _BLOCK,
        "tools/*": Provenance.TOOL_DEFINITION,
    },
    vocabulary=words(
        "input role content type text input_text output_text message function_call "
        "function_call_output call_id id output arguments name instructions model stream "
        "temperature top_p max_output_tokens tools function parameters properties description "
        "required strict object string number integer boolean array items additionalProperties "
        "system developer user assistant previous_response_id store metadata reasoning effort "
        "summary include truncation tool_choice parallel_tool_calls format status completed"
    ),
    refuse=_refuse,
    refuse_stream=_refuse_stream,
)
