"""application/x-www-form-urlencoded: names and values, every one of them kept."""

from typing import Final

from extauthz.core.body.content_type import charset_is_utf_8
from extauthz.core.body.leaf import subtree, too_many_members
from extauthz.core.media import Tree
from extauthz.core.query import read_pairs
from extauthz.core.reasons import Failure

#: A field that tells servers which charset the other fields are in (HTML, RFC 7578 section 4.6).
_CHARSET_FIELD: Final = "_charset_"


def read_form(body: bytes) -> Tree | Failure:
    """Read a form into a list of `{"name": ..., "value": ...}`, in order, duplicates and all.

    A value that is JSON is what it says. Fails with FORM_MALFORMED, BODY_TOO_COMPLEX, or as
    `parse` does for a value that parsers of JSON read differently.
    """
    pairs = read_pairs(body)
    if pairs is None or any(charset_is_foreign(name, value) for name, value in pairs):
        return Failure.FORM_MALFORMED
    if too_many_members(value.encode() for _, value in pairs):
        return Failure.BODY_TOO_COMPLEX
    fields: list[Tree] = []
    for name, text in pairs:
        value = subtree(text.encode())
        if isinstance(value, Failure):
            return value
        fields.append({"name": name, "value": value})
    return fields


def charset_is_foreign(name: str, value: str) -> bool:
    """Whether a field says that the fields are in another charset than UTF-8."""
    return name.lower() == _CHARSET_FIELD and not charset_is_utf_8((("charset", value),))
