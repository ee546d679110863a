"""OpenAI's APIs that only read: embeddings and moderations."""

from typing import Final

from extauthz.core.call import Provenance
from extauthz.core.dialects.dialect import TOKEN_IDS, Dialect, under, words
from extauthz.core.dialects.messages import CHAT_WORDS, MESSAGE, PART

OPENAI_EMBEDDINGS: Final = Dialect(
    name="openai_embeddings",
    endpoints=("/deployments/{model}/embeddings", "/embeddings", "/pooling", "/classify"),
    labels={"input": Provenance.USER, "messages/*": MESSAGE},
    places={"input": TOKEN_IDS, **under("messages/*/content/*", PART)},  # messages: vLLM
    vocabulary=CHAT_WORDS | words("input encoding_format dimensions"),
    silent=True,
    max_tokens=(),
    choices=(),
)

OPENAI_MODERATIONS: Final = Dialect(
    name="openai_moderations",
    endpoints=("/moderations",),
    labels={"input": Provenance.USER},
    places={"input": TOKEN_IDS, **under("input/*", PART)},
    vocabulary=words("model input type text image_url url"),
    silent=True,
    max_tokens=(),
    choices=(),
)
