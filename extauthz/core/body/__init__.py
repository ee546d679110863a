"""Body bytes into a tree of text, or a named failure. Accepts only what every server reads alike."""

from typing import Final

import orjson

from extauthz.core.body.coding import codings, decode, is_coded
from extauthz.core.body.content_type import ContentType, content_type, looks_like_json, media_of
from extauthz.core.body.form import read_form
from extauthz.core.body.grpc_frames import read_grpc
from extauthz.core.body.json_text import MAX_DEPTH, MAX_MEMBERS, Json, parse, parse_lines
from extauthz.core.body.leaf import leaf
from extauthz.core.body.multipart import read_multipart
from extauthz.core.body.tensors import read_tensors
from extauthz.core.call import Call
from extauthz.core.media import Media, Tree
from extauthz.core.reasons import Failure

__all__ = ["MAX_DEPTH", "MAX_MEMBERS", "Json", "is_coded", "parse", "read_body"]

#: Methods whose requests have no body (RFC 9110 section 9.3), or whose body means nothing.
_BODYLESS: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
_TENSORS: Final = "inference-header-content-length"
#: What may be compressed. Readers of other formats look past what they do not understand: to one
#: that ignores Content-Encoding, text in a gzip header is a part of a multipart body.
_CODABLE: Final = frozenset({Media.JSON, Media.JSON_LINES, Media.TENSORS})


def read_body(call: Call, accepts: frozenset[Media], max_bytes: int) -> Tree | Failure:
    """Read the body of `call` in one of the formats that its upstream `accepts`.

    Returns what is in it (None for an empty body). Fails with BODY_TRUNCATED (cut, or missing),
    BODY_TOO_LARGE (also once decoded), ENCODING_UNSUPPORTED, ENCODING_MALFORMED, MEDIA_AMBIGUOUS,
    MEDIA_UNSUPPORTED, CHARSET_UNSUPPORTED, or as the reader of its format does.
    """
    body = _decoded(call, max_bytes)
    if isinstance(body, Failure) or not body:
        return body or None
    claim = content_type(call.headers)
    if isinstance(claim, Failure):
        return claim
    media = media_of(body, claim, _TENSORS in call.headers, accepts)
    if body is not call.body and not isinstance(media, Failure):
        media = _despite_coding(call.body, claim, media, accepts)
    return media if isinstance(media, Failure) else _read(media, body, claim, call, max_bytes)


def _decoded(call: Call, max_bytes: int) -> bytes | Failure:
    """The whole body as it was before it was compressed."""
    if _is_truncated(call) or _is_missing(call):
        return Failure.BODY_TRUNCATED
    if len(call.body) > max_bytes:
        return Failure.BODY_TOO_LARGE
    applied = codings(call.headers.get("content-encoding", "identity"))
    if isinstance(applied, Failure):
        return applied
    return decode(call.body, applied, max_bytes) if call.body else b""


def _despite_coding(
    coded: bytes, claim: ContentType, media: Media, accepts: frozenset[Media]
) -> Media | Failure:
    """`media`, unless a server that does not look at Content-Encoding would read something else."""
    if media not in _CODABLE or claim.foreign or claim.media not in {None, *_CODABLE}:
        return Failure.ENCODING_UNSUPPORTED
    if claim.media is None and Media.BYTES in accepts:
        return Failure.ENCODING_UNSUPPORTED
    return Failure.ENCODING_MALFORMED if _is_json_already(coded, media) else media


def _is_json_already(coded: bytes, media: Media) -> bool:
    """Whether compressed bytes say something as they stand. Only brotli has no magic to prevent it."""
    if not looks_like_json(coded) or media is Media.TENSORS:
        return looks_like_json(coded)
    try:
        # As Node reads them, which replaces what is no UTF-8.
        orjson.loads(coded.decode("utf-8", "replace"))
    except orjson.JSONDecodeError:
        return False
    return True


def _read(  # noqa: PLR0911 - one line a format
    media: Media, body: bytes, claim: ContentType, call: Call, max_bytes: int
) -> Tree | Failure:
    match media:
        case Media.JSON:
            return parse(body)
        case Media.JSON_LINES:
            lines: Tree | Failure = parse_lines(body)
            return lines
        case Media.FORM:
            return read_form(body)
        case Media.MULTIPART:
            return read_multipart(body, claim)
        case Media.GRPC:
            return read_grpc(body, call.headers, max_bytes)
        case Media.TENSORS:
            return read_tensors(body, call.headers[_TENSORS])
        case Media.BYTES:
            return leaf(body)


def _is_truncated(call: Call) -> bool:
    """Envoy says so itself; the declared length is a second, independent witness."""
    if call.headers.get("x-envoy-auth-partial-body", "false").lower() != "false":
        return True
    declared = call.headers.get("content-length", "")
    return (
        declared.isascii()
        and declared.isdigit()
        and int(declared.lstrip("0")[:19] or 0) > len(call.body)
    )


def _is_missing(call: Call) -> bool:
    """A method that carries a body came without one, and did not say that it is empty.

    That is what a route looks like on which Envoy does not pass bodies on (`with_request_body`).
    """
    said_empty = call.headers.get("content-length", "").strip("0") == ""
    return (
        not call.body
        and call.method not in _BODYLESS
        and not (said_empty and "content-length" in call.headers)
    )
