"""Request dialects as data. A dialect labels text; it never decides what is scanned."""

from typing import Final

from extauthz.core.dialects.anthropic_messages import ANTHROPIC_MESSAGES
from extauthz.core.dialects.dialect import Dialect
from extauthz.core.dialects.openai_chat import OPENAI_CHAT
from extauthz.core.dialects.openai_responses import OPENAI_RESPONSES
from extauthz.core.dialects.unknown_json import UNKNOWN_JSON

__all__ = ["KNOWN", "UNKNOWN_JSON", "Dialect", "dialect_for"]

KNOWN: Final = (OPENAI_CHAT, OPENAI_RESPONSES, ANTHROPIC_MESSAGES)


def dialect_for(path: str) -> Dialect:
    """The dialect whose endpoint `path` ends in, or UNKNOWN_JSON.

    `path` is canonical (`canonical_path`). A wrong guess changes labels, never what is scanned.
    """
    for dialect in KNOWN:
        if path.rstrip("/").endswith(dialect.endpoints):
            return dialect
    return UNKNOWN_JSON
