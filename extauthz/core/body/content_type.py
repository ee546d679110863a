"""The Content-Type header, and which format a body is read in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from extauthz.core.media import Media
from extauthz.core.reasons import Failure

_JSON: Final = frozenset({"application/json", "text/json", "application/x-json"})
_JSON_LINES: Final = frozenset(
    f"{kind}/{name}"
    for kind in ("application", "text")
    for name in ("jsonl", "x-jsonl", "jsonlines", "x-jsonlines", "json-lines", "ndjson", "x-ndjson")
)
_FORM: Final = frozenset({"application/x-www-form-urlencoded", "application/x-url-encoded"})
#: What is framed as gRPC is; JSON inside it or base64 around it is read by no dialect of ours.
_GRPC: Final = frozenset({"application/grpc", "application/grpc+proto"})
_FOREIGN: Final = ("multipart/", "application/grpc")
_UTF_8: Final = frozenset({"utf-8", "utf8", "us-ascii"})

#: Where a JSON value begins that is no number, null or bool.
_OPENS_JSON: Final = re.compile(rb'[ \t\r\n]*+[{\["]')
#: The same in UTF-16, UTF-32, or behind a byte-order mark: Python's json reads these too.
_OPENS_WIDE_JSON: Final = re.compile(rb'(?:\xef\xbb\xbf|\0*\xfe\xff|\xff\xfe)?[\0 \t\r\n]*+[{\["]')


@dataclass(frozen=True, slots=True)
class ContentType:
    """What a client claims. `media` is None when the claim is none that we know."""

    media: Media | None
    parameters: tuple[tuple[str, str], ...]
    #: Claims a format that no dialect reads, so that guessing would be wrong.
    foreign: bool = False


def content_type(headers: Mapping[str, str]) -> ContentType | Failure:
    """Read the Content-Type header.

    Fails with MEDIA_AMBIGUOUS (two types: Envoy joins repeated headers with a comma) or
    CHARSET_UNSUPPORTED.
    """
    header = headers.get("content-type", "")
    if "," in header:
        return Failure.MEDIA_AMBIGUOUS
    name, *rest = header.split(";")
    pairs = (parameter.partition("=") for parameter in rest)
    parameters = tuple((key.strip().lower(), value.strip(" \t")) for key, _, value in pairs)
    if not charset_is_utf_8(parameters):
        return Failure.CHARSET_UNSUPPORTED
    medium = name.strip().lower()
    media = _claimed(medium)
    foreign = media is None and medium.startswith(_FOREIGN)
    return ContentType(media, parameters, foreign)


def charset_is_utf_8(parameters: tuple[tuple[str, str], ...]) -> bool:
    """Nothing but a plain UTF-8: RFC 2231 also knows `charset*` and `charset*0`, put together."""
    charsets = [(name, value.strip('"').strip().lower()) for name, value in parameters]
    return all(
        name == "charset" and value in _UTF_8 for name, value in charsets if "charset" in name
    )


def looks_like_json(body: bytes) -> bool:
    """Whether the first byte that is no white space opens an object, an array or a string."""
    return _OPENS_JSON.match(body) is not None


def media_of(
    body: bytes, claim: ContentType, has_tensors: bool, accepts: frozenset[Media]
) -> Media | Failure:
    """Choose the format to read `body` in.

    What looks like JSON is JSON whatever the client claims: many servers do not look at the claim.
    Fails with MEDIA_UNSUPPORTED, or TENSOR_MALFORMED for tensors in a form.
    """
    media = _media(body, claim, has_tensors, accepts)
    return media if isinstance(media, Failure) or media in accepts else Failure.MEDIA_UNSUPPORTED


def _media(
    body: bytes, claim: ContentType, has_tensors: bool, accepts: frozenset[Media]
) -> Media | Failure:
    if has_tensors:
        return Media.TENSORS if claim.media in {None, Media.JSON} else Failure.TENSOR_MALFORMED
    if claim.media is Media.JSON_LINES and Media.JSON_LINES in accepts:
        return Media.JSON_LINES
    if looks_like_json(body) or claim.media in {Media.JSON, Media.JSON_LINES}:
        return Media.JSON
    if claim.media or claim.foreign:
        return claim.media or Failure.MEDIA_UNSUPPORTED
    wide = _OPENS_WIDE_JSON.match(body)
    return Media.BYTES if Media.BYTES in accepts and not wide else Media.JSON


def _claimed(medium: str) -> Media | None:
    if medium in _GRPC:
        return Media.GRPC
    if medium in _JSON or (medium.endswith("+json") and not medium.startswith(_FOREIGN)):
        return Media.JSON
    if medium in _JSON_LINES:
        return Media.JSON_LINES
    if medium in _FORM:
        return Media.FORM
    return Media.MULTIPART if medium == "multipart/form-data" else None
