"""Cohere: chat (versions 2 and 1), embeddings, and reranking, which vLLM imitates."""

from typing import Final

import orjson

from extauthz.core.call import Provenance
from extauthz.core.dialects.dialect import (
    FREE_FORM,
    PAYLOAD,
    STORED,
    ByMember,
    Dialect,
    under,
    words,
)
from extauthz.core.dialects.messages import CHAT_WORDS, MESSAGE, PART, SCHEMA_WORDS
from extauthz.core.dialects.server_sent_events import typed_events

_SPEAKER: Final = ByMember(
    "role",
    {
        "SYSTEM": Provenance.SYSTEM,
        "USER": Provenance.USER,
        "CHATBOT": Provenance.ASSISTANT,
        "TOOL": Provenance.TOOL_RESULT,
    },
    otherwise=Provenance.USER,
)
_ID: Final = "refused"
_USAGE: Final = {"tokens": {"input_tokens": 0, "output_tokens": 0}}


def _refuse(text: str) -> bytes:
    message = {"role": "assistant", "content": [{"type": "text", "text": text}]}
    return orjson.dumps(
        {"id": _ID, "finish_reason": "COMPLETE", "message": message, "usage": _USAGE}
    )


def _refuse_stream(text: str) -> bytes:
    opened = {
        "role": "assistant",
        "content": [],
        "tool_plan": "",
        "tool_calls": [],
        "citations": [],
    }
    return typed_events(
        {"type": "message-start", "id": _ID, "delta": {"message": opened}},
        {
            "type": "content-start",
            "index": 0,
            "delta": {"message": {"content": {"type": "text", "text": ""}}},
        },
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": text}}}},
        {"type": "content-end", "index": 0},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": _USAGE}},
    )


def _error(message: str, _status: int) -> bytes:
    return orjson.dumps({"message": message})


COHERE_CHAT: Final = Dialect(
    name="cohere_chat",
    endpoints=("/v2/chat",),
    labels={
        "messages/*": MESSAGE,
        "documents/*": Provenance.DOCUMENT,
        "tools/*": Provenance.TOOL_DEFINITION,
    },
    places={**under("messages/*/content/*", PART), "documents/*": FREE_FORM},
    vocabulary=CHAT_WORDS | SCHEMA_WORDS | words("documents response_format safety_mode"),
    choices=(),
    refuse=_refuse,
    refuse_stream=_refuse_stream,
    error=_error,
)

COHERE_CHAT_V1: Final = Dialect(
    name="cohere_chat_v1",
    endpoints=("/v1/chat",),
    labels={
        "message": Provenance.USER,
        "preamble": Provenance.SYSTEM,
        "chat_history/*": _SPEAKER,
        "documents/*": Provenance.DOCUMENT,
        "tools/*": Provenance.TOOL_DEFINITION,
        "tool_results/*": Provenance.TOOL_RESULT,
    },
    places={
        "documents/*": FREE_FORM,
        "tool_results/*/outputs": FREE_FORM,
        "conversation_id": STORED,
        "connectors/*/id": STORED,
    },
    vocabulary=words(
        "message preamble chat_history role documents tools tool_results model stream temperature "
        "max_tokens SYSTEM USER CHATBOT TOOL"
    ),
    choices=(),
    error=_error,
)

COHERE_EMBED: Final = Dialect(
    name="cohere_embed",
    endpoints=("/v2/embed", "/v1/embed"),
    labels={"texts": Provenance.USER, "inputs/*": Provenance.USER},
    places={"images/*": PAYLOAD, **under("inputs/*/content/*", PART)},
    vocabulary=words(
        "model texts inputs content images type text image_url url input_type embedding_types "
        "truncate output_dimension"
    ),
    silent=True,
    max_tokens=(),
    choices=(),
    error=_error,
)

COHERE_RERANK: Final = Dialect(
    name="cohere_rerank",
    endpoints=("/rerank", "/score"),
    labels={
        "query": Provenance.USER,
        "documents/*": Provenance.DOCUMENT,
        "texts/*": Provenance.DOCUMENT,  # text-embeddings-inference
        "text_1": Provenance.USER,  # vLLM
        "text_2": Provenance.DOCUMENT,
        "queries": Provenance.USER,
        "items": Provenance.DOCUMENT,
    },
    places={
        "documents/*": FREE_FORM,
        "documents/content/*/image_url/url": PAYLOAD,
    },
    vocabulary=words("model query documents top_n return_documents rank_fields"),
    silent=True,
    max_tokens=(),
    choices=(),
    error=_error,
)
