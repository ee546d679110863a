"""OpenAI's images, films and speech: a prompt beside uploaded files, or a text to be spoken."""

from typing import Final

from extauthz.core.call import Provenance
from extauthz.core.dialects.dialect import PAYLOAD, STORED, ByMember, Dialect, under, words
from extauthz.core.media import Media

_UPLOADS: Final = frozenset({Media.JSON, Media.MULTIPART})
#: The fields of a form.
_FIELD: Final = ByMember(
    "name",
    {
        "prompt": Provenance.USER,
        "input": Provenance.USER,
        "instructions": Provenance.SYSTEM,
        "file": Provenance.DOCUMENT,
    },
    otherwise=None,
)
_REFERENCE: Final = {"image_url": PAYLOAD, "file_id": STORED}

OPENAI_IMAGES: Final = Dialect(
    name="openai_images",
    endpoints=(
        "/deployments/{model}/images/generations",
        "/deployments/{model}/images/edits",
        "/images/generations",
        "/images/edits",
        "/images/variations",
        "/videos",
    ),
    accepts=_UPLOADS,
    labels={"prompt": Provenance.USER, "*": _FIELD},
    places={**under("images/*", _REFERENCE), **under("mask", _REFERENCE)},
    vocabulary=words(
        "name content filename content_type "
        "model prompt n size quality style response_format background moderation output_format "
        "output_compression user image mask input_fidelity stream partial_images seconds"
    ),
    max_tokens=(),
)

OPENAI_AUDIO: Final = Dialect(
    name="openai_audio",
    endpoints=(
        "/deployments/{model}/audio/transcriptions",
        "/deployments/{model}/audio/translations",
        "/deployments/{model}/audio/speech",
        "/audio/transcriptions",
        "/audio/translations",
        "/audio/speech",
    ),
    accepts=_UPLOADS,
    labels={
        "prompt": Provenance.USER,
        "input": Provenance.USER,
        "instructions": Provenance.SYSTEM,
        "*": _FIELD,
    },
    vocabulary=words(
        "name content filename content_type "
        "model prompt file language response_format temperature stream chunking_strategy input "
        "voice instructions speed stream_format timestamp_granularities include"
    ),
    max_tokens=(),
    choices=(),
)
