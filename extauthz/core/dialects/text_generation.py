"""`inputs` and `parameters`: text-generation-inference, its embeddings twin, and SageMaker."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import orjson

from extauthz.core.call import Provenance
from extauthz.core.dialects.dialect import PAYLOAD, TOKEN_IDS, Dialect, Label, Place, under, words
from extauthz.core.dialects.messages import CHAT_WORDS, MESSAGE, PART
from extauthz.core.dialects.server_sent_events import event
from extauthz.core.media import Media

_LABELS: Final[Mapping[str, Label]] = {
    "inputs": Provenance.USER,
    "prompt": Provenance.USER,
    "messages/*": MESSAGE,
    "instances/*": Provenance.USER,
    "tools/*": Provenance.TOOL_DEFINITION,
}
_PLACES: Final[Mapping[str, Place]] = {
    "inputs": TOKEN_IDS,
    **under("messages/*/content/*", PART),
}
_WORDS: Final = CHAT_WORDS | words(
    "inputs parameters max_new_tokens do_sample return_full_text repetition_penalty top_k details "
    "truncate instances"
)


def _refuse(text: str) -> bytes:
    return orjson.dumps({"generated_text": text})


def _refuse_stream(text: str) -> bytes:
    token = {"id": 0, "text": text, "logprob": 0, "special": False}
    return event({"index": 1, "token": token, "generated_text": text, "details": None})


def _error(message: str, status: int) -> bytes:
    kind = "validation" if status < 500 and status != 429 else "overloaded"
    return orjson.dumps({"error": message, "error_type": kind})


TGI: Final = Dialect(
    name="tgi",
    endpoints=("/", "/generate", "/generate_stream"),
    labels=_LABELS,
    places=_PLACES,
    vocabulary=_WORDS,
    stream_paths=("/generate_stream",),
    # The others are what SGLang and early vLLM read at this path.
    max_tokens=("parameters/max_new_tokens", "sampling_params/max_new_tokens", "max_tokens"),
    choices=("parameters/best_of", "sampling_params/n", "n"),
    refuse=_refuse,
    refuse_stream=_refuse_stream,
    error=_error,
)

TEXT_EMBEDDINGS: Final = Dialect(
    name="text_embeddings",
    endpoints=("/embed", "/embed_all", "/embed_sparse", "/predict", "/similarity", "/tokenize"),
    labels=_LABELS,
    places=_PLACES,
    vocabulary=_WORDS,
    silent=True,
    max_tokens=(),
    choices=(),
    error=_error,
)

#: Whatever the model's container reads, as long as we can read it too.
SAGEMAKER: Final = Dialect(
    name="sagemaker",
    endpoints=(
        "/endpoints/{model}/invocations",
        "/endpoints/{model}/invocations-response-stream",
        "/invocations",
    ),
    accepts=frozenset(Media),
    labels=_LABELS,
    places={
        **_PLACES,
        "input": TOKEN_IDS,
        "instances": replace(TOKEN_IDS, least=4),  # of texts, ids or any numbers
        "images/*": PAYLOAD,
    },
    vocabulary=_WORDS,
    stream_paths=("/invocations-response-stream",),
    max_tokens=("parameters/max_new_tokens", "max_tokens"),
    choices=("parameters/num_return_sequences", "n"),
    prompts="inputs",
)

#: vLLM's endpoint for prompts that somebody else has tokenised.
VLLM_GENERATE: Final = Dialect(
    name="vllm_generate",
    endpoints=("/inference/v1/generate", "/detokenize"),
    vocabulary=words("token_ids sampling_params stream model tokens max_tokens temperature"),
    silent_paths=("/detokenize",),
    max_tokens=("sampling_params/max_tokens",),
    choices=("sampling_params/n",),
)
