"""Gemini, on its own API and on Vertex AI. Model and streaming are in the path.

Member names are camelCase or, as protobuf's JSON also allows, snake_case.
"""

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
from extauthz.core.dialects.server_sent_events import event

_TURN: Final = ByMember(
    "role",
    {
        "user": Provenance.USER,
        "model": Provenance.ASSISTANT,
        "function": Provenance.TOOL_RESULT,
    },
    otherwise=Provenance.USER,
)
_PART: Final[Mapping[str, Place]] = {
    "inlineData/data": PAYLOAD,
    "inline_data/data": PAYLOAD,
    "fileData/fileUri": REMOTE,
    "file_data/file_uri": REMOTE,
    "functionCall/args": FREE_FORM,
    "function_call/args": FREE_FORM,
    "functionResponse/response": FREE_FORM,
    "function_response/response": FREE_FORM,
}
_PART_LABELS: Final[Mapping[str, Label]] = {
    "functionResponse": Provenance.TOOL_RESULT,
    "function_response": Provenance.TOOL_RESULT,
}
_LABELS: Final[Mapping[str, Label]] = {
    "contents": Provenance.USER,  # lenient servers take one content, or a string
    "contents/*": _TURN,
    **under("contents/*/parts/*", _PART_LABELS),
    "content": _TURN,
    "systemInstruction": Provenance.SYSTEM,
    "system_instruction": Provenance.SYSTEM,
    "tools/*": Provenance.TOOL_DEFINITION,
}
_PLACES: Final[Mapping[str, Place]] = {
    **under("contents/*/parts/*", _PART),
    **under("contents/parts/*", _PART),
    **under("content/parts/*", _PART),
    **under("systemInstruction/parts/*", _PART),
    **under("system_instruction/parts/*", _PART),
    "tools/*/fileSearch/fileSearchStoreNames": STORED,
    "labels": FREE_FORM,
}
#: Protobuf's JSON takes either spelling of each name, also beside the other.
_CONFIG: Final = ("generationConfig", "generation_config")
_VOCABULARY: Final = SCHEMA_WORDS | words(
    "contents content parts text role user model inlineData inline_data data mimeType mime_type "
    "fileData file_data fileUri file_uri systemInstruction system_instruction tools "
    "functionDeclarations function_declarations name functionCall function_call args "
    "functionResponse function_response response generationConfig generation_config "
    "maxOutputTokens max_output_tokens temperature topP topK top_p top_k candidateCount "
    "candidate_count stopSequences stop_sequences safetySettings safety_settings category "
    "threshold toolConfig tool_config cachedContent requests taskType outputDimensionality title "
    "STRING OBJECT NUMBER INTEGER BOOLEAN ARRAY"
)


def _refuse(text: str) -> bytes:
    return orjson.dumps(_response(text))


def _refuse_stream(text: str) -> bytes:
    """As SDKs ask for it, with `alt=sse`."""
    return event(_response(text))


def _response(text: str) -> dict[str, Any]:
    candidate = {
        "content": {"role": "model", "parts": [{"text": text}]},
        "finishReason": "SAFETY",
        "index": 0,
    }
    usage = {"promptTokenCount": 0, "candidatesTokenCount": 0, "totalTokenCount": 0}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "extauthz"}


def _error(message: str, status: int) -> bytes:
    """The error object of Google's APIs (google.rpc.Status in JSON)."""
    known = {429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}
    name = known.get(status, "INVALID_ARGUMENT" if status < 500 else "INTERNAL")
    return orjson.dumps({"error": {"code": status, "message": message, "status": name}})


GEMINI: Final = Dialect(
    name="gemini",
    endpoints=(
        "/models/{model}:generateContent",
        "/models/{model}:streamGenerateContent",
        "/tunedModels/{model}:generateContent",
        "/tunedModels/{model}:streamGenerateContent",
    ),
    labels=_LABELS,
    places=_PLACES,
    vocabulary=_VOCABULARY,
    stream_paths=(":streamGenerateContent",),
    max_tokens=tuple(
        f"{one}/{cap}" for one in _CONFIG for cap in ("maxOutputTokens", "max_output_tokens")
    ),
    choices=tuple(
        f"{one}/{count}" for one in _CONFIG for count in ("candidateCount", "candidate_count")
    ),
    refuse=_refuse,
    refuse_stream=_refuse_stream,
    error=_error,
)

#: The same contents, to be counted, embedded, or kept for later.
GEMINI_CONTENTS: Final = Dialect(
    name="gemini_contents",
    endpoints=(
        "/models/{model}:countTokens",
        "/models/{model}:embedContent",
        "/models/{model}:batchEmbedContents",
        "/cachedContents",
    ),
    labels={
        **_LABELS,
        **under("requests/*", _LABELS),
        **under("generateContentRequest", _LABELS),
    },
    places={
        **_PLACES,
        **under("requests/*", {**EVERYWHERE, **_PLACES}),
        **under("generateContentRequest", {**EVERYWHERE, **_PLACES}),
    },
    vocabulary=_VOCABULARY | words("generateContentRequest"),
    silent=True,
    max_tokens=(),
    choices=(),
    error=_error,
)
