"""OpenAI chat completions, and everything that imitates it (vLLM, TGI, Mistral, Azure, ...)."""

from typing import Any, Final

import orjson

from extauthz.core.call import Provenance
from extauthz.core.dialects.dialect import FREE_FORM, REMOTE, STORED, Dialect, under, words
from extauthz.core.dialects.messages import CHAT_WORDS, MESSAGE, PART, SCHEMA_WORDS
from extauthz.core.dialects.server_sent_events import event

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
    endpoints=(
        "/deployments/{model}/chat/completions",
        "/chat/completions",
        "/chat/completions/render",  # vLLM
        "/agents/completions",  # Mistral
    ),
    silent_paths=("/render",),
    labels={
        "messages/*": MESSAGE,
        "tools/*": Provenance.TOOL_DEFINITION,
        "functions/*": Provenance.TOOL_DEFINITION,
        "documents/*": Provenance.DOCUMENT,
    },
    places={
        **under("messages/*/content/*", PART),
        "messages/*/audio/id": STORED,
        "messages/*/tool_calls/*/function/arguments": FREE_FORM,
        "data_sources/*/parameters/endpoint": REMOTE,  # Azure
        "documents/*": FREE_FORM,
        "metadata": FREE_FORM,
        "logit_bias": FREE_FORM,
        "chat_template_kwargs": FREE_FORM,
    },
    vocabulary=CHAT_WORDS
    | SCHEMA_WORDS
    | words(
        "max_completion_tokens frequency_penalty presence_penalty response_format json_schema "
        "reasoning_effort parallel_tool_calls functions documents metadata store service_tier "
        "logprobs top_logprobs input_audio data format file file_data"
    ),
    max_tokens=("max_completion_tokens", "max_tokens"),
    choices=("n", "best_of"),
    refuse=_refuse,
    refuse_stream=_refuse_stream,
)
