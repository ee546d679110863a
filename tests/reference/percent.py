"""Slow twin of `percent_decode`."""

import re
from urllib.parse import unquote_to_bytes

_READABLE = re.compile(rb"(?:[ -$&-:<-~]|%[0-9A-Fa-f]{2})*")


def percent_decode(encoded: bytes) -> bytes | None:
    """`encoded` with its escapes undone; None if it holds what no encoder writes."""
    if not _READABLE.fullmatch(encoded):
        return None
    return unquote_to_bytes(encoded.replace(b"+", b" "))
