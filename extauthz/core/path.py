"""One spelling for each request path, so that a rule cannot be walked around."""

import unicodedata
from typing import Final
from urllib.parse import unquote_to_bytes

from extauthz.core.reasons import Failure

#: What proxies and servers read differently: back-slashes, path parameters, fragments
#: (CVE-2021-32779), an escaped `?`, escapes that survive decoding once (double encoding).
_AMBIGUOUS: Final = frozenset("\\;?#%")


def canonical_path(target: str) -> str | Failure:
    """Path of a request target without its query, percent-decoded once.

    PATH_AMBIGUOUS where two servers could disagree on what it names: empty, dot or `..` segments,
    an escaped slash or `?`, `#`, back-slashes, `;`, double encoding, control characters, invalid
    UTF-8, segments that end in a dot or in blanks, compatibility forms of other characters.
    A single trailing slash is kept.
    """
    raw = target.partition("?")[0]
    if raw in {"", "*"}:
        return "/"
    try:
        path = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeError:
        return Failure.PATH_AMBIGUOUS
    segments = path.split("/")
    if (
        segments[0] != ""
        or not path.isprintable()
        or path.count("/") != raw.count("/")
        or not _AMBIGUOUS.isdisjoint(path)
        or "" in segments[1:-1]
        or any(segment != segment.strip() or segment.endswith(".") for segment in segments)
        or not (path.isascii() or unicodedata.is_normalized("NFKC", path))
    ):
        return Failure.PATH_AMBIGUOUS
    return path
