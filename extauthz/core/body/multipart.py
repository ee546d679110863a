"""multipart/form-data: one dict a part, whose every word can be scanned."""

import re
from typing import Final

from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
)

from extauthz.core.body.content_type import ContentType, content_type
from extauthz.core.body.form import charset_is_foreign
from extauthz.core.body.leaf import subtree, too_many_members
from extauthz.core.media import Media, Tree
from extauthz.core.opaque import Blob
from extauthz.core.reasons import Failure

#: Parts of one body: 15 µs each. Starlette and Django take 1,000 fields; a real request has twenty.
_MAX_PARTS: Final = 500

#: RFC 2046 section 5.1.1. What is in quotes there is taken as it stands.
_BOUNDARY: Final = re.compile(r"(\"?)([\w'()+,./:=? -]{0,69}[\w'()+,./:=?-])\1", re.ASCII)
#: Escapes in quotes are undone by some servers and not by others; `name*` is read by some only.
_QUOTED: Final = r'"([^"\\\x00-\x1f\x7f]*)"'
_DISPOSITION: Final = re.compile(
    rf"form-data; *name={_QUOTED}(?:; *filename={_QUOTED})?", re.IGNORECASE
)
_JSON: Final = frozenset({Media.JSON, Media.JSON_LINES})
_HARMLESS: Final = frozenset({"7bit", "8bit", "binary"})
_LINES_FILE: Final = re.compile(r".*\.(?:jsonl|ndjson)\s*", re.IGNORECASE | re.DOTALL)
_JSON_FILE: Final = re.compile(r".*\.(?:json|jsonl|ndjson)\s*", re.IGNORECASE | re.DOTALL)


class _MalformedError(ValueError):
    """Not a part that all servers would read alike."""


def read_multipart(body: bytes, claim: ContentType) -> Tree | Failure:
    """Read a body into a list of parts: `{"name", "content"}`, and what else a part's headers say.

    A content that is a JSON document or lines of them is what they say; other text is a string and
    anything else a Blob. Fails with MULTIPART_MALFORMED, BODY_NOT_UTF8 (a field that is no file),
    BODY_TOO_COMPLEX (more than 500 parts), or as `parse` does for a JSON part that parsers read
    differently.
    """
    boundary = _boundary(claim)
    if boundary is None:
        return Failure.MULTIPART_MALFORMED
    if body.count(b"--" + boundary) > _MAX_PARTS + 1:
        return Failure.BODY_TOO_COMPLEX
    try:
        parts = _parts(body, boundary)
        if too_many_members(data for _, data in parts):
            return Failure.BODY_TOO_COMPLEX
        contents: list[Tree] = []
        for head, data in parts:
            part = _part(head, data)
            if isinstance(part, Failure):
                return part
            contents.append(part)
    except (MultipartError, _MalformedError):
        return Failure.MULTIPART_MALFORMED
    return contents


def _boundary(claim: ContentType) -> bytes | None:
    names = [name for name, _ in claim.parameters]
    if sorted(names) not in (["boundary"], ["boundary", "charset"]):
        return None
    boundary = _BOUNDARY.fullmatch(dict(claim.parameters)["boundary"])
    return boundary[2].encode() if boundary else None


def _parts(body: bytes, boundary: bytes) -> list[tuple[MultipartSegment, bytes]]:
    """Head and content of every part. Raises for what servers would cut up differently."""
    parts: list[tuple[MultipartSegment, bytes]] = []
    with PushMultipartParser(boundary, strict=True) as parser:
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                parts.append((event, b""))
            elif event:
                head, before = parts[-1]
                parts[-1] = (head, before + bytes(event))
    # Nothing before the first delimiter or behind the last one, and none that some servers would
    # see and others not, such as one behind a bare newline.
    delimiter = b"--" + boundary
    ends = (delimiter + b"--", delimiter + b"--\r\n")
    whole = body.startswith(delimiter) and body.endswith(ends)
    if not parts or not whole or body.count(delimiter) != len(parts) + 1:
        raise _MalformedError
    return parts


def _has_lines(claim: ContentType, filename: str | None) -> bool:
    """Whether a document is a line, if the only one."""
    return claim.media is Media.JSON_LINES or bool(_LINES_FILE.fullmatch(filename or ""))


def _part(head: MultipartSegment, data: bytes) -> Tree | Failure:
    headers = {name.lower(): value.strip(" \t") for name, value in head.headerlist}
    disposition = _DISPOSITION.fullmatch(headers.pop("content-disposition", ""))
    if disposition is None or len(headers) + 1 < len(head.headerlist):
        raise _MalformedError
    name, filename = disposition.groups()
    claim = content_type(headers)
    if isinstance(claim, Failure) or claim.foreign or claim.media is Media.MULTIPART:
        raise _MalformedError
    if headers.pop("content-transfer-encoding", "binary").lower() not in _HARMLESS:
        raise _MalformedError
    content = subtree(data, claim.media in _JSON or bool(_JSON_FILE.fullmatch(filename or "")))
    if isinstance(content, Failure):
        return content
    if isinstance(content, dict) and _has_lines(claim, filename):
        content = [content]
    # Servers decode a field as they like; only a file may be bytes. To Go a file without a name is a
    # field.
    if not filename and isinstance(content, Blob):
        return Failure.BODY_NOT_UTF8
    if isinstance(content, str) and charset_is_foreign(name, content):
        raise _MalformedError
    labels = {"filename": filename, "content_type": headers.pop("content-type", None)}
    said = {label: text for label, text in labels.items() if text is not None}
    return {"name": name, **said, **({"headers": headers} if headers else {}), "content": content}
