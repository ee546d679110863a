"""Ollama: streams newline-delimited JSON unless it is told not to."""

from typing import Any, Final

import orjson

from extauthz.core.call import Provenance
from extauthz.core.dialects.dialect import FREE_FORM, PAYLOAD, TOKEN_IDS, Dialect, words
from extauthz.core.dialects.messages import CHAT_WORDS, MESSAGE, SCHEMA_WORDS

_STREAM_TYPE: Final = "application/x-ndjson"
_WORDS: Final = words("model stream options temperature num_predict num_ctx keep_alive format")


def _said(said: dict[str, Any], *, done: bool) -> bytes:
    end = {"done_reason": "stop"} if done else {}
    head = {"model": "extauthz", "created_at": "1970-01-01T00:00:00Z"}
    return orjson.dumps(head | said | {"done": done} | end)


def _message(text: str) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": text}}


def _refuse_chat(text: str) -> bytes:
    return _said(_message(text), done=True)


def _stream_chat(text: str) -> bytes:
    lines = _said(_message(text), done=False), _said(_message(""), done=True)
    return b"".join(line + b"\n" for line in lines)


def _refuse_generate(text: str) -> bytes:
    return _said({"response": text}, done=True)


def _stream_generate(text: str) -> bytes:
    lines = _said({"response": text}, done=False), _said({"response": ""}, done=True)
    return b"".join(line + b"\n" for line in lines)


def _error(message: str, _status: int) -> bytes:
    return orjson.dumps({"error": message})


OLLAMA_CHAT: Final = Dialect(
    name="ollama_chat",
    endpoints=("/api/chat",),
    labels={"messages/*": MESSAGE, "tools/*": Provenance.TOOL_DEFINITION},
    places={
        "messages/*/images/*": PAYLOAD,
        "messages/*/tool_calls/*/function/arguments": FREE_FORM,
    },
    vocabulary=CHAT_WORDS | SCHEMA_WORDS | _WORDS | words("images think"),
    streams_unless_told=True,
    stream_type=_STREAM_TYPE,
    max_tokens=("options/num_predict",),
    zero_is_unlimited=True,
    choices=(),
    refuse=_refuse_chat,
    refuse_stream=_stream_chat,
    error=_error,
)

OLLAMA_GENERATE: Final = Dialect(
    name="ollama_generate",
    endpoints=("/api/generate",),
    labels={
        "system": Provenance.SYSTEM,
        "prompt": Provenance.USER,
        "suffix": Provenance.USER,
    },
    places={"images/*": PAYLOAD},
    vocabulary=_WORDS | words("system prompt suffix images context raw think"),
    streams_unless_told=True,
    stream_type=_STREAM_TYPE,
    max_tokens=("options/num_predict",),
    zero_is_unlimited=True,
    choices=(),
    refuse=_refuse_generate,
    refuse_stream=_stream_generate,
    error=_error,
)

OLLAMA_EMBED: Final = Dialect(
    name="ollama_embed",
    endpoints=("/api/embed", "/api/embeddings"),
    labels={"input": Provenance.USER, "prompt": Provenance.USER},
    places={"input": TOKEN_IDS},
    vocabulary=_WORDS | words("input prompt truncate dimensions"),
    silent=True,
    max_tokens=(),
    choices=(),
    error=_error,
)
