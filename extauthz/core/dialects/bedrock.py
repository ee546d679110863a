"""Amazon Bedrock: Converse, the same for all models, and Invoke with each vendor's own body.

A stream is refused as plain HTTP: Bedrock's event stream is binary, and Envoy answers with text.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import orjson

from extauthz.core.call import Provenance
from extauthz.core.dialects.anthropic_messages import BLOCKS
from extauthz.core.dialects.dialect import (
    FREE_FORM,
    PAYLOAD,
    REMOTE,
    STORED,
    Dialect,
    Label,
    Place,
    under,
    words,
)
from extauthz.core.dialects.messages import MESSAGE, PART, SCHEMA_WORDS

_MEDIA: Final[Mapping[str, Place]] = {
    f"{name}/source/{inner}": place
    for name in ("image", "video", "audio", "document")
    for inner, place in (("bytes", PAYLOAD), ("s3Location/uri", REMOTE))
} | {
    # Its formats hold words, so nothing in there is a picture for its first bytes.
    "document/source/bytes": replace(PAYLOAD, claim="text/plain"),
}
_BLOCK: Final[Mapping[str, Place]] = {
    **_MEDIA,
    **under("toolResult/content/*", _MEDIA),
    "toolResult/content/*/json": FREE_FORM,
    "toolUse/input": FREE_FORM,
}
_BLOCK_LABELS: Final[Mapping[str, Label]] = {
    "toolResult": Provenance.TOOL_RESULT,
    "document": Provenance.DOCUMENT,
}
_LABELS: Final[Mapping[str, Label]] = {
    "system": Provenance.SYSTEM,
    "messages/*": MESSAGE,
    **under("messages/*/content/*", _BLOCK_LABELS),
    "toolConfig/tools/*": Provenance.TOOL_DEFINITION,
}
_WORDS: Final = SCHEMA_WORDS | words(
    "system messages role content text user assistant image format source bytes document name "
    "toolUse toolUseId input toolResult json status inferenceConfig maxTokens temperature topP "
    "stopSequences toolConfig tools toolSpec inputSchema toolChoice"
)


def _refuse(text: str) -> bytes:
    return orjson.dumps(
        {
            "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
            "stopReason": "content_filtered",
            "usage": {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0},
            "metrics": {"latencyMs": 0},
        }
    )


def _error(message: str, _status: int) -> bytes:
    """The SDKs take the exception's name from a header, and its text from here."""
    return orjson.dumps({"message": message})


BEDROCK_CONVERSE: Final = Dialect(
    name="bedrock_converse",
    endpoints=("/model/{model}/converse", "/model/{model}/converse-stream"),
    labels=_LABELS,
    places={
        **under("messages/*/content/*", _BLOCK),
        "promptVariables": FREE_FORM,
        "requestMetadata": FREE_FORM,
        "additionalModelRequestFields": FREE_FORM,
    },
    vocabulary=_WORDS,
    stream_paths=("/converse-stream",),
    max_tokens=("inferenceConfig/maxTokens",),
    choices=(),
    refuse=_refuse,
    error=_error,
)

BEDROCK_INVOKE: Final = Dialect(
    name="bedrock_invoke",
    endpoints=(
        "/model/{model}/invoke",
        "/model/{model}/invoke-with-response-stream",
        "/model/{model}/count-tokens",
    ),
    silent_paths=("/count-tokens",),
    labels={
        **_LABELS,
        "inputText": Provenance.USER,  # Titan
        "prompt": Provenance.USER,  # Llama, Mistral
        "tools/*": Provenance.TOOL_DEFINITION,
        **under("input/converse", _LABELS),  # of count-tokens
    },
    places={
        **under("messages/*/content/*", {**PART, **BLOCKS, **_BLOCK}),
        **under("input/converse/messages/*/content/*", _BLOCK),
        "input/invokeModel/body": PAYLOAD,  # base64 of a whole body
        "inputImage": PAYLOAD,  # Titan embeddings
        "images/*": PAYLOAD,  # Llama
        "image": PAYLOAD,  # Stability
        "s3Location/uri": REMOTE,
        "container": STORED,
    },
    vocabulary=_WORDS | words("anthropic_version max_tokens prompt inputText type tool_result"),
    stream_paths=("/invoke-with-response-stream",),
    max_tokens=(
        "max_tokens",
        "max_gen_len",
        "inferenceConfig/maxTokens",
        "textGenerationConfig/maxTokenCount",
    ),
    choices=("num_generations",),
    error=_error,
)
