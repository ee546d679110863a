"""Request dialects as data. A dialect labels text; it never decides what is scanned."""

from typing import Final

from extauthz.core.dialects.anthropic_messages import ANTHROPIC_BATCHES, ANTHROPIC_MESSAGES
from extauthz.core.dialects.bedrock import BEDROCK_CONVERSE, BEDROCK_INVOKE
from extauthz.core.dialects.cohere import COHERE_CHAT, COHERE_CHAT_V1, COHERE_EMBED, COHERE_RERANK
from extauthz.core.dialects.dialect import Dialect
from extauthz.core.dialects.endpoint import matches, specificity
from extauthz.core.dialects.gemini import GEMINI, GEMINI_CONTENTS
from extauthz.core.dialects.json_rpc import A2A, MCP
from extauthz.core.dialects.kserve import KSERVE, KSERVE_GRPC, KSERVE_V1
from extauthz.core.dialects.mistral_ocr import MISTRAL_OCR
from extauthz.core.dialects.ollama import OLLAMA_CHAT, OLLAMA_EMBED, OLLAMA_GENERATE
from extauthz.core.dialects.openai_batches import OPENAI_BATCHES, OPENAI_FILES
from extauthz.core.dialects.openai_chat import OPENAI_CHAT
from extauthz.core.dialects.openai_completions import OPENAI_COMPLETIONS
from extauthz.core.dialects.openai_inputs import OPENAI_EMBEDDINGS, OPENAI_MODERATIONS
from extauthz.core.dialects.openai_media import OPENAI_AUDIO, OPENAI_IMAGES
from extauthz.core.dialects.openai_responses import OPENAI_RESPONSES
from extauthz.core.dialects.openai_threads import OPENAI_THREADS
from extauthz.core.dialects.text_generation import SAGEMAKER, TEXT_EMBEDDINGS, TGI, VLLM_GENERATE
from extauthz.core.dialects.unknown_json import UNKNOWN_JSON

__all__ = ["KNOWN", "UNKNOWN_JSON", "Dialect", "dialect_for"]

KNOWN: Final = (
    OPENAI_CHAT,
    OPENAI_RESPONSES,
    OPENAI_COMPLETIONS,
    OPENAI_EMBEDDINGS,
    OPENAI_MODERATIONS,
    OPENAI_IMAGES,
    OPENAI_AUDIO,
    OPENAI_FILES,
    OPENAI_BATCHES,
    OPENAI_THREADS,
    ANTHROPIC_MESSAGES,
    ANTHROPIC_BATCHES,
    GEMINI,
    GEMINI_CONTENTS,
    BEDROCK_CONVERSE,
    BEDROCK_INVOKE,
    COHERE_CHAT,
    COHERE_CHAT_V1,
    COHERE_EMBED,
    COHERE_RERANK,
    MISTRAL_OCR,
    OLLAMA_CHAT,
    OLLAMA_GENERATE,
    OLLAMA_EMBED,
    TGI,
    TEXT_EMBEDDINGS,
    SAGEMAKER,
    VLLM_GENERATE,
    KSERVE,
    KSERVE_GRPC,
    KSERVE_V1,
    MCP,
    A2A,
)

_BY_ENDPOINT: Final = sorted(
    ((pattern, dialect) for dialect in KNOWN for pattern in dialect.endpoints),
    key=lambda one: specificity(one[0]),
    reverse=True,
)


def dialect_for(path: str) -> Dialect:
    """The dialect of the most specific endpoint that `path` ends in, or UNKNOWN_JSON.

    `path` is canonical (`canonical_path`). A wrong guess changes labels, never what is scanned.
    """
    for pattern, dialect in _BY_ENDPOINT:
        if matches(pattern, path):
            return dialect
    return UNKNOWN_JSON
