"""How a denial looks to the caller: status, headers, body. Constants and names, nothing else.

No score, and no text of the request: either would help an attacker to adapt, or be an injection.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import orjson

from extauthz.core.dialects import Dialect
from extauthz.core.media import Media
from extauthz.core.policy import DenyShape
from extauthz.core.reasons import Reason

_MESSAGE: Final = "This request was blocked by the security policy of this endpoint."
#: What a caller can do something about is said. Cooperative clients wait for as long as `retry-after`.
_MESSAGES: Final[Mapping[Reason, str]] = MappingProxyType(
    {
        Reason.OVER_BUDGET: "This request is over a usage limit of this endpoint.",
        Reason.OUTPUT_CAP_EXCEEDED: "This request asks for more output than this endpoint allows, or "
        "does not say how much it wants.",
        Reason.OUTPUT_CAP_MALFORMED: "The limits of output in this request are no whole numbers.",
    }
)
#: RFC 9110 status of each reason that is not the policy's own "no" (403).
_STATUS: Final[Mapping[Reason, int]] = MappingProxyType(
    {
        Reason.BODY_TRUNCATED: 413,
        Reason.BODY_TOO_LARGE: 413,
        Reason.BODY_NOT_UTF8: 400,
        Reason.BODY_MALFORMED: 400,
        Reason.BODY_TOO_COMPLEX: 400,
        Reason.BODY_DUPLICATE_KEY: 400,
        Reason.ENCODING_UNSUPPORTED: 415,
        Reason.BODY_BYTE_ORDER_MARK: 400,
        Reason.BODY_NUMBER_TOO_LARGE: 400,
        Reason.CHARSET_UNSUPPORTED: 415,
        Reason.ENCODING_MALFORMED: 400,
        Reason.MEDIA_UNSUPPORTED: 415,
        Reason.MEDIA_AMBIGUOUS: 400,
        Reason.FORM_MALFORMED: 400,
        Reason.MULTIPART_MALFORMED: 400,
        Reason.GRPC_MALFORMED: 400,
        Reason.TENSOR_MALFORMED: 400,
        Reason.QUERY_MALFORMED: 400,
        Reason.HEADER_MISMATCH: 400,
        Reason.UPGRADE_UNREADABLE: 400,
        Reason.IDENTITY_AMBIGUOUS: 400,
        Reason.PATH_AMBIGUOUS: 400,
        Reason.TOO_MANY_TOKENS: 413,
        Reason.OUTPUT_CAP_MALFORMED: 400,
        Reason.OUTPUT_CAP_EXCEEDED: 400,
        Reason.OVER_BUDGET: 429,
        Reason.OVERLOADED: 503,
        Reason.DEADLINE_EXCEEDED: 503,
        Reason.CANCELLED: 503,
        Reason.MODEL_FAULT: 503,
        Reason.STORE_FAULT: 503,
        Reason.CHECK_MALFORMED: 500,
        Reason.INTERNAL_ERROR: 500,
    }
)
_RETRY_AFTER_S: Final = "1"
_FORBIDDEN: Final = 403
_TOO_MANY_REQUESTS: Final = 429
#: gRPC's RESOURCE_EXHAUSTED. By itself Envoy makes UNAVAILABLE of 429, which clients retry at once.
_GRPC_EXHAUSTED: Final = {"grpc-status": "8"}
#: What the OpenAI API calls them; its SDKs retry after `rate_limit_exceeded`.
_OPENAI_CODES: Final = {400: "content_filter", 429: "rate_limit_exceeded"}
_OPENAI_TYPES: Final = {429: "rate_limit_error"}
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Denial:
    """An HTTP answer in place of the upstream's."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def denial(
    shape: DenyShape,
    reason: Reason,
    dialect: Dialect,
    *,
    stream: bool,
    limits: Mapping[str, str] = _NO_HEADERS,
) -> Denial:
    """The answer for `reason`, with headers that say how the limits of the caller stand.

    Being over a limit is told in the caller's dialect whatever the shape: its SDK waits and retries.
    A request that could not be read or judged never gets the 200 shape: an assistant that
    refuses would be a lie about what happened, and clients could not retry.
    """
    status = _STATUS.get(reason, _FORBIDDEN)
    headers = {"content-type": "application/json", "x-extauthz-reason": reason.value, **limits}
    if status == 503:
        headers["retry-after"] = _RETRY_AFTER_S
    if shape is DenyShape.REFUSAL_200 and status == _FORBIDDEN:
        refuse = dialect.refuse_stream if stream else dialect.refuse
        if refuse is not None:
            headers["content-type"] = dialect.stream_type if stream else "application/json"
            return Denial(200, headers, refuse(f"{_MESSAGE} ({reason.value})"))
    if status == _TOO_MANY_REQUESTS:
        if Media.GRPC in dialect.accepts:
            headers |= _GRPC_EXHAUSTED
        return Denial(status, headers, _error(reason, status, dialect))
    if shape is DenyShape.CONTENT_FILTER_400:
        status = 400 if status == _FORBIDDEN else status
        return Denial(status, headers, _error(reason, status, dialect))
    return Denial(
        status,
        headers,
        orjson.dumps({"error": {"reason": reason, "message": _message(reason)}}),
    )


def _message(reason: Reason) -> str:
    return _MESSAGES.get(reason, _MESSAGE)


def _error(reason: Reason, status: int, dialect: Dialect) -> bytes:
    """An error that the SDKs of the dialect can read."""
    if dialect.error is None:
        return _openai_error(reason, status)
    return dialect.error(f"{_message(reason)} ({reason.value})", status)


def _openai_error(reason: Reason, status: int) -> bytes:
    """The error object of the OpenAI API; its SDKs read `code` and `type`."""
    code = _OPENAI_CODES.get(status, reason.value)
    kind = _OPENAI_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    error = {"message": _message(reason), "type": kind, "param": None, "code": code}
    return orjson.dumps({"error": error | {"innererror": {"code": reason.value}}})
