"""Body bytes into a JSON value, or a named failure. Accepts only what every common parser accepts."""

import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import orjson

from extauthz.core.call import Call
from extauthz.core.reasons import Failure
from extauthz_kernels import json_shape

#: What an upstream may be made to build is bounded before we build it. No real request is
#: deeper than a dozen levels; parsers give up between 200 and 1,024.
MAX_DEPTH: Final = 64
#: `[[],[],...]` costs 33 times its size in memory once parsed. A 2 MB agent conversation has
#: some 20,000 members.
MAX_MEMBERS: Final = 200_000

#: Methods whose requests have no body (RFC 9110 section 9.3), or whose body means nothing.
_BODYLESS: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})

Json = dict[str, Any] | list[Any] | str | int | float | bool | None


class _DuplicateKeyError(ValueError):
    """Two keys of one object are equal after unescaping and case-folding."""


def read_body(call: Call, max_bytes: int) -> Json | Failure:
    """Parse the body of `call`.

    Returns the JSON value (None for an empty body) or one of BODY_TRUNCATED (cut, or missing), BODY_TOO_LARGE,
    ENCODING_UNSUPPORTED, BODY_NOT_UTF8, BODY_TOO_COMPLEX, BODY_DUPLICATE_KEY, BODY_MALFORMED.
    The content type is the client's claim and is not believed: whatever is there must be JSON.
    """
    if _is_truncated(call) or _is_missing(call):
        return Failure.BODY_TRUNCATED
    if len(call.body) > max_bytes:
        return Failure.BODY_TOO_LARGE
    if call.headers.get("content-encoding", "identity").strip().lower() != "identity":
        return Failure.ENCODING_UNSUPPORTED
    if not _charset_is_utf8(call.headers):
        return Failure.BODY_NOT_UTF8
    return parse(call.body) if call.body else None


def parse(body: bytes) -> Json | Failure:
    """Parse JSON strictly: valid UTF-8, no BOM, no duplicate key, no NaN, no lone surrogate.

    Two parsers must agree that it is JSON: orjson refuses lone surrogates, NaN and huge numbers
    that the standard parser accepts; the standard one shows us duplicate keys.
    """
    shape = np.zeros(2, np.int64)
    json_shape(np.frombuffer(body, np.uint8), shape)
    if shape[0] > MAX_DEPTH or shape[1] > MAX_MEMBERS:
        return Failure.BODY_TOO_COMPLEX
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return Failure.BODY_NOT_UTF8
    if text.startswith("\ufeff"):
        return Failure.BODY_NOT_UTF8
    try:
        orjson.loads(body)
        value: Json = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse)
    except _DuplicateKeyError:
        return Failure.BODY_DUPLICATE_KEY
    except (ValueError, RecursionError):
        return Failure.BODY_MALFORMED
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    # Case-folding too: Go's encoding/json matches member names without regard to case.
    if len({key.casefold() for key in result}) != len(pairs):
        raise _DuplicateKeyError
    return result


def _refuse(constant: str) -> float:
    raise ValueError(constant)


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


def _charset_is_utf8(headers: Mapping[str, str]) -> bool:
    """Nothing but a plain UTF-8: RFC 2231 also knows `charset*` and `charset*0`, put together."""
    parameters = headers.get("content-type", "").lower().split(";")[1:]
    names = (p.partition("=") for p in parameters)
    charsets = [(name.strip(), value) for name, _, value in names if "charset" in name]
    return all(
        name == "charset" and value.strip(' "\t') in {"utf-8", "utf8", "us-ascii"}
        for name, value in charsets
    )
