"""Bytes that a sender put somewhere, as the leaf or the subtree of a body."""

from collections.abc import Iterable

from extauthz.core.body.content_type import looks_like_json
from extauthz.core.body.json_text import MAX_MEMBERS, measure, parse, parse_lines
from extauthz.core.media import Tree
from extauthz.core.opaque import Blob
from extauthz.core.reasons import Failure

#: No parser of JSON reads it, so that it can only be meant as text.
_NO_JSON = frozenset({Failure.BODY_MALFORMED, Failure.BODY_NOT_UTF8})


def leaf(data: bytes) -> Tree:
    """Text if it is strict UTF-8, otherwise a Blob.

    Text with a NUL in it may be UTF-16, or numbers that look like letters: it is given as both.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return Blob(data)
    return [text, Blob(data)] if "\0" in text else text


def subtree(data: bytes, claims_json: bool = False) -> Tree | Failure:
    """What `data` says: a JSON document, several of them on a line each, or a leaf.

    Fails as `parse` does for what parsers read differently, and, where it `claims_json`, for what
    they do not read at all.
    """
    if not data or not (claims_json or looks_like_json(data)):
        return leaf(data)
    tree: Tree | Failure = parse(data)
    if tree is Failure.BODY_MALFORMED or tree is Failure.BODY_TOO_COMPLEX:
        lines = parse_lines(data)
        # Too many keys for one document may be few enough for lines; no lines may be too complex.
        tree = tree if tree is Failure.BODY_TOO_COMPLEX and _is_no_json(lines) else lines
    if _is_no_json(tree) and not claims_json:
        return leaf(data)
    return tree


def _is_no_json(tree: Tree | Failure) -> bool:
    return isinstance(tree, Failure) and tree in _NO_JSON


def too_many_members(pieces: Iterable[bytes]) -> bool:
    """Whether the pieces of a body that may be JSON have more members than a whole body may have."""
    return sum(measure(piece)[1] for piece in pieces if looks_like_json(piece)) > MAX_MEMBERS
