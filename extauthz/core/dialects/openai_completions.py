"""OpenAI's text completions, as vLLM, Mistral (fill in the middle) and others imitate them."""

from typing import Any, Final

import orjson

from extauthz.core.call import Provenance
from extauthz.core.dialects.dialect import FREE_FORM, PAYLOAD, Dialect, words
from extauthz.core.dialects.server_sent_events import event


def _refuse(text: str) -> bytes:
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    return orjson.dumps(_completion(text) | {"usage": usage})


def _refuse_stream(text: str) -> bytes:
    return event(_completion(text)) + b"data: [DONE]\n\n"


def _completion(text: str) -> dict[str, Any]:
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": "content_filter"}
    return {
        "id": "cmpl-refused",
        "object": "text_completion",
        "created": 0,
        "model": "extauthz",
        "choices": [choice],
    }


OPENAI_COMPLETIONS: Final = Dialect(
    name="openai_completions",
    endpoints=(
        "/deployments/{model}/completions",
        "/completions",
        "/completions/render",  # vLLM
        "/fim/completions",  # Mistral
    ),
    silent_paths=("/render",),
    labels={"prompt": Provenance.USER, "suffix": Provenance.USER},
    places={
        "prompt_embeds": PAYLOAD,  # vLLM: tensors in place of words
        "prompt_embeds/*": PAYLOAD,
        "logit_bias": FREE_FORM,
    },
    vocabulary=words(
        "model prompt suffix stream stream_options include_usage temperature top_p n best_of echo "
        "max_tokens seed stop logprobs frequency_penalty presence_penalty user logit_bias"
    ),
    choices=("n", "best_of"),
    prompts="prompt",
    refuse=_refuse,
    refuse_stream=_refuse_stream,
)
