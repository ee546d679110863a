"""Work for later: uploaded files, whose lines may be whole requests, and batches that name one."""

from collections.abc import Mapping
from typing import Final

from extauthz.core.dialects.dialect import (
    EVERYWHERE,
    FREE_FORM,
    STORED,
    TOKEN_IDS,
    Dialect,
    Label,
    Place,
    under,
    words,
)
from extauthz.core.dialects.openai_chat import OPENAI_CHAT
from extauthz.core.dialects.openai_completions import OPENAI_COMPLETIONS
from extauthz.core.dialects.openai_responses import OPENAI_RESPONSES
from extauthz.core.media import Media

#: What a line of a batch asks for is one of these. Their paths do not contradict each other.
_ASKED: Final = (OPENAI_COMPLETIONS, OPENAI_RESPONSES, OPENAI_CHAT)
_LABELS: Final[Mapping[str, Label]] = {
    path: label for dialect in _ASKED for path, label in dialect.labels.items()
}
_PLACES: Final[Mapping[str, Place]] = {
    **EVERYWHERE,
    **{path: place for dialect in _ASKED for path, place in dialect.places.items()},
    "input": TOKEN_IDS,  # embeddings
}
#: A line of an uploaded file (beside its text or alone), and of one without a form around it.
_LINES: Final = ("*/content/*/*/body", "*/content/*/body", "*/body")

OPENAI_FILES: Final = Dialect(
    name="openai_files",
    endpoints=("/files", "/uploads", "/uploads/*/parts", "/uploads/*/complete"),
    accepts=frozenset({Media.JSON, Media.JSON_LINES, Media.MULTIPART}),
    labels={path: label for line in _LINES for path, label in under(line, _LABELS).items()},
    places={
        "part_ids": STORED,
        **{path: place for line in _LINES for path, place in under(line, _PLACES).items()},
    },
    vocabulary=OPENAI_CHAT.vocabulary
    | OPENAI_RESPONSES.vocabulary
    | words(
        "custom_id method body purpose name content filename content_type expires_after anchor seconds bytes"
    ),
    silent=True,
    max_tokens=(),
    choices=(),
)

OPENAI_BATCHES: Final = Dialect(
    name="openai_batches",
    endpoints=("/batches",),
    places={"metadata": FREE_FORM, "output_expires_after": FREE_FORM},
    vocabulary=words("input_file_id endpoint completion_window metadata"),
    max_tokens=(),
    choices=(),
)
