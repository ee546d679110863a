"""OpenAI chat completions, and everything that imitates it (vLLM, TGI, Mistral, Azure, ...)."""

from typing import Any, Final

import orjson

from extauthz.core.call import Provenance
from extauthz.core.dialects.dialect import ByMember, Dialect, words
from extauthz.core.dialects.server_sent_events import event

_ROLE: Final = ByMember(
    "role",
    {
        "system": Provenance.SYSTEM,
        "developer": Provenance.SYSTEM,
        "user": Provenance.USER,
        "assistant": Provenance.ASSISTANT,
        "tool": Provenance.TOOL_RESULT,
        "function": Provenance.TOOL_RESULT,
    },
    otherwise=Provenance.USER,
)
_ID: Final = "chatcmpl-refused"


def _refuse(text: str) -> bytes:
    message = {"role": "assistant", "content": text, "refusal": text}
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": "content_filter",
        "logprobs": None,
    }
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    return orjson.dumps(_envelope("chat.completion", [choice]) | {"usage": usage})


def _refuse_stream(text: str) -> bytes:
    said = {
        "index": 0,
        "delta": {"role": "assistant", "content": text},
        "finish_reason": None,
    }
    end = {"index": 0, "delta": {}, "finish_reason": "content_filter"}
    chunks = [event(_envelope("chat.completion.chunk", [choice])) for choice in (said, end)]
    return b"".join([*chunks, b"data: [DONE]\n\n"])


def _envelope(kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": _ID,
        "object": kind,
        "created": 0,
        "model": "extauthz",
        "choices": choices,
    }


OPENAI_CHAT: Final = Dialect(
    name="openai_chat",
    endpoints=("/chat/completions",),
    labels={
        "messages/*": _ROLE,
        "tools/*": Provenance.TOOL_DEFINITION,
        "functions/*": Provenance.TOOL_DEFINITION,
        "documents/*": Provenance.DOCUMENT,
    },
    vocabulary=words(
        "messages role content type text name system developer user assistant tool function "
        "model stream stream_options include_usage temperature top_p n max_tokens "
        "max_completion_tokens frequency_penalty presence_penalty seed stop tools tool_choice "
        "tool_calls tool_call_id id arguments description parameters properties required strict "
        "response_format json_schema schema object string number integer boolean array enum "
        "items additionalProperties image_url url detail reasoning_effort parallel_tool_calls "
        "functions documents metadata store service_tier logprobs top_logprobs"
    ),
    refuse=_refuse,
    refuse_stream=_refuse_stream,
)
