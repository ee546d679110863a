"""OpenAI's assistants: threads that the upstream keeps, and runs that read all of one."""

from typing import Final

from extauthz.core.call import Provenance
from extauthz.core.dialects.dialect import FREE_FORM, STORED, Dialect, under, words
from extauthz.core.dialects.messages import CHAT_WORDS, MESSAGE, PART, SCHEMA_WORDS

_MESSAGE_PLACES: Final = {
    **under("content/*", PART),
    "attachments/*/file_id": STORED,
    "file_ids": STORED,
    "metadata": FREE_FORM,
}
_RESOURCES: Final = {
    "tool_resources/code_interpreter/file_ids": STORED,
    "tool_resources/file_search/vector_store_ids": STORED,
}

OPENAI_THREADS: Final = Dialect(
    name="openai_threads",
    endpoints=(
        "/threads",
        "/threads/*",
        "/threads/runs",
        "/threads/*/messages",
        "/threads/*/messages/*",
        "/threads/*/runs",
        "/threads/*/runs/*/submit_tool_outputs",
        "/assistants",
        "/assistants/*",
    ),
    labels={
        "content": Provenance.USER,
        "messages/*": MESSAGE,
        "thread/messages/*": MESSAGE,
        "additional_messages/*": MESSAGE,
        "instructions": Provenance.SYSTEM,
        "additional_instructions": Provenance.SYSTEM,
        "tools/*": Provenance.TOOL_DEFINITION,
        "tool_outputs/*": Provenance.TOOL_RESULT,
    },
    places={
        "assistant_id": STORED,
        **_MESSAGE_PLACES,
        **under("messages/*", _MESSAGE_PLACES),
        **under("thread/messages/*", _MESSAGE_PLACES),
        **under("additional_messages/*", _MESSAGE_PLACES),
        **_RESOURCES,
        **under("thread", _RESOURCES),
    },
    vocabulary=CHAT_WORDS
    | SCHEMA_WORDS
    | words(
        "assistant_id instructions thread metadata attachments file_id file_ids tool_resources "
        "code_interpreter file_search vector_store_ids additional_instructions "
        "additional_messages tool_outputs output max_prompt_tokens max_completion_tokens "
        "image_file"
    ),
    max_tokens=("max_completion_tokens",),
    choices=(),
)
