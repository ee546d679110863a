"""Mistral's document reading. Its chat and completions are OpenAI's."""

from typing import Final

from extauthz.core.call import Provenance
from extauthz.core.dialects.dialect import Dialect, under, words
from extauthz.core.dialects.messages import PART, SCHEMA_WORDS

MISTRAL_OCR: Final = Dialect(
    name="mistral_ocr",
    endpoints=("/ocr",),
    labels={"document": Provenance.DOCUMENT},
    places=under("document", PART),
    vocabulary=SCHEMA_WORDS
    | words("model document type document_url image_url pages include_image_base64"),
    max_tokens=(),
    choices=(),
)
